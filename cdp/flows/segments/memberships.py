"""The journeys that keep stored memberships up to date: one segment for everybody, or every segment for whom something touched.

Both look first without any lock, which may take long, and then decide again, under the lock of identity and consent,
about those profiles alone that the look found. So an erasure never runs between an evaluation and its commit, and
ingest waits only for what changes.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import check
from cdp.query.language.explain import purposes_of
from cdp.query.postgres.compile import Compiled, compile_segment
from cdp.query.postgres.scope import events_in
from cdp.segments.model import Refresh, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import marks as mark_store
from cdp.segments.store import members as member_store
from cdp.segments.store.marks import StaleMark

PROFILES_MAX: Final = 10_000
"""How many are decided about under one lock."""

STALE_MAX: Final = 5_000
"""How many marks one look sees to."""

_log = logging.getLogger(__name__)


def refresh(context: Context, key: str) -> Refresh:
    """Bring the stored membership of a segment up to date. Faults: `unknown_segment`, `segment_outdated`.

    A killed run leaves what it had done; the next one finds the rest.
    """
    with context.database.transaction(read_only=True) as tx:
        concerned = _changing(
            tx, in_force(tx, key), definition_store.catalogue_of(tx, context.policy), now=context.clock.now()
        )
    entered = exited = 0
    for start in range(0, len(concerned), PROFILES_MAX):
        with context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            some = concerned[start : start + PROFILES_MAX]
            done = refresh_in(tx, context, in_force(tx, key), now=context.clock.now(), only=some)
        entered, exited = entered + done.entered, exited + done.exited
    with context.database.transaction() as tx:
        definition_store.mark_refreshed(tx, [key], context.clock.now())
    return Refresh(SegmentKey(key), entered, exited)


def refresh_stale(context: Context, *, marks_max: int = STALE_MAX) -> int:
    """Let memberships follow what touched at most `marks_max` marked profiles; how many marks were seen to.

    One transaction: a mark goes when what follows from it is on disk. While another process is at it there is
    nothing to do here. What this look misses, because it fails for a segment, the next refresh of everybody finds.
    """
    with context.database.transaction() as tx:
        seen = mark_store.read_marks(tx, marks_max) if mark_store.claim(tx) else []
        if seen:
            moving = _moving(tx, context, seen, now=context.clock.now())
            if moving:
                generation_store.lock_exclusive(tx)
            for key, concerned in moving.items():
                refresh_in(tx, context, in_force(tx, key), now=context.clock.now(), only=concerned)
            mark_store.delete_marks(tx, seen)
        return len(seen)


def refresh_in(
    tx: Transaction, context: Context, segment: Segment, *, now: datetime, only: Sequence[int] | None = None
) -> Refresh:
    """Evaluate a segment and store the difference; the caller holds the lock of identity and consent to the commit.

    Raises the fault `segment_outdated`.
    """
    definition_store.lock(tx, segment.key)
    catalogue = definition_store.catalogue_of(tx, context.policy)
    compiled, purposes = _compiled(tx, segment, catalogue, now=now, only=only)
    done = member_store.refresh(tx, segment, compiled, purposes=purposes, now=now, only=only)
    if only is None:
        definition_store.mark_refreshed(tx, [segment.key], now)
    if done.entered or done.exited:
        fact = {"kind": "segment.evaluated", "actor": "worker", "segment": segment.key, "version": segment.version}
        fact_store.append(tx, fact | {"entered": done.entered, "left": done.exited}, now)
    return done


def follow_profiles(tx: Transaction, context: Context, profile_ids: Collection[int], *, now: datetime) -> None:
    """Let every segment follow what changed about these profiles; the caller holds the lock to the commit.

    A segment that does not fit the policy any more stays as it is.
    """
    for segment in definition_store.all_segments(tx):
        try:
            with tx.savepoint():
                refresh_in(tx, context, segment, now=now, only=sorted(profile_ids))
        except Fault:
            continue


def in_force(tx: Transaction, key: str) -> Segment:
    """The segment in force under a key. Raises the fault `unknown_segment`."""
    segment = definition_store.find(tx, key)
    if segment is None:
        raise unknown_segment()
    return segment


def unknown_segment() -> Fault:
    """There is no segment under that key."""
    return Fault("unknown_segment", "There is no such segment", "`cdp segment list` shows all.", status=404)


def _moving(
    tx: Transaction, context: Context, seen: Sequence[StaleMark], *, now: datetime
) -> Mapping[str, Sequence[int]]:
    """By segment, the profiles among the marked whose membership is not as stored."""
    catalogue = definition_store.catalogue_of(tx, context.policy)
    moving: dict[str, Sequence[int]] = {}
    for segment in definition_store.all_segments(tx):
        concerned = _concerned(segment, catalogue, seen)
        if concerned:
            try:
                with tx.savepoint():
                    changing = _changing(tx, segment, catalogue, now=now, only=concerned)
            except Fault:
                continue
            except Exception:  # noqa: BLE001 - one segment that cannot be evaluated holds up no other
                _log.exception("segment_not_followed", extra={"segment": segment.key})
                continue
            if changing:
                moving[segment.key] = changing
    return moving


def _concerned(segment: Segment, catalogue: Catalogue, seen: Sequence[StaleMark]) -> list[int]:
    """The profiles of which something came that the segment asks about."""
    definition = catalogue.segments.get(segment.key)
    if definition is None:
        return []
    asked = events_in(definition.condition, catalogue)
    return sorted({each.profile_id for each in seen if each.event is None or each.event in asked})


def _changing(
    tx: Transaction,
    segment: Segment,
    catalogue: Catalogue,
    *,
    now: datetime,
    only: Sequence[int] | None = None,
) -> list[int]:
    compiled, purposes = _compiled(tx, segment, catalogue, now=now, only=only)
    return member_store.changing(tx, segment, compiled, purposes=purposes, only=only)


def _compiled(
    tx: Transaction, segment: Segment, catalogue: Catalogue, *, now: datetime, only: Sequence[int] | None
) -> tuple[Compiled, tuple[str, ...]]:
    """The statements of a segment, and the purposes that must be permitted."""
    condition = catalogue.segments[segment.key].condition
    if check(condition, catalogue, segment.purpose, key=segment.key):
        raise Fault(
            "segment_outdated",
            "The segment does not fit the policy any more",
            "The policy changed since it was defined. `cdp segment check` tells what is wrong with its text.",
            status=409,
        )
    ground = definition_store.interned_ids_of(tx, condition, catalogue)
    compiled = compile_segment(condition, catalogue, ground, purpose=segment.purpose, now=now, only=only)
    return compiled, purposes_of(condition, segment.purpose, catalogue)
