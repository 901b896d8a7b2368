"""Steps of an erasure; each works in one transaction, described by `ErasureRun`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.consent.receipt import outward_id
from cdp.consent.store import records as record_store
from cdp.destinations.model import RecipientNotice
from cdp.destinations.store import outbox as outbox_store
from cdp.flows.consent.deferred import ERASED, end_deferred
from cdp.flows.consent.verdicts import apply_mapping_change
from cdp.flows.context import Context
from cdp.flows.rights.erasure_preview import kept_rows
from cdp.flows.rights.legal_hold import held_classes, hold_events
from cdp.flows.rights.pending import suppress_while_running
from cdp.flows.rights.person import Person
from cdp.flows.rights.request_steps import fulfilled
from cdp.identity.store import generation as generation_store
from cdp.identity.store import reach as reach_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.rights import execute, lifecycle
from cdp.rights.model import ErasureMode, Request, Scope, StepCount, Verb
from cdp.rights.plan import PlanStep
from cdp.rights.receipt import ErasureSummary, fulfillment
from cdp.rights.replay_file import Erased, Lifted, Line
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import steps as step_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault import store as vault_store

_HOLDS: Final = "rights.hold"
_KEYS: Final = "vault.subject_key"


@dataclass(slots=True)
class ErasureRun:
    """One transaction of an erasure; `pseudonyms` are those to suppress."""

    tx: Transaction
    context: Context
    request: Request
    person: Person
    scope: Scope
    pseudonyms: list[bytes]
    now: datetime


def start_erasure(run: ErasureRun, plan: tuple[PlanStep, ...]) -> None:
    """Store the plan, suppress the person while the request runs, and erase the salts of their consent records."""
    request_store.update_request(run.tx, run.request)
    steps = [(step.position, StepCount(step.table, step.verb, 0, step.reason)) for step in plan]
    step_store.add_steps(run.tx, run.request.request_id, steps)
    suppress_while_running(run.tx, run.context, run.request.request_id, pseudonyms=run.pseudonyms, now=run.now)
    erase_salts(run.tx, run.scope)


def erase_salts(tx: Transaction, scope: Scope) -> int:
    """Erase the salts of the audit entries about the person's consent records; returns how many.

    This must precede the deletion of the records, because the entries are found through them.
    """
    records = record_store.records_of(tx, scope.identifiers)
    return fact_store.erase_salts(tx, [outward_id(record) for record in records])


def erase_chunks(run: ErasureRun, plan: tuple[PlanStep, ...], rows_max: int) -> bool:
    """Erase up to about `rows_max` rows of the steps that are not final; True when none of their rows is left.

    A step that was done is counted again: rows may have been derived from data that was still present.
    """
    first_steps = [step for step in plan if not step.is_final]
    counts = execute.row_counts(run.tx, first_steps, run.scope, rows_max=rows_max)
    left, touched, done, whole = rows_max, dict[int, int](), list[int](), list[PlanStep]()
    for step in first_steps:
        count = counts[step.position]
        if count <= left:
            whole.append(step)
            # An assumed number must not use up the chunk: the events would never be erased, and no run would end.
            left -= 0 if execute.is_duplicate_digest(step) else count
            continue
        if left <= 0:
            break
        rows, is_done = _erase_chunk(run, plan, step, count=count, left=left, touched=touched)
        left -= rows
        if not is_done:
            break
        done.append(step.position)
    full = [step for step in whole if counts[step.position]]
    for step in full:
        chunk = execute.next_chunk(run.tx, step, run.scope, size=0, rows_max=rows_max)
        _keep_under_hold(run, plan, chunk, touched=touched)
    touched |= dict.fromkeys((step.position for step in whole), 0) | execute.erase_whole(run.tx, full, run.scope)
    done += [step.position for step in whole]
    step_store.advance_steps(run.tx, run.request.request_id, touched, done=done, now=run.now)
    _log_steps(run, plan, touched)
    return len(done) == len(first_steps)


def _erase_chunk(
    run: ErasureRun, plan: tuple[PlanStep, ...], step: PlanStep, *, count: int, left: int, touched: dict[int, int]
) -> tuple[int, bool]:
    chunk = execute.next_chunk(run.tx, step, run.scope, size=count, rows_max=left)
    _keep_under_hold(run, plan, chunk, touched=touched)
    rows = touched[step.position] = execute.erase_chunk(run.tx, chunk, run.scope)
    return rows, not rows


def _keep_under_hold(
    run: ErasureRun, plan: tuple[PlanStep, ...], chunk: execute.Chunk, *, touched: dict[int, int]
) -> None:
    """Seal again, under separate keys, the columns that a law requires to keep of the events about to be deleted."""
    classes = held_classes(run.context)
    if chunk.step.table in execute.EVENT_TABLES and classes:
        events = execute.events_in(run.tx, chunk, run.scope, classes=classes)
        position = next(step.position for step in plan if step.table == _HOLDS)
        touched[position] = touched.get(position, 0) + hold_events(run.tx, run.context, events, now=run.now)


def finish_erasure(run: ErasureRun, plan: tuple[PlanStep, ...]) -> None:
    """The last transaction: notifications, final tables, keys, suppression, replay line, and the receipt's fact."""
    tx, context, request = run.tx, run.context, run.request
    until = _suppressed_until(run)
    notified = outbox_store.notify(
        tx, run.scope.profiles, RecipientNotice.ERASURE, body={"request": request.outward_id}, now=run.now
    )
    final = [step for step in plan if step.is_final]
    touched = _erase_final(run, final)
    kept = kept_rows(suppressed=len(set(run.pseudonyms)))
    touched |= {step.position: kept.get(step.table, 0) for step in final if step.verb is Verb.KEEP}
    step_store.advance_steps(tx, request.request_id, touched, done=list(touched), now=run.now)
    _log_steps(run, plan, touched)
    recompute_remaining(tx, context, run.person.reach.continuing, now=run.now)
    suppress_person(run, until)
    steps = tuple(step_store.steps(tx, request.request_id).values())
    summary = ErasureSummary(
        steps=steps,
        identifiers=len(run.scope.identifiers),
        anchors=len(run.scope.anchors),
        profiles=len(run.scope.profiles),
        keys_shredded=next(step.rows for step in steps if step.table == _KEYS),
        suppressed=0 if request.mode is ErasureMode.ERASE else len(run.pseudonyms),
        suppressed_until=None if request.mode is ErasureMode.ERASE else until,
        recipients=notified.recipients,
        holds=_classes_kept(run, steps),
        epoch=vault_store.active_epoch(tx) or 0,
        policy=context.policy.fingerprint,
    )
    _close(run, summary)


def log_suppressed(tx: Transaction, count: int, now: datetime, **named: str) -> None:
    """Log how many pseudonyms are suppressed from now on, with the fields that name why."""
    if count:
        fact_store.append(tx, {"kind": "suppression.added", "actor": "system", "count": count, **named}, now)


def _log_steps(run: ErasureRun, plan: tuple[PlanStep, ...], touched: Mapping[int, int]) -> None:
    """Log what this transaction of the erasure did to which tables."""
    done = [
        {"table": step.table, "verb": step.verb.value, "rows": touched[step.position]}
        for step in plan
        if touched.get(step.position)
    ]
    if done:
        fact = {"kind": "request.step", "actor": "system", "request": run.request.outward_id, "steps": done}
        fact_store.append(run.tx, fact, run.now)


def finish_suppression(run: ErasureRun) -> None:
    """Fulfill a request that erases nothing: one that only suppresses, or one under whose names nothing is held."""
    details: dict[str, Any] = {"is_nothing_held": run.person.is_nothing_held}
    if run.request.mode is not ErasureMode.ERASE:
        until = _suppressed_until(run)
        run.scope = Scope(0, frozenset(), frozenset(), frozenset())
        suppress_person(run, until)
        details["suppressed"] = len(run.pseudonyms)
        if until is not None:
            details["suppressed_until"] = instant_text(until)
    run.request = fulfilled(run.tx, run.context, run.request, details=details, now=run.now)
    generation_store.advance(run.tx, changed=True)


def suppress_person(run: ErasureRun, until: datetime | None) -> None:
    """Suppress the person's pseudonyms, and write to the replay file what a restored database must do again.

    Where only an erasure was asked for, the suppression is lifted at once: what occurred before it is still refused.
    """
    suppression_store.suppress(run.tx, run.pseudonyms, run.now, until=until)
    end_deferred(run.tx, run.context.vault, run.pseudonyms, outcome=ERASED)
    log_suppressed(run.tx, len(run.pseudonyms), run.now, request=run.request.outward_id)
    lines: list[Line] = [_replay_line(run, until)]
    if run.request.mode is ErasureMode.ERASE:
        suppression_store.lift(run.tx, run.pseudonyms, run.now)
        lines.append(Lifted(tuple(sorted(run.pseudonyms)), run.now))
    replay_store.append(run.tx, run.context.replay, lines, now=run.now)


def recompute_remaining(tx: Transaction, context: Context, profile_ids: Collection[int], *, now: datetime) -> None:
    """Recompute the origin, verdicts and traits of profiles that remain without the person."""
    if profile_ids:
        reach_store.reassign_origin(tx, profile_ids)
        apply_mapping_change(tx, context.policy, profile_ids=profile_ids, now=now, retired={})


def _erase_final(run: ErasureRun, final: list[PlanStep]) -> dict[int, int]:
    """Erase everything that identifies the person, then the keys; how many rows, by position."""
    rest = [step for step in final if step.verb is not Verb.KEEP and step.table != _KEYS]
    touched = dict.fromkeys((step.position for step in final), 0) | execute.erase_whole(run.tx, rest, run.scope)
    for step in final:
        if step.table == _KEYS and step.verb is not Verb.KEEP:
            touched[step.position] = run.context.vault.subject_keys.shred(run.tx, sorted(run.scope.subjects))
    return touched


def _replay_line(run: ErasureRun, until: datetime | None) -> Erased:
    return Erased(
        identifiers=tuple(sorted(run.scope.identifiers)),
        anchors=tuple(sorted(run.scope.anchors)),
        profiles=tuple(sorted(run.scope.profiles)),
        pseudonyms=tuple(sorted(run.pseudonyms)),
        until=until,
        request_id=run.request.request_id,
    )


def _close(run: ErasureRun, summary: ErasureSummary) -> None:
    fulfilled = lifecycle.fulfill(replace(run.request, waiting=len(run.person.reach.waiting)), run.now)
    assert isinstance(fulfilled, Request)
    entry_id = fact_store.append(run.tx, fulfillment(fulfilled, summary), run.now)
    run.request = replace(fulfilled, entry_id=entry_id)
    request_store.update_request(run.tx, run.request)
    generation_store.advance(run.tx, changed=True)


def _classes_kept(run: ErasureRun, steps: tuple[StepCount, ...]) -> tuple[str, ...]:
    """The retention classes with a legal hold, if this erasure kept anything under one."""
    is_held = any(step.table == _HOLDS and step.rows for step in steps)
    return tuple(sorted(held_classes(run.context))) if is_held else ()


def _suppressed_until(run: ErasureRun) -> datetime | None:
    days = run.context.policy.retention.suppressions.keep_for_days
    return None if days is None else run.now + timedelta(days=days)
