"""Storing messages of a broker: once, in one transaction with what says that they are stored.

A message that cannot be processed is counted as invalid; see `cdp.flows.ingest.isolate`. What else fails is a failure of the store.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cdp.accounting.model import Outcome
from cdp.flows.consume.offsets import Fence
from cdp.flows.consume.reading import QueuedBatch
from cdp.flows.ingest.batch import Ingest
from cdp.flows.ingest.isolate import isolate, may_be_of_content
from cdp.kit.db import Transaction
from cdp.kit.db_faults import has_waited, is_conflict
from cdp.wire.message import Invalid, Message

_TRIES: Final = 3
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ConsumedCounts:
    """What became of the messages so far: by state, and by state and reason."""

    fetched: int = 0
    messages: int = 0
    unread: int = 0
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, batch: QueuedBatch, outcomes: Sequence[Outcome]) -> None:
        """Count the messages of a batch that is stored."""
        self.fetched += len(batch.fetched)
        self.messages += len(outcomes)
        self.unread += len(batch.unread)
        for outcome in outcomes:
            self.states[outcome.state.value] = self.states.get(outcome.state.value, 0) + 1
            if outcome.reason:
                name = f"{outcome.state.value}: {outcome.reason}"
                self.reasons[name] = self.reasons.get(name, 0) + 1


@dataclass(frozen=True, slots=True)
class QueueStore:
    """Stores batches through ingest, and counts them."""

    ingest: Ingest
    fence: Fence
    counts: ConsumedCounts

    def store(self, batch: QueuedBatch) -> None:
        """Store a batch, in several transactions where messages fail only together. Raises `OffsetMoved`, and what is wrong with the store."""
        messages = batch.messages
        try:
            self._process(batch, messages)
            return
        except Exception as error:
            if not may_be_of_content(error):
                raise
            _log.exception("batch_failed", extra={"messages": len(messages)})
        isolated = isolate(self.ingest.check, messages)
        if isolated != messages:
            self._process(batch.with_messages(isolated), isolated)
        elif len(batch.fetched) > 1:
            for half in batch.halves():
                self.store(half)
        else:
            self._store_one_by_one(batch)

    def _store_one_by_one(self, batch: QueuedBatch) -> None:
        """One message of the broker whose content fails only together: it counts as stored with the last part of it."""
        messages = batch.messages
        outcomes = [outcome for message in messages[:-1] for outcome in self.ingest.process([message])]
        last = self.ingest.process(messages[-1:], also=lambda tx, _: self.fence.advance(tx, batch.fetched))
        self.counts.add(batch, [*outcomes, *last])

    def _process(self, batch: QueuedBatch, messages: Sequence[Message | Invalid]) -> None:
        def note(tx: Transaction, _outcomes: Sequence[Outcome]) -> None:
            self.fence.advance(tx, batch.fetched)

        for tries_left in reversed(range(_TRIES)):
            try:
                self.counts.add(batch, self.ingest.process(messages, also=note))
                return
            except Exception as error:
                if not tries_left or not is_conflict(error) or has_waited(error):
                    raise
