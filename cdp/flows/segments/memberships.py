"""Use cases that keep stored memberships up to date: one segment for all profiles, or all segments for marked profiles.

Both first evaluate without any lock, which may take long, and then decide again, under the lock of identity and consent,
about the profiles that this found. So an erasure never runs between an evaluation and its commit, and ingest waits only
for what changes.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cdp.flows.context import Context
from cdp.flows.segments.evaluation import changing, in_force, instants_of, refresh_in
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language.catalogue import Catalogue
from cdp.query.postgres.scope import events_in
from cdp.segments.model import RefreshResult, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import due as due_store
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
            found = _evaluated(tx, context, marks, now=context.clock.now())
            if found:
                generation_store.lock_exclusive(tx)
            for evaluated in found:
                if evaluated.changed:
                    segment = in_force(tx, evaluated.key)
                    refresh_in(tx, context, segment, now=context.clock.now(), only=evaluated.changed)
                if evaluated.instants:
                    due_store.replace(tx, evaluated.key, evaluated.affected, instants=evaluated.instants)
            mark_store.delete_marks(tx, marks)
        return len(marks)


class _Evaluated(NamedTuple):
    """The marked profiles that a segment may concern, those whose stored membership differs, and their next instants.

    An instant that is stored although there is none anymore is deleted when it has come.
    """

    key: str
    affected: Sequence[int]
    changed: Sequence[int]
    instants: Mapping[int, datetime]


def _evaluated(tx: Transaction, context: Context, marks: Sequence[StaleMark], *, now: datetime) -> list[_Evaluated]:
    """What must be stored, for each segment for which there is something to store."""
    catalogue = definition_store.catalogue_of(tx, context.policy)
    found: list[_Evaluated] = []
    for segment in definition_store.all_segments(tx):
        affected = _affected(segment, catalogue, marks)
        if affected:
            try:
                with tx.savepoint():
                    changed = changing(tx, segment, catalogue, now=now, only=affected)
                    instants = instants_of(tx, segment, catalogue, now=now, only=affected)
            except Fault:
                due_store.request_plan(tx, [segment.key])
                continue
            except Exception:  # noqa: BLE001 - a segment that cannot be evaluated must not delay the others
                _log.exception("segment_not_followed", extra={"segment": segment.key})
                due_store.request_plan(tx, [segment.key])
                continue
            if changed or instants:
                found.append(_Evaluated(segment.key, affected, changed, instants))
    return found


def _affected(segment: Segment, catalogue: Catalogue, marks: Sequence[StaleMark]) -> list[int]:
    """The marked profiles for which something arrived that the segment uses."""
    definition = catalogue.segments.get(segment.key)
    if definition is None:
        return []
    used = events_in(definition.condition, catalogue)
    return sorted({mark.profile_id for mark in marks if mark.event is None or mark.event in used})
