"""A queue of an AMQP 0-9-1 broker, such as RabbitMQ, read with pika.

pika is not thread-safe and answers heartbeats only while it is called, and a transaction may take long: the connection is
used by a thread of its own, which reads ahead as far as the prefetch and the bytes held allow. Beyond these bytes it reads only as
much as heartbeats need, and the broker waits.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cdp.brokers.address import BrokerAddress
from cdp.brokers.amqp_connection import fault_of, open_connection
from cdp.brokers.faults import load_client, unavailable
from cdp.brokers.model import FETCH_BYTES_MAX, FETCH_MESSAGES_MAX, HELD_BYTES_MAX, BrokerMessage
from cdp.kit.canonical import sha256
from cdp.kit.errors import Fault

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

PREFETCH: Final = 2 * FETCH_MESSAGES_MAX
"""Messages that the broker hands out before the first of them is acknowledged: one transaction, and the next one."""

_PUMP_SECONDS: Final = 1.0
_FULL_PAUSE_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 30.0
_FROM_THE_FIRST: Final = {"x-stream-offset": "first"}
"""A stream then delivers what it has, and is recognized by that; other queues of RabbitMQ refuse it."""
_PRECONDITION_FAILED: Final = 406
_R = TypeVar("_R")


class AmqpConsumer:
    """Reads one queue; see `cdp.brokers.model.Consumer`. Messages are acknowledged in the order in which they were fetched."""

    def __init__(self, address: BrokerAddress, queue: str, *, prefetch: int = PREFETCH) -> None:
        self._pika = load_client("pika", "amqp")
        logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it reports is raised as a fault
        self._address = address
        self._queue = queue
        self._arrived: deque[BrokerMessage] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failure: Fault | None = None
        self._connection: BlockingConnection = open_connection(self._pika, address)
        self._channel: BlockingChannel = self._open_channel(prefetch)
        self._thread = threading.Thread(target=self._pump, name="cdp-amqp", daemon=True)
        self._thread.start()

    def fetch(self, wait_seconds: float) -> list[BrokerMessage]:
        """The next messages: at once where some have arrived."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._failure is not None, wait_seconds)
            if not self._arrived:
                self.require_connection()
            found: list[BrokerMessage] = []
            size = 0
            while self._arrived and len(found) < FETCH_MESSAGES_MAX:
                size += len(self._arrived[0].body)
                if found and size > FETCH_BYTES_MAX:
                    break
                found.append(self._arrived.popleft())
            self._held_bytes -= sum(len(message.body) for message in found)
        return found

    def acknowledge(self, messages: Sequence[BrokerMessage], unread: Collection[int]) -> None:
        """Acknowledge messages; those that are `unread` are rejected, and go to the dead-letter exchange if the queue has one."""

        def answer() -> None:
            for tag in sorted(unread):
                self._channel.basic_reject(tag, requeue=False)
            read = [message.position for message in messages if message.position not in unread]
            if read:
                self._channel.basic_ack(read[-1], multiple=True)

        self._ask(answer)

    def waiting(self) -> int | None:
        """The messages in the queue that no consumer has, and those that arrived here."""
        found = self._ask(lambda: self._channel.queue_declare(self._queue, passive=True))
        return int(found.method.message_count) + len(self._arrived)

    def is_drained(self) -> bool:
        """Whether the queue has no message for us: what other consumers hold and do not acknowledge may come back."""
        return self.waiting() == 0

    def require_connection(self) -> None:
        """Raise the fault with which the connection ended, if it did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close the connection; the broker then has processed every acknowledgment."""
        self._closing.set()
        with suppress(Exception):
            self._connection.add_callback_threadsafe(lambda: None)
        self._thread.join(_ANSWER_SECONDS)

    def _open_channel(self, prefetch: int) -> "BlockingChannel":
        try:
            try:
                return self._consume(prefetch, _FROM_THE_FIRST)
            except self._pika.exceptions.ChannelClosedByBroker as error:
                if error.reply_code != _PRECONDITION_FAILED:
                    raise
                return self._consume(prefetch, None)  # what a queue answers that is not a stream
        except self._pika.exceptions.AMQPError as error:
            with suppress(Exception):
                self._connection.close()
            raise fault_of(self._pika, error, self._address, queue=self._queue) from None

    def _consume(self, prefetch: int, arguments: dict[str, Any] | None) -> "BlockingChannel":
        channel: BlockingChannel = self._connection.channel()
        channel.queue_declare(self._queue, passive=True)
        channel.basic_qos(prefetch_count=prefetch)
        channel.add_on_cancel_callback(
            lambda _: self._lose("the broker ended the consumer, because the queue was deleted or moved")
        )
        channel.basic_consume(self._queue, lambda _, *delivery: self._receive(*delivery), arguments=arguments)
        return channel

    def _pump(self) -> None:
        """Read from the connection until it is closed; the only thread that uses it."""
        try:
            while not self._closing.is_set():
                is_full = self._held_bytes >= HELD_BYTES_MAX
                if is_full:
                    self._closing.wait(_FULL_PAUSE_SECONDS)
                self._connection.process_data_events(0 if is_full else _PUMP_SECONDS)
                if not self._channel.is_open:  # which `process_data_events` does not report
                    self._lose("the broker closed the channel")
                    return
        except Exception as error:  # noqa: BLE001 - whatever ends the connection, the caller connects again
            self._fail(fault_of(self._pika, error, self._address, queue=self._queue))
        finally:
            with suppress(Exception):
                self._connection.close()
            self._lose("the connection is closed")

    def _receive(self, method: Any, properties: Any, body: bytes) -> None:
        if "x-stream-offset" in (properties.headers or {}):
            self._fail(_stream(self._queue))
            self._closing.set()
            return
        stated = properties.message_id
        message = BrokerMessage(
            body=body,
            message_id=str(stated) if stated else f"amqp-{sha256(body).hex()[:32]}",
            position=method.delivery_tag,
            put_at=_instant(properties.timestamp),
        )
        with self._changed:
            self._arrived.append(message)
            self._held_bytes += len(body)
            self._changed.notify()

    def _ask(self, call: Callable[[], _R]) -> _R:
        """The result of a call in the thread of the connection."""
        answer: Future[_R] = Future()

        def run() -> None:
            try:
                answer.set_result(call())
            except Exception as error:  # noqa: BLE001 - it is raised in the thread that asked
                answer.set_exception(error)

        try:
            self._connection.add_callback_threadsafe(run)
            while True:
                with suppress(NotDone):
                    return answer.result(_PUMP_SECONDS)
                self.require_connection()
        except self._pika.exceptions.AMQPError as error:
            raise fault_of(self._pika, error, self._address, queue=self._queue) from None

    def _lose(self, reason: str) -> None:
        self._fail(unavailable(self._address, reason))

    def _fail(self, fault: Fault) -> None:
        with self._changed:
            self._failure = self._failure or fault
            self._changed.notify()


def _stream(queue: str) -> Fault:
    return Fault(
        "queue_is_a_stream",
        "The queue is a stream",
        f"{queue!r}: messages stay in a stream when they are acknowledged, and would be read again at each start. Bind a classic or "
        "a quorum queue to the same exchange.",
        status=422,
    )


def _instant(timestamp: Any) -> datetime | None:
    """The property `timestamp`, in seconds; None where there is none, or it is in another unit and so not an instant."""
    if not isinstance(timestamp, int) or timestamp <= 0:
        return None
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(timestamp, UTC)
    return None
