"""The journeys of segments: define, preview, read members, explain. Every reading of people is logged.

A text that is refused becomes the fault `segment_rejected` (422), which points at the character.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import find_profile, unknown_profile
from cdp.flows.segments.memberships import in_force, refresh, unknown_segment
from cdp.identity.model import Identifier
from cdp.identity.store import generation as generation_store
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import check
from cdp.query.language.explain import (
    MembershipExplanation,
    SegmentExplanation,
    explain_membership,
    fields_of,
    purposes_of,
)
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.postgres.compile import Compiled, compile_segment, sql_text
from cdp.segments.model import Draft, MemberPage, Preview, Segment, SegmentKey, Size
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import members as member_store
from cdp.vault.pseudonym import DISCLOSURE

SAMPLE_MAX: Final = 10
POLICY: Final = "policy"


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a condition would give, and pseudonyms of a few who are in where their number may be shown."""

    preview: Preview
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What a segment asks; for one profile why it is in or out, and the consent records that decide."""

    segment: Segment
    explanation: SegmentExplanation
    standing: MembershipExplanation | None
    reason: str | None
    records: tuple[str, ...]


def define(context: Context, draft: Draft, where: str, *, is_new: bool, actor: str) -> Segment:
    """Put a definition in force and find who is in.

    It is tried out first and evaluated beside ingest, so that no message waits for what somebody asks.
    Faults: `segment_rejected`, `segment_exists`, `unknown_segment`, `segment_too_slow`.
    """
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = _checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        member_store.dry_run(tx, _compiled(tx, condition, catalogue, purpose=draft.purpose, now=now))
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        known = definition_store.find(tx, draft.key)
        if is_new and known is not None:
            raise Fault("segment_exists", "That key is taken", "Change it with PUT, or choose another key.", status=409)
        if not is_new and known is None:
            raise unknown_segment()
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = _checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        _save(tx, context.policy, draft, condition=condition, now=now, actor=actor)
    refresh(context, draft.key)
    return find(context, draft.key)


def adopt(tx: Transaction, policy: Policy, now: datetime) -> int:
    """Put the segments of the policy folder in force as they stand there; how many were new or changed."""
    conditions = conditions_of(policy, definition_store.catalogue_of(tx, policy).segments)
    changed = 0
    for key, text in policy.segments.items():
        draft = Draft(SegmentKey(key), text.name, text.purpose, POLICY, text.text)
        before = definition_store.find(tx, key)
        after = definition_store.save(tx, draft, conditions[key], fingerprint=policy.fingerprint, now=now)
        if before is None or before.version != after.version:
            changed += 1
            _log_definition(tx, after, "operator", now=now)
    return changed


def conditions_of(policy: Policy, others: Mapping[str, Definition] | None = None) -> dict[str, ast.Condition]:
    """The meaning of every segment of a policy folder. Raises `segment_rejected`, naming the file."""
    parsed = {key: _parsed(each.where, key) for key, each in policy.segments.items()}
    own = {key: Definition(policy.segments[key].purpose, condition) for key, condition in parsed.items()}
    catalogue = Catalogue(policy, {**(others or {}), **own})
    for key, condition in parsed.items():
        rejections = check(condition, catalogue, policy.segments[key].purpose, key=key)
        if rejections:
            raise _rejected(rejections, policy.segments[key].where, key)
    return parsed


def list_segments(context: Context) -> list[Segment]:
    """Every segment in force, by key."""
    with context.database.transaction(read_only=True) as tx:
        return definition_store.all_segments(tx)


def find(context: Context, key: str) -> Segment:
    """One segment in force. Raises the fault `unknown_segment` (404)."""
    with context.database.transaction(read_only=True) as tx:
        return in_force(tx, key)


def delete_segment(context: Context, key: str, *, actor: str) -> None:
    """Delete a segment with its memberships. Faults: `unknown_segment`, `segment_in_use` (409)."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        in_force(tx, key)
        others = sorted(
            other
            for other, definition in definition_store.catalogue_of(tx, context.policy).segments.items()
            if any(isinstance(node, ast.InSegment) and node.key == key for node in ast.walk(definition.condition))
        )
        if others:
            raise Fault(
                "segment_in_use", "Other segments ask for this one", f"Change {', '.join(others)} first.", status=409
            )
        definition_store.delete_segment(tx, key)
        fact_store.append(tx, {"kind": "segment.deleted", "actor": actor, "segment": key}, context.clock.now())


def check_alone(policy: Policy, where: str, purpose: str, *, key: str | None = None) -> str:
    """A text in its canonical form, checked against a policy and the segments of its folder. Raises `segment_rejected`."""
    parsed = {each: parse(text.where) for each, text in policy.segments.items() if each != key}
    others = {
        each: Definition(policy.segments[each].purpose, condition)
        for each, condition in parsed.items()
        if not isinstance(condition, Rejection)
    }
    return write(_checked(where, Catalogue(policy, others), purpose, now=None, key=key))


def preview(context: Context, where: str, purpose: str, *, actor: str) -> Previewed:
    """What a condition would give now: sizes as they may be shown, part by part, and who is refused why."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = _checked(where, catalogue, purpose, now=now)
        compiled = _compiled(tx, condition, catalogue, purpose=purpose, now=now)
        with member_store.time_limited(tx):
            shown = member_store.preview(tx, compiled, _disclosing(context, catalogue), purpose=purpose, now=now)
            sample = () if shown.size.shown is None else member_store.sample(tx, compiled, SAMPLE_MAX)
        fact = {"kind": "data.read", "actor": actor, "read": "preview", "purpose": purpose, "count": len(sample)}
        fact_store.append(tx, fact, now)
    return Previewed(shown, sample)


def members(context: Context, key: str, *, after: str | None, limit: int, actor: str) -> tuple[MemberPage, Size]:
    """A page of members by marketer's pseudonym, and the size as it may be shown. Raises `unknown_segment`."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        segment = in_force(tx, key)
        catalogue = definition_store.catalogue_of(tx, context.policy)
        purposes = _purposes(segment, catalogue)
        size = member_store.size_of(tx, segment, purposes, catalogue=_disclosing(context, catalogue), now=now)
        page = member_store.members(tx, segment, purposes, size=size, now=now, after=after, limit=limit)
        fact = {"kind": "data.read", "actor": actor, "read": "members", "count": len(page.members)}
        fact_store.append(tx, fact | {"segment": key, "purpose": segment.purpose}, now)
    return page, size


def explain(
    context: Context, key: str, *, identifier: Identifier | None = None, pseudonym: str | None = None, actor: str
) -> Explained:
    """What a segment asks; with a person, why that person is in or out. Faults: `unknown_segment`, `unknown_profile`."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        segment = in_force(tx, key)
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = _definition(segment, catalogue)
        compiled = _compiled(tx, condition, catalogue, purpose=segment.purpose, now=now)
        told = SegmentExplanation(
            where=segment.where,
            purpose=segment.purpose,
            purposes=_purposes(segment, catalogue),
            fields=fields_of(condition, catalogue),
            conditions=tuple(write(part) for part in compiled.parts),
            sql=sql_text(compiled.members),
            plan=member_store.plan_of(tx, compiled.members),
        )
        profile_id = _profile(tx, context, segment, identifier=identifier, pseudonym=pseudonym)
        if profile_id is None:
            return Explained(segment, told, None, None, ())
        mine = _compiled(tx, condition, catalogue, purpose=segment.purpose, now=now, only=[profile_id])
        stands = explain_membership(condition, member_store.verdicts(tx, mine).get(profile_id))
        verdict = current_verdicts(tx, context.policy, [profile_id], now=now)[profile_id][segment.purpose]
        fact = {"kind": "data.read", "actor": actor, "read": "explain", "count": 1, "segment": key}
        fact_store.append(tx, fact, now)
        records = tuple(encode_id("con", each) for each in verdict.by)
        return Explained(segment, told, stands, verdict.reason.value, records)


def _disclosing(context: Context, catalogue: Catalogue) -> Catalogue:
    """The catalogue with the key by which shown sizes are blurred."""
    return replace(catalogue, disclosure_key=context.vault.hashes.digests(DISCLOSURE, "segment size", [b""])[0])


def _save(
    tx: Transaction, policy: Policy, draft: Draft, *, condition: ast.Condition, now: datetime, actor: str
) -> Segment:
    saved = definition_store.save(tx, draft, condition, fingerprint=policy.fingerprint, now=now)
    _log_definition(tx, saved, actor, now=now)
    return saved


def _log_definition(tx: Transaction, saved: Segment, actor: str, *, now: datetime) -> None:
    fact: dict[str, Any] = {
        "kind": "segment.defined",
        "actor": actor,
        "segment": saved.key,
        "version": saved.version,
        "purpose": saved.purpose,
        "definition": sha256(saved.where.encode()).hex(),
    }
    fact_store.append(tx, fact, now)


def _definition(segment: Segment, catalogue: Catalogue) -> ast.Condition:
    known = catalogue.segments.get(segment.key)
    assert known is not None
    return known.condition


def _purposes(segment: Segment, catalogue: Catalogue) -> tuple[str, ...]:
    return purposes_of(_definition(segment, catalogue), segment.purpose, catalogue)


def _profile(
    tx: Transaction, context: Context, segment: Segment, *, identifier: Identifier | None, pseudonym: str | None
) -> int | None:
    if identifier is not None:
        return find_profile(tx, context.vault, identifier)[1]
    if pseudonym is None:
        return None
    found = member_store.profile_under(tx, segment.purpose, pseudonym)
    if found is None:
        raise unknown_profile()
    return found


def _compiled(
    tx: Transaction,
    condition: ast.Condition,
    catalogue: Catalogue,
    *,
    purpose: str,
    now: datetime,
    only: Sequence[int] | None = None,
) -> Compiled:
    ground = definition_store.interned_ids_of(tx, condition, catalogue)
    return compile_segment(condition, catalogue, ground, purpose=purpose, now=now, only=only)


def _checked(
    where: str, catalogue: Catalogue, purpose: str, *, now: datetime | None, key: str | None = None
) -> ast.Condition:
    if catalogue.purpose(purpose) is None:
        known = ", ".join(catalogue.policy.purposes)
        raise Fault("unknown_purpose", "There is no such purpose", f"The policy declares {known}.", status=422)
    condition = _parsed(where)
    rejections = check(condition, catalogue, purpose, key=key, now=now)
    if rejections:
        raise _rejected(rejections, where)
    return condition


def _parsed(where: str, key: str | None = None) -> ast.Condition:
    condition = parse(where)
    if isinstance(condition, Rejection):
        raise _rejected([condition], where, key)
    return condition


def _rejected(rejections: Sequence[Rejection], where: str, key: str | None = None) -> Fault:
    first = rejections[0]
    place = "" if key is None else f"segments/{key}.yaml: "
    return Fault(
        "segment_rejected",
        "The text is no segment",
        place + "\n\n".join(each.pointed(where) for each in rejections[:5]),
        status=422,
        extra={
            "position": first.position,
            "message": first.message,
            "hint": first.hint,
            "rejections": [
                {"position": each.position, "message": each.message, "hint": each.hint} for each in rejections
            ],
        },
    )
