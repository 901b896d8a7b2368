"""Use cases of erasure: the plan computed from the data dictionary, previewed or carried out.

There is one implementation of erasure. Each chunk is a transaction under the exclusive lock. The data that identifies
the person is erased last, in one transaction with the keys, the suppression, the notifications and the receipt's fact,
so a run that was killed at any point finds the same person again and continues.
"""

from cdp.flows.context import Context
from cdp.flows.rights.erasure_preview import predicted_steps
from cdp.flows.rights.erasure_steps import (
    ErasureRun,
    erase_chunks,
    finish_erasure,
    finish_suppression,
    start_erasure,
)
from cdp.flows.rights.person import find_person, suppression_pseudonyms_of
from cdp.flows.rights.request_steps import check_reviewed, locked_request, read_request, record_keeping, started
from cdp.flows.rights.results import RequestResult
from cdp.identity.store import generation as generation_store
from cdp.rights.execute import CHUNK_ROWS_MAX
from cdp.rights.model import ErasureMode, Status
from cdp.rights.plan import cite, erasure_plan
from cdp.rights.store import steps as step_store


def preview(context: Context, request_id: int) -> RequestResult:
    """The dry run: which tables, how many rows, by which verb, and why, as a run would. Changes nothing.

    Of an erasure that is in progress, the rows affected so far are included. Raises the fault `unknown_request`.
    """
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        request = read_request(tx, request_id)
        if request.status is Status.FULFILLED:
            done = tuple(step_store.steps(tx, request_id).values())
            return RequestResult(request, done, request.waiting, False if done else None)
        person = find_person(tx, context, request)
        if request.mode is ErasureMode.SUPPRESS or person.is_nothing_held:
            return RequestResult(request, (), len(person.reach.waiting), person.is_nothing_held)
        plan = cite(erasure_plan(), record_keeping(context.policy, request), mode=request.mode)
        steps = predicted_steps(tx, context, request, person=person, plan=plan, now=now)
    return RequestResult(request, steps, len(person.reach.waiting), is_nothing_held=False)


def erase(context: Context, request_id: int, *, rows_max: int = CHUNK_ROWS_MAX) -> RequestResult:
    """Erase the person of a verified request, or continue where an earlier run stopped. Safe to repeat.

    Faults: `unknown_request`, `request_not_next`, and those of `check_reviewed`.
    """
    while True:
        result, subjects = _run_transaction(context, request_id, rows_max=rows_max)
        if result.request.status is Status.FULFILLED:
            context.vault.subject_keys.evict(subjects)
            return result


def _run_transaction(context: Context, request_id: int, *, rows_max: int) -> tuple[RequestResult, frozenset[int]]:
    """One transaction of an erasure: its result so far, and the subjects whose keys it concerns.

    Only the owner of the store deletes from the consent ledger, and destroys keys of people.
    """
    with context.database.owner.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        request = locked_request(tx, request_id)
        plan = cite(erasure_plan(), record_keeping(context.policy, request), mode=request.mode)
        if request.status is Status.FULFILLED:
            done = tuple(step_store.steps(tx, request_id).values())
            return RequestResult(request, done, request.waiting, False if done else None), frozenset()
        person = find_person(tx, context, request)
        run = ErasureRun(
            tx=tx,
            context=context,
            request=started(request, now),
            person=person,
            scope=person.erasure_scope(request_id),
            pseudonyms=suppression_pseudonyms_of(tx, context, person),
            now=now,
        )
        is_first = request.status is not Status.IN_PROGRESS
        if is_first and (request.mode is ErasureMode.SUPPRESS or person.is_nothing_held):
            finish_suppression(run)
            return RequestResult(run.request, (), 0, person.is_nothing_held), frozenset()
        check_reviewed(person)
        if is_first:
            start_erasure(run, plan)
        if erase_chunks(run, plan, rows_max):
            finish_erasure(run, plan)
        done = tuple(step_store.steps(tx, request_id).values())
        return RequestResult(run.request, done, run.request.waiting, is_nothing_held=False), run.scope.subjects
