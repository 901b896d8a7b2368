"""Use cases by which time alone moves people: planning the instants at which memberships may change, and following them.

Instants within the next day are stored. An evaluation after a change stores the next instant of its profiles as well
(`memberships.refresh_stale`); the plan, repeated twice a day, adds the instants that have come within reach.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cdp.flows.context import Context
from cdp.flows.segments.evaluation import HORIZON, changing, in_force, instants_of, refresh_in
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import due as due_store

INSTANTS_MAX: Final = 5_000
"""How many due instants one run processes, and how many planned ones are stored under one lock."""

_NOT_NOW: Final = 500
"""Faults from this status on are of the moment, such as an unavailable database, and not of the segment."""

_log = logging.getLogger(__name__)


def plan(context: Context, key: str) -> int:
    """Store the instants of a segment for the next day; the number stored. Faults: `unknown_segment`, `segment_outdated`.

    They are computed without a lock. What changes meanwhile leaves a mark, whose evaluation stores the later instant.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        due_store.begin_plan(tx, key)
    with context.database.transaction(read_only=True) as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        instants = list(instants_of(tx, in_force(tx, key), catalogue, now=now).items())
    for start in range(0, len(instants), INSTANTS_MAX):
        with context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            due_store.add(tx, key, dict(instants[start : start + INSTANTS_MAX]))
    with context.database.transaction() as tx:
        due_store.end_plan(tx, key, now + HORIZON)
    return len(instants)


def plan_unplanned(context: Context) -> None:
    """Plan every segment whose instants are stored for less than half of the horizon.

    A segment that cannot be evaluated is logged, and planned again when a definition or the policy changes, or with the
    next regular plan.
    """
    with context.database.transaction(read_only=True) as tx:
        keys = due_store.unplanned(tx, context.clock.now() + HORIZON / 2)
    for key in keys:
        try:
            plan(context, key)
        except Fault as fault:
            _log.warning("segment_not_planned", extra={"segment": key, "code": fault.code})
            if fault.status >= _NOT_NOW:
                continue
            _postpone(context, key)
        except Exception:  # noqa: BLE001 - a segment that cannot be evaluated must not delay the others
            _log.exception("segment_not_planned", extra={"segment": key})
            _postpone(context, key)


def _postpone(context: Context, key: str) -> None:
    with context.database.transaction() as tx:
        due_store.end_plan(tx, key, context.clock.now() + HORIZON)


def refresh_due(context: Context, *, instants_max: int = INSTANTS_MAX) -> int:
    """Evaluate the segments of profiles whose instant has come, at most `instants_max`; the number processed.

    One transaction: an instant is replaced by the next one together with the changes that it brought. While another
    process does this, it returns 0.
    """
    with context.database.transaction() as tx:
        now = context.clock.now()
        due = due_store.read_due(tx, now, instants_max) if due_store.claim(tx) else {}
        if due:
            found = {key: _evaluated(tx, context, key, only=profile_ids, now=now) for key, profile_ids in due.items()}
            generation_store.lock_exclusive(tx)
            for key, (changed, instants) in found.items():
                if changed:
                    refresh_in(tx, context, in_force(tx, key), now=now, only=changed)
                due_store.replace(tx, key, due[key], instants=instants)
        return sum(map(len, due.values()))


def _evaluated(
    tx: Transaction, context: Context, key: str, *, only: Sequence[int], now: datetime
) -> tuple[Sequence[int], Mapping[int, datetime]]:
    """The profiles whose stored membership differs, and the next instants; none for a segment that fails."""
    try:
        with tx.savepoint():
            catalogue = definition_store.catalogue_of(tx, context.policy)
            segment = in_force(tx, key)
            changed = changing(tx, segment, catalogue, now=now, only=only)
            return changed, instants_of(tx, segment, catalogue, now=now, only=only)
    except Fault:
        pass
    except Exception:  # noqa: BLE001 - a segment that cannot be evaluated must not delay the others
        _log.exception("segment_not_followed", extra={"segment": key})
    due_store.request_plan(tx, [key])
    return (), {}
