"""Steps that evaluate segments inside a transaction: compiling a definition and storing the difference of memberships."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import check
from cdp.query.language.explain import purposes_of
from cdp.query.postgres.compile import CompiledSegment, compile_segment
from cdp.query.postgres.due import next_instants
from cdp.segments.model import RefreshResult, Segment
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import evaluation as evaluation_store
from cdp.segments.store import members as member_store

HORIZON: Final = timedelta(days=1)
"""How far ahead the instants are stored at which time alone may change a membership."""


def refresh_in(
    tx: Transaction, context: Context, segment: Segment, *, now: datetime, only: Sequence[int] | None = None
) -> RefreshResult:
    """Evaluate a segment and store the difference; the caller holds the lock of identity and consent until the commit.

    `only` limits the evaluation to some profiles. Raises the fault `segment_outdated`.
    """
    definition_store.lock(tx, segment.key)
    catalogue = definition_store.catalogue_of(tx, context.policy)
    compiled, purposes = _compiled_segment(tx, segment, catalogue, now=now, only=only)
    done = member_store.refresh(tx, segment, compiled, purposes=purposes, now=now, only=only)
    if only is None:
        definition_store.mark_refreshed(tx, [segment.key], now)
    if done.entered or done.exited:
        fact = {"kind": "segment.evaluated", "actor": "worker", "segment": segment.key, "version": segment.version}
        fact_store.append(tx, fact | {"entered": done.entered, "left": done.exited}, now)
    return done


def follow_profiles(tx: Transaction, context: Context, profile_ids: Collection[int], *, now: datetime) -> None:
    """Update every segment for profiles that changed; the caller holds the lock of identity and consent until the commit.

    A segment that no longer complies with the policy is left unchanged.
    """
    for segment in definition_store.all_segments(tx):
        try:
            with tx.savepoint():
                refresh_in(tx, context, segment, now=now, only=sorted(profile_ids))
        except Fault:
            continue


def changing(
    tx: Transaction, segment: Segment, catalogue: Catalogue, *, now: datetime, only: Sequence[int] | None = None
) -> list[int]:
    """The profiles whose stored membership a refresh would change; nothing is stored. Raises `segment_outdated`."""
    compiled, purposes = _compiled_segment(tx, segment, catalogue, now=now, only=only)
    return member_store.changing(tx, segment, compiled, purposes=purposes, only=only)


def instants_of(
    tx: Transaction, segment: Segment, catalogue: Catalogue, *, now: datetime, only: Sequence[int] | None = None
) -> dict[int, datetime]:
    """By profile, the next instant within the horizon at which time alone may change the membership.

    Raises `segment_outdated`.
    """
    condition = valid_condition(segment, catalogue)
    ids = definition_store.interned_ids_of(tx, condition, catalogue)
    statement = next_instants(
        condition,
        catalogue,
        ids,
        purpose=segment.purpose,
        now=now,
        until=now + HORIZON,
        only=None if only is None else tuple(only),
    )
    return evaluation_store.instants(tx, statement)


def compiled_condition(
    tx: Transaction,
    condition: ast.Condition,
    catalogue: Catalogue,
    *,
    purpose: str,
    now: datetime,
    only: Sequence[int] | None = None,
) -> CompiledSegment:
    """The statements of a checked condition."""
    ids = definition_store.interned_ids_of(tx, condition, catalogue)
    return compile_segment(condition, catalogue, ids, purpose=purpose, now=now, only=only)


def in_force(tx: Transaction, key: str) -> Segment:
    """The segment in force under a key. Raises the fault `unknown_segment`."""
    segment = definition_store.find(tx, key)
    if segment is None:
        raise unknown_segment()
    return segment


def unknown_segment() -> Fault:
    """There is no segment under that key."""
    return Fault("unknown_segment", "There is no such segment", "`cdp segment list` shows all.", status=404)


def _compiled_segment(
    tx: Transaction, segment: Segment, catalogue: Catalogue, *, now: datetime, only: Sequence[int] | None
) -> tuple[CompiledSegment, tuple[str, ...]]:
    """The statements of a segment, and the purposes that must be permitted."""
    condition = valid_condition(segment, catalogue)
    compiled = compiled_condition(tx, condition, catalogue, purpose=segment.purpose, now=now, only=only)
    return compiled, purposes_of(condition, segment.purpose, catalogue)


def valid_condition(segment: Segment, catalogue: Catalogue) -> ast.Condition:
    """The condition of a segment in force, if the policy still allows it. Raises the fault `segment_outdated`."""
    condition = catalogue.segments[segment.key].condition
    if check(condition, catalogue, segment.purpose, key=segment.key):
        raise Fault(
            "segment_outdated",
            "The segment no longer complies with the policy",
            "The policy has changed since the segment was defined. `cdp segment check` shows what is wrong with its text.",
            status=409,
        )
    return condition
