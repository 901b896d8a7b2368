"""Group commit: requests that arrive while a transaction runs share the next one; each is answered after its commit.

There is no waiting window: an idle door commits a lone request at once, a busy one commits many together. One thread
runs the synchronous flow; the event loop decodes meanwhile.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdp.accounting.model import Outcome
from cdp.kit.errors import Fault
from cdp.web.ingest.batch_retry import BatchProcessor, process_with_retry
from cdp.wire.message import Invalid, Message

Answer = list[Outcome] | Fault


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the door. A request over the waiting bounds is turned away with 429 before memory grows.

    `commit_messages_max` and `commit_bytes_max` bound one transaction; the waiting bounds count everything that was
    read and is not answered yet.
    """

    commit_messages_max: int = 2_000
    commit_bytes_max: int = 4 * 1024 * 1024
    waiting_messages_max: int = 20_000
    waiting_bytes_max: int = 24 * 1024 * 1024
    retry_after_seconds: int = 1


@dataclass(slots=True)
class Counts:
    """What the batcher did since it started."""

    transactions: int = 0
    messages: int = 0
    messages_in_largest: int = 0


@dataclass(slots=True, eq=False)
class _Waiting:
    messages: Sequence[Message | Invalid]
    weight: int
    answer: "asyncio.Future[Answer]"


@dataclass(slots=True)
class Batcher:
    """Collects requests and lands them, in the order of their arrival."""

    ingest: BatchProcessor
    limits: Limits = field(default_factory=Limits)
    counts: Counts = field(default_factory=Counts)
    _queue: deque[_Waiting] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _bytes: int = 0
    _messages: int = 0
    _closing: bool = False
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to work; to be called from the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="cdp-ingest", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Refuse what comes, land what waits, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await asyncio.sleep(0)

    @property
    def waiting_messages(self) -> int:
        """Messages that are not answered yet."""
        return self._messages

    @property
    def waiting_bytes(self) -> int:
        """Bytes of requests that are not answered yet."""
        return self._bytes

    def reserve(self, weight: int) -> bool:
        """Take room for bytes that are being read; False, and nothing taken, when there is none."""
        if self._closing or self._messages >= self.limits.waiting_messages_max:
            return False
        if self._bytes and self._bytes + weight > self.limits.waiting_bytes_max:
            return False
        self._bytes += weight
        return True

    def release(self, weight: int) -> None:
        """Give room back; a negative weight takes more, for a body that grew when it was inflated."""
        self._bytes -= weight

    def overload(self) -> Fault:
        """What a request is told for which there is no room."""
        return Fault(
            "overloaded",
            "Too much is waiting to be stored",
            "Nothing of this request was stored. Send it again after the given time.",
            status=429,
            retry_after_seconds=self.limits.retry_after_seconds,
        )

    async def submit(self, messages: Sequence[Message | Invalid], weight: int) -> list[Outcome]:
        """Land the messages of one request and give their outcomes after the commit.

        Raises Fault: overloaded when too much waits, or what kept the messages from being stored.
        """
        if not messages:
            return []
        loop = self._loop
        if loop is None or self._closing or self._messages >= self.limits.waiting_messages_max:
            raise self.overload()
        waiting = _Waiting(messages, weight, loop.create_future())
        self._messages += len(messages)
        try:
            with self._changed:
                self._queue.append(waiting)
                self._changed.notify()
            answer = await waiting.answer
        finally:
            self._messages -= len(messages)
        if isinstance(answer, Fault):
            raise answer
        return answer

    def _work(self) -> None:
        while requests := self._next():
            messages = [message for request in requests for message in request.messages]
            landed = process_with_retry(self.ingest, messages)
            self.counts.transactions += 1
            self.counts.messages += len(messages)
            self.counts.messages_in_largest = max(self.counts.messages_in_largest, len(messages))
            answers = []
            start = 0
            for request in requests:
                end = start + len(request.messages)
                answers.append((request.answer, _answer(landed[start:end])))
                start = end
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_tell, answers)

    def _next(self) -> list[_Waiting]:
        """Whole requests for one transaction, at least one; none when closing and nothing waits."""
        with self._changed:
            while not self._queue:
                if self._closing:
                    return []
                self._changed.wait()
            requests = [self._queue.popleft()]
            messages, weight = len(requests[0].messages), requests[0].weight
            while self._queue:
                messages += len(self._queue[0].messages)
                weight += self._queue[0].weight
                if messages > self.limits.commit_messages_max or weight > self.limits.commit_bytes_max:
                    break
                requests.append(self._queue.popleft())
            return requests


def _answer(landed: Sequence[Outcome | Fault]) -> Answer:
    """A request is stored when all of its messages are; otherwise its fault, and a retry finds duplicates."""
    outcomes = [each for each in landed if isinstance(each, Outcome)]
    if len(outcomes) == len(landed):
        return outcomes
    return next(each for each in landed if isinstance(each, Fault))


def _tell(answers: Sequence[tuple["asyncio.Future[Answer]", Answer]]) -> None:
    for future, answer in answers:
        if not future.done():
            future.set_result(answer)
