"""Group commit: requests that arrive while a transaction runs share the next one; each gets its response after its commit.

There is no waiting window: when idle, a single request is committed at once; under load, many are committed together.
One thread runs the synchronous use case; the event loop decodes meanwhile.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdp.accounting.model import Outcome
from cdp.kit.errors import Fault
from cdp.web.ingest.batch_retry import BatchProcessor, process_with_retry
from cdp.web.ingest.capacity import Capacity, Share
from cdp.web.ingest.fair_queue import FairQueue, QueuedRequest, Sender, TransactionPart
from cdp.wire.message import Invalid, Message

Answer = list[Outcome] | Fault


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of ingest. A request over the waiting bounds is refused with 429 before memory grows.

    `commit_messages_max` and `commit_bytes_max` bound one transaction; the waiting bounds count everything that was
    received and has no response yet, of which one client or source has a share, `keyless_bytes_max` what is read without a
    write key in the head.
    """

    commit_messages_max: int = 2_000
    commit_bytes_max: int = 4 * 1024 * 1024
    waiting_messages_max: int = 20_000
    waiting_bytes_max: int = 32 * 1024 * 1024
    keyless_bytes_max: int = 8 * 1024 * 1024
    retry_after_seconds: int = 1


@dataclass(slots=True)
class Counts:
    """Counters since the start."""

    transactions: int = 0
    messages: int = 0
    messages_in_largest: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class _PendingRequest(QueuedRequest):
    """A request with the outcomes of the messages that are stored so far, and its future answer."""

    answer: "asyncio.Future[Answer]"
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(slots=True)
class Batcher:
    """Collects requests and stores them: in the order of arrival, unless a sender takes far more time than others."""

    ingest: BatchProcessor
    limits: Limits = field(default_factory=Limits)
    counts: Counts = field(default_factory=Counts)
    _queue: FairQueue[_PendingRequest] = field(default_factory=FairQueue)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    capacity: Capacity = field(init=False)
    keyless: Capacity = field(init=False)
    messages: Capacity = field(init=False)
    _closing: bool = False
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        self.capacity = Capacity(self.limits.waiting_bytes_max)
        self.keyless = Capacity(self.limits.keyless_bytes_max)
        self.messages = Capacity(self.limits.waiting_messages_max)

    def start(self) -> None:
        """Start the thread. Call from the event loop that submits requests."""
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="cdp-ingest", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Refuse new requests, store those that wait, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await asyncio.sleep(0)

    @property
    def waiting_messages(self) -> int:
        """Messages that wait to be stored."""
        return self.messages.used

    @property
    def waiting_bytes(self) -> int:
        """Bytes of requests that wait to be stored."""
        return self.capacity.used + self.keyless.used

    @property
    def is_full(self) -> bool:
        """Whether no more messages are accepted now."""
        return self._closing or self.messages.used >= self.limits.waiting_messages_max

    def overload(self) -> Fault:
        """The fault for a request without capacity."""
        return Fault(
            "overloaded",
            "Too many messages are waiting to be stored",
            "Nothing of this request was stored. Send it again after the given time.",
            status=429,
            retry_after_seconds=self.limits.retry_after_seconds,
        )

    async def submit(self, messages: Sequence[Message | Invalid], weight: int, *, address: str = "") -> list[Outcome]:
        """Store the messages of one request, all from one source, and return their outcomes after the commit.

        `address` is that of the client: no client waits for what the messages of another one cost, and neither one client
        nor one source may take all of what may wait. Raises Fault: overloaded when too much waits, of all or of them, or why
        the messages were not stored.
        """
        if not messages:
            return []
        loop = self._loop
        if loop is None or self.is_full:
            raise self.overload()
        sender = Sender(int(messages[0].source.source_id), address)
        share = Share(self.messages, (address, sender.source_id))
        if not share.grow(len(messages)):
            raise self.overload()
        waiting = _PendingRequest(messages=messages, weight=weight, sender=sender, answer=loop.create_future())
        try:
            with self._changed:
                self._queue.add(waiting)
                self._changed.notify()
            answer = await waiting.answer
        finally:
            share.release()
        if isinstance(answer, Fault):
            raise answer
        return answer

    def _run(self) -> None:
        while parts := self._next():
            messages = [message for part in parts for message in part.messages]
            begun = time.perf_counter()
            results = process_with_retry(self.ingest, messages)
            seconds = time.perf_counter() - begun
            self.counts.transactions += 1
            self.counts.messages += len(messages)
            self.counts.messages_in_largest = max(self.counts.messages_in_largest, len(messages))
            with self._changed:
                self._queue.charge(parts, seconds)
                answers = self._answers(parts, results)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_deliver, answers)

    def _next(self) -> list[TransactionPart[_PendingRequest]]:
        """What goes into one transaction; empty when closing and nothing waits."""
        with self._changed:
            while not self._queue:
                if self._closing:
                    return []
                self._changed.wait()
            return self._queue.next(
                messages_max=self.limits.commit_messages_max, weight_max=self.limits.commit_bytes_max
            )

    def _answers(
        self, parts: Sequence[TransactionPart[_PendingRequest]], results: Sequence[Outcome | Fault]
    ) -> list[tuple["asyncio.Future[Answer]", Answer]]:
        """The answers that are known now: outcomes when all messages of a request are stored, else its first fault.

        After a fault, the rest of the request is not tried; a client that sends it again finds duplicates of what is
        stored.
        """
        answers: list[tuple[asyncio.Future[Answer], Answer]] = []
        start = 0
        for request, messages in parts:
            own = results[start : start + len(messages)]
            start += len(messages)
            fault = next((result for result in own if isinstance(result, Fault)), None)
            if fault is not None:
                self._queue.discard(request)
                answers.append((request.answer, fault))
                continue
            request.outcomes += [result for result in own if isinstance(result, Outcome)]
            if len(request.outcomes) == len(request.messages):
                answers.append((request.answer, request.outcomes))
        return answers


def _deliver(answers: Sequence[tuple["asyncio.Future[Answer]", Answer]]) -> None:
    for future, answer in answers:
        if not future.done():
            future.set_result(answer)
