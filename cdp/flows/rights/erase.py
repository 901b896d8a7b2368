"""Use cases of erasure: the plan computed from the data dictionary, previewed or carried out.

There is one implementation of erasure. Each chunk is a transaction under the exclusive lock. The data that identifies
the person is erased last, in one transaction with the keys, the suppression, the notifications and the receipt's fact,
so a run that was killed at any point finds the same person again and continues.
"""

from dataclasses import dataclass
from datetime import datetime

from cdp.flows.context import Context
from cdp.flows.rights.erasure_preview import predicted_steps
from cdp.flows.rights.erasure_steps import ErasureRun, erase_chunks, finish_erasure, start_erasure
from cdp.flows.rights.person import find_person, suppression_pseudonyms_of, unknown_request
from cdp.identity.store import generation as generation_store
from cdp.kit.errors import Fault
from cdp.rights import lifecycle
from cdp.rights.execute import CHUNK_ROWS_MAX
from cdp.rights.model import Request, Status, StepCount
from cdp.rights.plan import erasure_plan
from cdp.rights.store import requests as request_store
from cdp.rights.store import steps as step_store


@dataclass(frozen=True, slots=True)
class RequestResult:
    """A request with the steps of its plan and the rows that each step affected, or would affect.

    `waiting` counts the identifiers that need a reviewer's decision.
    """

    request: Request
    steps: tuple[StepCount, ...]
    waiting: int


def preview(context: Context, request_id: int, now: datetime) -> RequestResult:
    """The dry run: which tables, how many rows, by which verb, and why, as a run at `now` would. Changes nothing.

    Of an erasure that is in progress, the rows affected so far are included. Raises the fault `unknown_request`.
    """
    with context.database.transaction(read_only=True) as tx:
        request = request_store.read_request(tx, request_id)
        if request is None:
            raise unknown_request()
        if request.status is Status.FULFILLED:
            return RequestResult(request, tuple(step_store.steps(tx, request_id).values()), request.waiting)
        person = find_person(tx, context, request)
        steps = predicted_steps(tx, context, request, person=person, plan=erasure_plan(), now=now)
    return RequestResult(request, steps, len(person.reach.waiting))


def erase(context: Context, request_id: int, now: datetime, *, rows_max: int = CHUNK_ROWS_MAX) -> RequestResult:
    """Erase the person of a verified request, or continue where an earlier run stopped. Safe to repeat.

    Faults: `unknown_request`, `request_not_next`.
    """
    while True:
        result, subjects = _run_transaction(context, request_id, now, rows_max=rows_max)
        if result.request.status is Status.FULFILLED:
            context.vault.subject_keys.evict(subjects)
            return result


def _run_transaction(
    context: Context, request_id: int, now: datetime, *, rows_max: int
) -> tuple[RequestResult, frozenset[int]]:
    """One transaction of an erasure: its result so far, and the subjects whose keys it concerns."""
    plan = erasure_plan()
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = request_store.lock_request(tx, request_id)
        if request is None:
            raise unknown_request()
        if request.status is Status.FULFILLED:
            done = tuple(step_store.steps(tx, request_id).values())
            return RequestResult(request, done, request.waiting), frozenset()
        person = find_person(tx, context, request)
        run = ErasureRun(
            tx=tx,
            context=context,
            request=_started(request, now),
            person=person,
            scope=person.erasure_scope(request_id),
            pseudonyms=suppression_pseudonyms_of(tx, context, person),
            now=now,
        )
        if request.status is not Status.IN_PROGRESS:
            start_erasure(run, plan)
        if erase_chunks(run, plan, rows_max):
            finish_erasure(run, plan)
        done = tuple(step_store.steps(tx, request_id).values())
        return RequestResult(run.request, done, run.request.waiting), run.scope.subjects


def _started(request: Request, now: datetime) -> Request:
    started = lifecycle.start(request, now)
    if isinstance(started, Request):
        return started
    raise Fault(
        "request_not_next",
        "The request cannot be carried out",
        "Only a verified request can be carried out; `cdp request show` displays its status.",
        status=409,
    )
