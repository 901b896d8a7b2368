"""The one erasing road: the plan computed from the data dictionary, carried out in chunks, ended by a receipt.

Each chunk is a transaction under the exclusive lock. What tells who the person is goes last, in one transaction with
the keys, the suppression, the notices and the receipt's fact; so a run that was killed anywhere finds the same person
again and goes on.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cdp.audit.store import facts as fact_store
from cdp.consent.receipt import outward_id
from cdp.consent.store import records as record_store
from cdp.destinations.store import outbox as outbox_store
from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.context import Context
from cdp.flows.rights.legal_hold import classes_held, hold_events
from cdp.flows.rights.person import Person, find_person, suppression_pseudonyms_of, unknown_request
from cdp.identity.store import generation as generation_store
from cdp.identity.store import reach as reach_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.rights import execute, lifecycle
from cdp.rights.execute import CHUNK_ROWS_MAX
from cdp.rights.model import Request, Scope, Status, StepCount, Verb
from cdp.rights.plan import PlanStep, erasure_plan
from cdp.rights.receipt import ErasureSummary, fulfillment
from cdp.rights.replay_file import Erased
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import steps as step_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault import store as vault_store

_EVENTS = "behavior.event"
_HOLDS = "rights.hold"
_KEYS = "vault.subject_key"


@dataclass(frozen=True, slots=True)
class RequestResult:
    """A request with the steps of its plan: rows that would be touched, or that were.

    `waiting` counts identifiers that only a reviewer can decide about.
    """

    request: Request
    steps: tuple[StepCount, ...]
    waiting: int


@dataclass(slots=True)
class _Work:
    """One transaction of an erasure; `hidden` are the pseudonyms to suppress."""

    tx: Transaction
    context: Context
    request: Request
    person: Person
    scope: Scope
    hidden: list[bytes]
    now: datetime


def preview(context: Context, request_id: int) -> RequestResult:
    """The dry run: which tables, how many rows, by which verb, and why. Touches nothing."""
    with context.database.transaction(read_only=True) as tx:
        request = request_store.read_request(tx, request_id)
        if request is None:
            raise unknown_request()
        done = tuple(step_store.steps(tx, request_id).values())
        if request.status is Status.FULFILLED:
            return RequestResult(request, done, request.waiting)
        person = find_person(tx, context, request)
        plan = erasure_plan()
        rows = execute.sizes(tx, plan, person.scope(request_id))
    steps = tuple(StepCount(step.table, step.verb, rows[step.position], step.reason) for step in plan)
    return RequestResult(request, steps, len(person.reach.waiting))


def erase(context: Context, request_id: int, now: datetime, *, rows_max: int = CHUNK_ROWS_MAX) -> RequestResult:
    """Erase the person of a verified request, or go on where an earlier run ended; done again, it changes nothing.

    Faults: `unknown_request`, `request_not_next`.
    """
    while True:
        carried, subjects = _advance(context, request_id, now, rows_max=rows_max)
        if carried.request.status is Status.FULFILLED:
            context.vault.evict(subjects)
            return carried


def _advance(
    context: Context, request_id: int, now: datetime, *, rows_max: int
) -> tuple[RequestResult, frozenset[int]]:
    """One transaction's worth of an erasure."""
    plan = erasure_plan()
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = request_store.find_request(tx, request_id)
        if request is None:
            raise unknown_request()
        if request.status is Status.FULFILLED:
            return RequestResult(
                request, tuple(step_store.steps(tx, request_id).values()), request.waiting
            ), frozenset()
        person = find_person(tx, context, request)
        hidden = suppression_pseudonyms_of(tx, context, person)
        work = _Work(tx, context, _started(request, now), person, person.scope(request_id), hidden, now)
        if request.status is not Status.IN_PROGRESS:
            _begin(work, plan)
        if _erase_chunks(work, plan, rows_max):
            _finish(work, plan)
        return RequestResult(
            work.request, tuple(step_store.steps(tx, request_id).values()), work.request.waiting
        ), work.scope.subjects


def _started(request: Request, now: datetime) -> Request:
    started = lifecycle.start(request, now)
    if isinstance(started, Request):
        return started
    raise Fault(
        "request_not_next",
        "The request cannot be carried out",
        "Only a verified request is carried out; `cdp request show` tells where it stands.",
        status=409,
    )


def _begin(work: _Work, plan: tuple[PlanStep, ...]) -> None:
    request_store.change_request(work.tx, work.request)
    steps = [(step.position, StepCount(step.table, step.verb, 0, step.reason)) for step in plan]
    step_store.add_steps(work.tx, work.request.request_id, steps)
    suppression_store.add_pending_suppressions(work.tx, work.request.request_id, work.hidden, now=work.now)
    erase_salts(work.tx, work.scope)
    generation_store.advance(work.tx, changed=True)


def erase_salts(tx: Transaction, scope: Scope) -> int:
    """Let the log's leaves about the person's consent records say nothing any more, before the records go; how many."""
    records = record_store.records_of(tx, scope.identifiers)
    return fact_store.erase_salts(tx, [outward_id(each) for each in records])


def _erase_chunks(work: _Work, plan: tuple[PlanStep, ...], rows_max: int) -> bool:
    """Erase up to about `rows_max` rows of what can go before the rest; True when nothing of it is left.

    A step that was done counts again: something may have been derived from what was still there.
    """
    first_steps = [step for step in plan if not step.is_final]
    sizes = execute.sizes(work.tx, first_steps, work.scope, rows_max=rows_max)
    left, touched, done, whole = rows_max, dict[int, int](), list[int](), list[PlanStep]()
    for step in first_steps:
        size = sizes[step.position]
        if size <= left:
            whole.append(step)
            left -= size
            continue
        if left <= 0:
            break
        rows, is_done = _erase_chunk(work, plan, step, size=size, left=left, touched=touched)
        left -= rows
        if not is_done:
            break
        done.append(step.position)
    full = [step for step in whole if sizes[step.position]]
    for step in full:
        _hold(work, plan, execute.next_chunk(work.tx, step, work.scope, size=0, rows_max=rows_max), touched=touched)
    touched |= dict.fromkeys((step.position for step in whole), 0) | execute.erase_whole(work.tx, full, work.scope)
    done += [step.position for step in whole]
    step_store.advance_steps(work.tx, work.request.request_id, touched, done=done, now=work.now)
    return len(done) == len(first_steps)


def _erase_chunk(
    work: _Work, plan: tuple[PlanStep, ...], step: PlanStep, *, size: int, left: int, touched: dict[int, int]
) -> tuple[int, bool]:
    chunk = execute.next_chunk(work.tx, step, work.scope, size=size, rows_max=left)
    _hold(work, plan, chunk, touched=touched)
    rows = touched[step.position] = execute.erase_chunk(work.tx, chunk, work.scope)
    return rows, not rows


def _hold(work: _Work, plan: tuple[PlanStep, ...], chunk: execute.Chunk, *, touched: dict[int, int]) -> None:
    """Seal anew what a law keeps of the events of a chunk, before they go."""
    held = classes_held(work.context)
    if chunk.step.table == _EVENTS and held:
        events = execute.events_in(work.tx, chunk, work.scope, classes=held)
        holds = next(each.position for each in plan if each.table == _HOLDS)
        touched[holds] = touched.get(holds, 0) + hold_events(work.tx, work.context, events, now=work.now)


def _finish(work: _Work, plan: tuple[PlanStep, ...]) -> None:
    """The last transaction: the notices, the map, the keys, the suppression, the replay line, and the fact of it all."""
    tx, context, request = work.tx, work.context, work.request
    until = _suppressed_until(work)
    notified = outbox_store.notify_erasure(tx, work.scope.profiles, request.outward_id, now=work.now)
    final = [step for step in plan if step.is_final]
    touched = _erase_final(work, final)
    step_store.advance_steps(tx, request.request_id, touched, done=list(touched), now=work.now)
    repair(tx, context, work.person.reach.continuing, now=work.now)
    suppression_store.suppress(tx, work.hidden, work.now, until=until)
    replay_store.append(tx, context.replay, [_line(work, until)], now=work.now)
    steps = tuple(step_store.steps(tx, request.request_id).values())
    outcome = ErasureSummary(
        steps=steps,
        identifiers=len(work.scope.identifiers),
        anchors=len(work.scope.anchors),
        profiles=len(work.scope.profiles),
        keys_shredded=next(each.rows for each in steps if each.table == _KEYS),
        suppressed=len(work.hidden),
        suppressed_until=until,
        recipients=notified.recipients,
        holds=_holds(work, steps),
        epoch=vault_store.living_epoch(tx) or 0,
        policy=context.policy.fingerprint,
    )
    _close(work, outcome)


def _line(work: _Work, until: datetime | None) -> Erased:
    return Erased(
        identifiers=tuple(sorted(work.scope.identifiers)),
        anchors=tuple(sorted(work.scope.anchors)),
        profiles=tuple(sorted(work.scope.profiles)),
        pseudonyms=tuple(sorted(work.hidden)),
        until=until,
        request_id=work.request.request_id,
    )


def repair(tx: Transaction, context: Context, left_over: Collection[int], *, now: datetime) -> None:
    """Let profiles that go on without the person stand on what is left: their birth, verdicts, traits."""
    if left_over:
        reach_store.reassign_origin(tx, left_over)
        apply_mapping_change(tx, context.vault, context.policy, profile_ids=left_over, now=now, retired={})


def _erase_final(work: _Work, final: list[PlanStep]) -> dict[int, int]:
    """Everything that tells who the person is, then the keys; how many rows, by position."""
    rest = [step for step in final if step.verb is not Verb.KEEP and step.table != _KEYS]
    touched = dict.fromkeys((step.position for step in final), 0) | execute.erase_whole(work.tx, rest, work.scope)
    for step in final:
        if step.table == _KEYS and step.verb is not Verb.KEEP:
            touched[step.position] = work.context.vault.shred(work.tx, sorted(work.scope.subjects))
    return touched


def _close(work: _Work, outcome: ErasureSummary) -> None:
    ended = lifecycle.fulfill(replace(work.request, waiting=len(work.person.reach.waiting)), work.now)
    assert isinstance(ended, Request)
    entry_id = fact_store.append(work.tx, fulfillment(ended, outcome), work.now)
    work.request = replace(ended, entry_id=entry_id)
    request_store.change_request(work.tx, work.request)
    generation_store.advance(work.tx, changed=True)


def _holds(work: _Work, steps: tuple[StepCount, ...]) -> tuple[str, ...]:
    """The classes of which a law keeps something, when anything was kept."""
    is_held = any(each.table == _HOLDS and each.rows for each in steps)
    return tuple(sorted(classes_held(work.context))) if is_held else ()


def _suppressed_until(work: _Work) -> datetime | None:
    days = work.context.policy.retention.suppressions.keep_for_days
    return None if days is None else work.now + timedelta(days=days)
