"""Use case: read a queue or a topic into a source until it is empty or the process is stopped.

A message is acknowledged after it is stored. While the store fails, nothing is acknowledged and nothing is given back: the batch is
tried again after a pause that grows, and after minutes of that the broker gets its messages back once, until the store works.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.brokers.address import BrokerAddress
from cdp.brokers.connect import connect
from cdp.brokers.model import BrokerMessage, Consumer
from cdp.flows.consume.mapped import MappedReader
from cdp.flows.consume.offsets import Fence, NoFence, OffsetFence, OffsetMoved, PositionLost
from cdp.flows.consume.reading import QueuedBatch, ReadContent, read_batch_of, segment_reader
from cdp.flows.consume.store import ConsumedCounts, QueueStore
from cdp.flows.hooks.mapping import HookMapping
from cdp.flows.imports.messages import check_mapping, source_of
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.errors import Fault
from cdp.kit.gc import collector_paused
from cdp.operations.store import topic_offsets as offset_store
from cdp.sources.model import Source

HOLD_SECONDS: Final = 300.0
"""For how long messages are held while the store fails. A broker that gets them back counts that as one failed delivery, and
quorum queues drop a message after a number of these; one that never gets them back ends the connection after half an hour."""

_FETCH_SECONDS: Final = 1.0
_FOLLOW_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 5.0
_PAUSE_SECONDS_MIN: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 30.0
_UNAVAILABLE: Final = "broker_unavailable"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is read: a queue or topic of a broker, into a source; the members of a Kafka `group` share its partitions.

    Messages are those of the Segment spec, unless `mappings` convert them. With `until_empty` it ends when everything was read that the broker has. With `reset`, the stored offsets of the topic are deleted
    first.
    """

    address: BrokerAddress
    queue: str
    source_name: str
    group: str = ""
    until_empty: bool = False
    reset: bool = False
    mappings: tuple[HookMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsumeProgress:
    """How far it is: messages stored, how many wait at the broker if that is known, and the code of what it waits for."""

    counts: ConsumedCounts
    waiting: int | None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Consumed:
    """What was read in this run, and how often the connection was opened again."""

    source: str
    queue: str
    counts: ConsumedCounts
    reconnections: int
    is_empty: bool


Watch = Callable[[ConsumeProgress], None]


class _StoreFailed(Exception):
    """The store has failed for too long to hold messages."""


def consume(
    watcher: PolicyWatcher, subscription: Subscription, *, stop: threading.Event, watch: Watch = lambda _progress: None
) -> Consumed:
    """Read until `stop` is set, or the queue is empty if that is asked for.

    Faults of the first connection end it: `broker_unavailable`, `broker_refused`, `unknown_queue`, `client_missing`, `topic_replaced`,
    `offsets_expired`; later, only those that another try cannot change. `unknown_source` also when the source is disabled later.
    """
    return _Run(watcher, subscription, stop, watch=watch).run()


@dataclass(slots=True)
class _Pause:
    """Pauses that grow until something works again."""

    stop: threading.Event
    seconds: float = _PAUSE_SECONDS_MIN

    def take(self) -> bool:
        """Wait; False if the process is to stop."""
        is_stopped = self.stop.wait(self.seconds)
        self.seconds = min(self.seconds * 2, _PAUSE_SECONDS_MAX)
        return not is_stopped


class _Run:
    """One run of the command."""

    def __init__(
        self, watcher: PolicyWatcher, subscription: Subscription, stop: threading.Event, *, watch: Watch
    ) -> None:
        self._watcher = watcher
        self._subscription = subscription
        self._stop = stop
        self._watch = watch
        self._counts = ConsumedCounts()
        self._source: Source = source_of(watcher.context, subscription.source_name)
        for mapping in subscription.mappings:
            check_mapping(mapping, watcher.context.policy)
        self._read_content = self._new_reader()
        self._fence: Fence = (
            NoFence()
            if subscription.address.protocol == "amqp"
            else OffsetFence(watcher.context, self._source.source_id, subscription.queue)
        )
        self._store = self._new_store()
        self._followed_at = self._watched_at = time.monotonic()
        self._waiting: int | None = None

    def run(self) -> Consumed:
        """Read, and connect again for as long as that may help."""
        self._begin()
        consumer: Consumer | None = self._connect()
        reconnections, is_empty = 0, False
        while consumer is not None:
            try:
                is_empty = self._read(consumer)
                break
            except (_StoreFailed, PositionLost):
                fault = None
            except Fault as error:
                if error.code != _UNAVAILABLE:
                    raise
                fault = error
            finally:
                consumer.close()
            consumer = self._connect_again(fault)
            reconnections += 1
        return Consumed(self._source.name, self._subscription.queue, self._counts, reconnections, is_empty)

    def _begin(self) -> None:
        """Record in the log that the source is read from a queue, and what was reset."""
        context = self._watcher.context
        source_id = self._source.source_id
        with context.database.transaction() as tx:
            now = context.clock.now()
            fact_store.append(tx, {"kind": "consume.started", "actor": "operator", "source": int(source_id)}, now)
            if self._subscription.reset:
                count = offset_store.delete_topic_offsets(tx, source_id, self._subscription.queue)
                fact = {"kind": "consume.reset", "actor": "operator", "source": int(source_id), "count": count}
                fact_store.append(tx, fact, now)

    def _connect(self) -> Consumer:
        subscription = self._subscription
        return connect(subscription.address, subscription.queue, group=subscription.group, start=self._fence.start)

    def _connect_again(self, fault: Fault | None) -> Consumer | None:
        """A new connection once the store works and the broker answers; None if the process is to stop."""
        pause = _Pause(self._stop)
        while pause.take():
            self._show(fault)
            try:
                self._follow()
                return self._connect()
            except Fault as error:
                if error.status < 500:
                    raise
                fault = error
                _log.warning("consume_waits", extra={"code": error.code})
        return None

    def _read(self, consumer: Consumer) -> bool:
        """Read until the end: whether that is because everything was read."""
        while not self._stop.is_set():
            fetched = consumer.fetch(_FETCH_SECONDS)
            if fetched and not self._store_all(consumer, fetched):
                return False
            if not fetched and self._subscription.until_empty and consumer.is_drained():
                self._waiting = 0
                self._show()
                return True
            if time.monotonic() - self._watched_at >= _WATCH_SECONDS:
                self._watched_at = time.monotonic()
                self._waiting = consumer.waiting()
            self._show()
        return False

    def _store_all(self, consumer: Consumer, fetched: Sequence[BrokerMessage]) -> bool:
        """Store messages and acknowledge them, however often that must be tried; False if the process is to stop before."""
        pause, began = _Pause(self._stop), time.monotonic()
        while True:
            try:
                if time.monotonic() - self._followed_at >= _FOLLOW_SECONDS:
                    self._follow()
                unread = self._store_new(fetched)
                consumer.acknowledge(fetched, unread)
                return True
            except OffsetMoved:
                self._fence.refresh()
            except PositionLost:
                raise
            except Exception as error:
                fault = self._fault_of(error)
                self._show(fault)
                if time.monotonic() - began > HOLD_SECONDS:
                    raise _StoreFailed from error
                consumer.require_connection()
                if not pause.take():
                    return False

    def _store_new(self, fetched: Sequence[BrokerMessage]) -> frozenset[int]:
        """Store those messages that are not stored; the positions of those that could not be read."""
        batch = self._read_batch(self._fence.unseen(fetched))
        if batch.fetched:
            self._store.store(batch)
        return batch.unread

    def _read_batch(self, fetched: Sequence[BrokerMessage]) -> QueuedBatch:
        with collector_paused():
            return read_batch_of(fetched, self._read_content, self._watcher.context.clock.now())

    def _fault_of(self, error: Exception) -> Fault:
        """The fault of a failing store. Raises it where another try makes nothing better, and what the broker reports."""
        if isinstance(error, Fault):
            if error.status < 500 or error.code == _UNAVAILABLE:
                raise error
            _log.warning("consume_waits", extra={"code": error.code})
            return error
        _log.error("consume_waits", exc_info=error)
        return Fault(
            "ingest_failed",
            "Messages cannot be stored right now",
            "Files, memory or the database cannot be used; the log has the error.",
            status=503,
            retry_after_seconds=10,
        )

    def _follow(self) -> None:
        """Follow the policy in force, and the settings of the source. Raises `unknown_source` once it is disabled."""
        if self._watcher.follow_policy():
            self._store = self._new_store()
        self._source = source_of(self._watcher.context, self._subscription.source_name)
        self._read_content = self._new_reader()
        self._followed_at = time.monotonic()

    def _new_reader(self) -> ReadContent:
        mappings = self._subscription.mappings
        return MappedReader(self._source, mappings).read if mappings else segment_reader(self._source)

    def _new_store(self) -> QueueStore:
        context = self._watcher.context
        ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        return QueueStore(ingest, self._fence, self._counts)

    def _show(self, fault: Fault | None = None) -> None:
        self._watch(ConsumeProgress(self._counts, self._waiting, fault))
