"""Use cases that keep stored memberships up to date: one segment for all profiles, or all segments for marked profiles.

Both first evaluate without any lock, which may take long, and then decide again, under the lock of identity and consent,
about the profiles that this found. So an erasure never runs between an evaluation and its commit, and ingest waits only
for what changes.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cdp.flows.context import Context
from cdp.flows.segments.evaluation import changing, in_force, refresh_in
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language.catalogue import Catalogue
from cdp.query.postgres.scope import events_in
from cdp.segments.model import RefreshResult, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import marks as mark_store
from cdp.segments.store.marks import StaleMark

PROFILES_MAX: Final = 10_000
"""How many profiles are decided about under one lock."""

MARKS_MAX: Final = 5_000
"""How many marks one run processes."""

_log = logging.getLogger(__name__)


def refresh(context: Context, key: str) -> RefreshResult:
    """Bring the stored membership of a segment up to date. Faults: `unknown_segment`, `segment_outdated`.

    A run that is killed leaves what it had committed; the next one finds the rest.
    """
    with context.database.transaction(read_only=True) as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        profile_ids = changing(tx, in_force(tx, key), catalogue, now=context.clock.now())
    entered = exited = 0
    for start in range(0, len(profile_ids), PROFILES_MAX):
        with context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            chunk = profile_ids[start : start + PROFILES_MAX]
            done = refresh_in(tx, context, in_force(tx, key), now=context.clock.now(), only=chunk)
        entered, exited = entered + done.entered, exited + done.exited
    with context.database.transaction() as tx:
        definition_store.mark_refreshed(tx, [key], context.clock.now())
    return RefreshResult(SegmentKey(key), entered, exited)


def refresh_stale(context: Context, *, marks_max: int = MARKS_MAX) -> int:
    """Update memberships for at most `marks_max` marked profiles; the number of marks processed.

    One transaction: a mark is deleted together with the commit of its consequences. While another process does this,
    it returns 0. What it misses, because a segment fails, the next refresh of all profiles finds.
    """
    with context.database.transaction() as tx:
        marks = mark_store.read_marks(tx, marks_max) if mark_store.claim(tx) else []
        if marks:
            changes = _changes(tx, context, marks, now=context.clock.now())
            if changes:
                generation_store.lock_exclusive(tx)
            for key, profile_ids in changes.items():
                refresh_in(tx, context, in_force(tx, key), now=context.clock.now(), only=profile_ids)
            mark_store.delete_marks(tx, marks)
        return len(marks)


def _changes(
    tx: Transaction, context: Context, marks: Sequence[StaleMark], *, now: datetime
) -> Mapping[str, Sequence[int]]:
    """By segment, the marked profiles whose membership differs from what is stored."""
    catalogue = definition_store.catalogue_of(tx, context.policy)
    changes: dict[str, Sequence[int]] = {}
    for segment in definition_store.all_segments(tx):
        affected = _affected(segment, catalogue, marks)
        if affected:
            try:
                with tx.savepoint():
                    profile_ids = changing(tx, segment, catalogue, now=now, only=affected)
            except Fault:
                continue
            except Exception:  # noqa: BLE001 - a segment that cannot be evaluated must not delay the others
                _log.exception("segment_not_followed", extra={"segment": segment.key})
                continue
            if profile_ids:
                changes[segment.key] = profile_ids
    return changes


def _affected(segment: Segment, catalogue: Catalogue, marks: Sequence[StaleMark]) -> list[int]:
    """The marked profiles for which something arrived that the segment uses."""
    definition = catalogue.segments.get(segment.key)
    if definition is None:
        return []
    used = events_in(definition.condition, catalogue)
    return sorted({mark.profile_id for mark in marks if mark.event is None or mark.event in used})
