"""Use cases of deferred messages: what a grant opens goes through ingest again, and what nobody answers ends.

A grant only marks what waits for its device, so that it is answered as fast as any other. The worker runs these.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from cdp.accounting.model import Outcome, State
from cdp.accounting.store import messages as accounting_store
from cdp.audit.store import facts as fact_store
from cdp.consent.store import deferred as deferred_store
from cdp.consent.store.deferred import DueMessage
from cdp.flows.consent.deferred import REFUSED, end_unanswered
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.ingest.defer import opened_message
from cdp.flows.ingest.isolate import may_be_of_content
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId
from cdp.sources.store import sources as source_store
from cdp.vault.vault import Item
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Message

DEFERRED_MESSAGES: Final = "consent.deferred_message"
_MESSAGES_MAX: Final = 1_000
_ROWS_MAX: Final = 10_000
_Due = tuple[DueMessage, Message]
_UNPROCESSABLE: Final = Outcome(State.INVALID, InvalidReason.UNPROCESSABLE.value)


def open_granted(context: Context) -> int:
    """Send what waited for the devices that granted something through ingest again; returns how many messages were opened.

    Each message keeps its own times. What is still not answered waits on, until its term ends. Safe to repeat, and to kill.
    """
    opened, ingest = 0, None
    while due := _due(context):
        if ingest is None:
            ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        opened += len(due)
        try:
            _open(context, ingest, due, done={entry.message.subject_id for entry, _ in due})
        except Exception as error:
            if not may_be_of_content(error):
                raise
            _open_each(context, ingest, due)
    return opened


def end_deferrals(context: Context) -> int:
    """End the messages that nobody answered in their term; returns how many."""
    with context.database.transaction(read_only=True) as tx:
        if not deferred_store.has_ended(tx, context.clock.now()):
            return 0
    total, rows = 0, _ROWS_MAX
    while rows >= _ROWS_MAX:
        with context.database.transaction() as tx:
            now = generation_store.lock_exclusive(tx).now
            rows = end_unanswered(tx, context.vault, now, rows_max=_ROWS_MAX)
            if rows:
                fact_store.append(tx, {"kind": "sweep.run", "actor": "system", "tally": {DEFERRED_MESSAGES: rows}}, now)
        total += rows
    return total


def _due(context: Context) -> list[_Due]:
    """The messages to be opened next, opened; nobody changes anything yet."""
    with context.database.transaction(read_only=True) as tx:
        due = deferred_store.due_messages(tx, context.clock.now(), _MESSAGES_MAX)
        if not due:
            return []
        keys = context.vault.subject_keys.keys_once(tx, {entry.message.subject_id for entry in due})
        items = [Item(entry.message.subject_id, entry.message.event_id, entry.message.sealed) for entry in due]
        texts = context.vault.open_many(keys, deferred_store.MESSAGE, items)
        known = {int(entry.source.source_id): entry.source for entry in source_store.sources(tx)}
    return [
        (entry, opened_message(text, replace(known[entry.source_id], defer=True)))
        for entry, text in zip(due, texts, strict=True)
        if text is not None
    ]


def _open_each(context: Context, ingest: Ingest, due: Sequence[_Due]) -> None:
    """Open one message at a time; one that cannot be processed ends as invalid."""
    last = {entry.message.subject_id: position for position, (entry, _) in enumerate(due)}
    for position, pair in enumerate(due):
        subject_id = pair[0].message.subject_id
        done = {subject_id} if last[subject_id] == position else set[int]()
        try:
            _open(context, ingest, [pair], done=done)
        except Exception as error:
            if not may_be_of_content(error):
                raise
            with context.database.transaction() as tx:
                now = generation_store.lock_exclusive(tx).now
                is_due = pair[0].message.event_id in deferred_store.still_due(tx, [subject_id], now)
                ended = {0: _UNPROCESSABLE} if is_due else {}
                _end(tx, context, [pair[0]], ended=ended, done=done, now=now)


def _open(context: Context, ingest: Ingest, due: Sequence[_Due], *, done: Collection[int]) -> None:
    """Send messages through ingest; with them, everything that waits for the devices `done` was opened."""
    entries = [entry for entry, _ in due]
    refused: set[bytes] = set()

    def claim(tx: Transaction, now: datetime) -> Collection[int]:
        still = deferred_store.still_due(tx, {entry.message.subject_id for entry in entries}, now)
        refused.update(event_id for event_id, is_refused in still.items() if is_refused)
        return {position for position, entry in enumerate(entries) if entry.message.event_id in still}

    ingest.reopen(
        [message for _, message in due],
        claim=claim,
        end=lambda tx, outcomes, now: _end(
            tx, context, entries, ended=_ended(entries, outcomes, refused), done=done, now=now
        ),
    )


def _ended(
    entries: Sequence[DueMessage], outcomes: Mapping[int, Outcome], refused: Collection[bytes]
) -> dict[int, Outcome]:
    """The outcomes of the messages that do not wait any more, by position: of those not permitted, the refused end, too."""
    ended = {}
    for position, outcome in outcomes.items():
        if outcome.state is not State.DEFERRED:
            ended[position] = outcome
        elif entries[position].message.event_id in refused:
            ended[position] = REFUSED
    return ended


def _end(
    tx: Transaction,
    context: Context,
    entries: Sequence[DueMessage],
    *,
    ended: Mapping[int, Outcome],
    done: Collection[int],
    now: datetime,
) -> None:
    """Count the messages that were opened in the states in which they ended; those that still wait stay."""
    counts: Counter[tuple[SourceId, datetime, State, str]] = Counter()
    states: Counter[str] = Counter()
    for position, outcome in ended.items():
        message, source_id = entries[position]
        counts[SourceId(source_id), message.counted_at, outcome.state, outcome.reason] += 1
        states[outcome.state.value] += 1
    deferred_store.delete_messages(tx, [entries[position].message.event_id for position in ended])
    deferred_store.mark_opened(tx, done)
    subjects = {entry.message.subject_id for entry in entries}
    context.vault.subject_keys.throw_away(tx, deferred_store.delete_empty_devices(tx, subjects))
    accounting_store.move_deferred(tx, counts)
    if states:
        fact_store.append(tx, {"kind": "ingest.batch", "actor": "system", "states": dict(states)}, now)
