"""Use cases that read people through segments: preview, members, explanation. Every reading is logged."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.consent.store.role_projections import pseudonyms_of
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import find_profile, unknown_profile
from cdp.flows.reader_limits import check_reads, count_lookup
from cdp.flows.reads import Reading, log_read
from cdp.flows.segments.evaluation import compiled_condition, in_force, valid_condition
from cdp.flows.segments.texts import checked
from cdp.identity.model import Identifier
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id
from cdp.policy.model import MARKETER, STAFF
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.explain import (
    MembershipExplanation,
    SegmentExplanation,
    explain_membership,
    fields_of,
    purposes_of,
)
from cdp.query.language.printer import write
from cdp.query.postgres.compile import sql_text
from cdp.segments.model import MemberPage, Preview, Segment
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import evaluation as evaluation_store
from cdp.segments.store import members as member_store

SAMPLE_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Previewed:
    """The preview of a condition, and pseudonyms of some members."""

    preview: Preview
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What a segment requires; for one profile why it is in or not, and the consent records that decide."""

    segment: Segment
    explanation: SegmentExplanation
    standing: MembershipExplanation | None
    reason: str | None
    records: tuple[str, ...]


def preview(context: Context, where: str, purpose: str, *, actor: str, token: int | None = None) -> Previewed:
    """The sizes of a condition, in total and by part, and the number of refused people by reason.

    Faults: `unknown_purpose`, `segment_rejected`, `purpose_not_readable`, `segment_too_slow`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = checked(where, catalogue, purpose, now=now)
        check_reads(context, purposes_of(condition, purpose, catalogue), actor=actor)
        compiled = compiled_condition(tx, condition, catalogue, purpose=purpose, now=now)
        with evaluation_store.time_limited(tx):
            shown = evaluation_store.preview(tx, compiled, catalogue, purpose=purpose, now=now)
            sample = evaluation_store.sample(tx, compiled, SAMPLE_MAX)
        reading = Reading(actor, token, "preview", purpose=purpose, question={"where": where})
        shown_profiles = member_store.profiles_under(tx, purpose, sample)
        role = context.policy.readers.role_of(actor)
        if role != MARKETER:
            sample = tuple(pseudonyms_of(tx, role, purpose, profile_ids=shown_profiles))
        log_read(tx, context, reading, count=len(sample), now=now, profiles=shown_profiles)
    return Previewed(shown, sample)


def members(
    context: Context, key: str, *, after: str | None, limit: int, actor: str, token: int | None = None
) -> tuple[MemberPage, int]:
    """A page of members by reader pseudonym, and the number of all.

    Faults: `unknown_segment`, `purpose_not_readable`, `segment_outdated`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        segment = in_force(tx, key)
        catalogue = definition_store.catalogue_of(tx, context.policy)
        purposes = _purposes(segment, catalogue)
        check_reads(context, purposes, actor=actor)
        valid_condition(segment, catalogue)  # its members are those of a policy that is no longer in force
        role = context.policy.readers.role_of(actor)
        size = member_store.size_of(tx, segment, purposes, now=now)
        page = member_store.members(tx, segment, purposes, role=role, now=now, after=after, limit=limit)
        question = {"segment": key, "version": segment.version, "after": after, "limit": limit}
        reading = Reading(actor, token, "members", purpose=segment.purpose, question=question, named={"segment": key})
        profiles = member_store.profiles_under(
            tx, segment.purpose, [member.reader_pseudonym for member in page.members], role=role
        )
        log_read(tx, context, reading, count=len(page.members), now=now, profiles=profiles)
    return page, size


def explain(
    context: Context,
    key: str,
    *,
    identifier: Identifier | None = None,
    pseudonym: str | None = None,
    actor: str,
    token: int | None = None,
) -> Explained:
    """What a segment requires; for a person, why they are in or not.

    Privacy staff and auditors name a person by an identifier and are not limited to purposes; who names a pseudonym is.
    Faults: `unknown_segment`, `unknown_profile`, `purpose_not_readable`, `segment_outdated`, `too_many_lookups`.
    """
    if pseudonym is not None:
        count_lookup(context, token, actor=actor)
    now = context.clock.now()
    with context.database.transaction() as tx:
        segment = in_force(tx, key)
        catalogue = definition_store.catalogue_of(tx, context.policy)
        if actor not in STAFF or pseudonym is not None:
            check_reads(context, _purposes(segment, catalogue), actor=actor)
        valid_condition(segment, catalogue)
        explanation = _explanation(tx, segment, catalogue, now=now)
        profile_id = _profile(tx, context, segment, identifier=identifier, pseudonym=pseudonym, actor=actor)
        if profile_id is None:
            return Explained(segment, explanation, None, None, ())
        condition = catalogue.segments[segment.key].condition
        compiled = compiled_condition(tx, condition, catalogue, purpose=segment.purpose, now=now, only=[profile_id])
        membership = explain_membership(condition, evaluation_store.verdicts(tx, compiled).get(profile_id))
        verdict = current_verdicts(tx, context.policy, [profile_id], now=now)[profile_id][segment.purpose]
        question = {"segment": key, "version": segment.version}
        reading = Reading(actor, token, "explain", purpose=segment.purpose, question=question, named={"segment": key})
        log_read(tx, context, reading, count=1, now=now, profiles=[profile_id])
        records = tuple(encode_id("con", record_id) for record_id in verdict.by)
        return Explained(segment, explanation, membership, verdict.reason.value, records)


def _explanation(tx: Transaction, segment: Segment, catalogue: Catalogue, *, now: datetime) -> SegmentExplanation:
    condition = catalogue.segments[segment.key].condition
    compiled = compiled_condition(tx, condition, catalogue, purpose=segment.purpose, now=now)
    return SegmentExplanation(
        where=segment.where,
        purpose=segment.purpose,
        purposes=_purposes(segment, catalogue),
        fields=fields_of(condition, catalogue),
        conditions=tuple(write(part) for part in compiled.parts),
        sql=sql_text(compiled.members),
        plan=evaluation_store.plan_of(tx, compiled.members),
    )


def _purposes(segment: Segment, catalogue: Catalogue) -> tuple[str, ...]:
    return purposes_of(catalogue.segments[segment.key].condition, segment.purpose, catalogue)


def _profile(
    tx: Transaction,
    context: Context,
    segment: Segment,
    *,
    identifier: Identifier | None,
    pseudonym: str | None,
    actor: str,
) -> int | None:
    if identifier is not None:
        return find_profile(tx, context.vault, identifier)[1]
    if pseudonym is None:
        return None
    profile_id = member_store.profile_under(tx, segment.purpose, pseudonym, role=context.policy.readers.role_of(actor))
    if profile_id is None:
        raise unknown_profile()
    return profile_id
