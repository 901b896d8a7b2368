"""Steps that predict an erasure: the rows that each step of its plan will affect or keep, without changing any."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp.flows.context import Context
from cdp.flows.rights.legal_hold import count_held_events
from cdp.flows.rights.person import Person, suppression_pseudonyms_of
from cdp.kit.db import Transaction
from cdp.rights import execute
from cdp.rights.model import Request, StepCount, Verb
from cdp.rights.plan import PlanStep
from cdp.rights.store import steps as step_store
from cdp.rights.store import suppressions as suppression_store

SUPPRESSIONS: Final = "rights.suppression"
HOLDS: Final = "rights.hold"
REQUESTS: Final = "rights.request"
REPLAY_FILE: Final = "replay.jsonl"


def predicted_steps(
    tx: Transaction, context: Context, request: Request, *, person: Person, plan: Sequence[PlanStep], now: datetime
) -> tuple[StepCount, ...]:
    """The steps as a run at `now` would leave them: rows affected so far, and rows that are left to affect."""
    scope = person.erasure_scope(request.request_id)
    pseudonyms = set(suppression_pseudonyms_of(tx, context, person))
    rows = execute.row_counts(tx, plan, scope)
    done = step_store.steps(tx, request.request_id)
    kept = {HOLDS: count_held_events(tx, context, scope, now=now), **kept_rows(suppressed=len(pseudonyms))}
    pending = len(pseudonyms | suppression_store.pending_suppressions(tx, request.request_id))
    steps = []
    for step in plan:
        left = kept[step.table] if step.verb is Verb.KEEP else rows[step.position]
        if step.table == SUPPRESSIONS and step.verb is Verb.DELETE:
            left = pending
        before = done.get(step.position)
        steps.append(
            StepCount(step.table, step.verb, left + (before.rows if before else 0), step.reason, _is_done(before))
        )
    return tuple(steps)


def kept_rows(*, suppressed: int) -> dict[str, int]:
    """The rows that the last transaction of an erasure keeps, by table; legal holds are counted as they are written."""
    return {REPLAY_FILE: 1, REQUESTS: 1, SUPPRESSIONS: suppressed}


def _is_done(before: StepCount | None) -> bool:
    return before is not None and before.is_done
