"""Steps that put definitions in force, end them, and record both in the audit log."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.segments.texts import conditions_of
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import check
from cdp.segments.model import Draft, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import due as due_store
from cdp.segments.store.ending import end_all

POLICY: Final = "policy"
"""The owner of segments that the policy folder defines."""


def planned_catalogue(tx: Transaction, policy: Policy) -> Catalogue:
    """What is in force once the policy is applied: the segments of its folder, and those that others defined.

    Raises `segment_rejected`, and `segment_in_use` if a segment stays that refers to one which ends.
    """
    ending = set(ending_segments(tx, policy))
    stored = definition_store.catalogue_of(tx, policy).segments
    check_unused({key: found for key, found in stored.items() if key not in policy.segments}, ending)
    kept = {key: definition for key, definition in stored.items() if key not in ending}
    own = conditions_of(policy, kept)
    return Catalogue(
        policy, kept | {key: Definition(policy.segments[key].purpose, found) for key, found in own.items()}
    )


def ending_segments(tx: Transaction, policy: Policy) -> list[str]:
    """The segments in force that came from a policy folder and that this one no longer has."""
    return [
        segment.key
        for segment in definition_store.all_segments(tx)
        if segment.owner == POLICY and segment.key not in policy.segments
    ]


def outdated_segments(catalogue: Catalogue) -> list[str]:
    """The segments of a catalogue that its policy does not permit; those of the policy folder never are."""
    return [
        key
        for key, definition in sorted(catalogue.segments.items())
        if catalogue.purpose(definition.purpose) is None
        or check(definition.condition, catalogue, definition.purpose, key=key)
    ]


def check_unused(definitions: Mapping[str, Definition], keys: Collection[str]) -> None:
    """Raise the fault `segment_in_use` (409) if one of these definitions, other than those of `keys`, refers to one of them."""
    others = sorted(
        key
        for key, definition in definitions.items()
        if key not in keys
        and any(isinstance(node, ast.InSegment) and node.key in keys for node in ast.walk(definition.condition))
    )
    if others:
        detail = f"Change {', '.join(others)} first."
        raise Fault("segment_in_use", "Other segments refer to this one", detail, status=409)


def adopt(tx: Transaction, policy: Policy, now: datetime) -> int:
    """Put the segments of the policy folder in force; the number of new or changed ones. Raises `segment_rejected`."""
    conditions = conditions_of(policy, definition_store.catalogue_of(tx, policy).segments)
    changed = 0
    for key, text in policy.segments.items():
        draft = Draft(SegmentKey(key), text.name, text.purpose, POLICY, text.text)
        before = definition_store.find(tx, key)
        after = definition_store.save(tx, draft, conditions[key], fingerprint=policy.fingerprint, now=now)
        if before is None or before.version != after.version:
            changed += 1
            _log_definition(tx, after, "operator", now=now)
    due_store.request_plan(tx)  # windows, retention and the time zone may be others now
    return changed


def end_former(tx: Transaction, policy: Policy, now: datetime) -> None:
    """End the segments that the policy folder no longer has, and the memberships of those that the policy does not permit.

    The latter keep their definitions: they have members again once they or the policy are changed.
    """
    for key in ending_segments(tx, policy):
        end(tx, key, now, actor="operator")
    for key in outdated_segments(definition_store.catalogue_of(tx, policy)):
        _end_memberships(tx, definition_store.find(tx, key), now, actor="operator")


def end(tx: Transaction, key: str, now: datetime, *, actor: str) -> None:
    """End a segment in force with its memberships, and record it."""
    _end_memberships(tx, definition_store.find(tx, key), now, actor=actor)
    definition_store.end_segment(tx, key, now)
    fact_store.append(tx, {"kind": "segment.deleted", "actor": actor, "segment": key}, now)


def _end_memberships(tx: Transaction, segment: Segment | None, now: datetime, *, actor: str) -> None:
    if segment is None:
        return
    definition_store.lock(tx, segment.key)
    exited = end_all(tx, segment.key, now)
    if exited:
        fact = {"kind": "segment.evaluated", "actor": actor, "segment": segment.key, "version": segment.version}
        fact_store.append(tx, fact | {"entered": 0, "left": exited}, now)


def save(tx: Transaction, policy: Policy, draft: Draft, *, condition: ast.Condition, now: datetime, actor: str) -> None:
    """Put a checked definition in force and record it."""
    saved = definition_store.save(tx, draft, condition, fingerprint=policy.fingerprint, now=now)
    _log_definition(tx, saved, actor, now=now)


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
