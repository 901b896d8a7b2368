"""Which waiting requests go into the next transaction, so that nobody waits for work that somebody else causes.

A sender is a source and an address: everybody knows the write key of a page. Every sender has a queue of its own, and the
seconds of its transactions are charged to it. The sender that was charged least comes first; one that was idle starts
where the others are, so that it cannot save time up (start-time fair queueing). Ordinary senders share transactions, in
the order of arrival. A sender whose messages cost several times as much, because its identifiers are tangled, gets
transactions of its own, each for a bounded time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from cdp.wire.message import Invalid, Message

_COSTLY_SECONDS_MAX: Final = 0.1
"""How long a transaction of a costly sender is expected to last at most; a single message may last longer."""
_SECONDS_MAX: Final = 0.5
"""The same for ordinary senders."""
_COSTLY: Final = 4.0
"""A sender is costly if one message of it costs this many times what an ordinary one does."""
_COST_AT_START: Final = 0.0002
_COST_LEAST: Final = 0.00002
_SHORTEST_AT_START: Final = 0.02
_WEIGHT_OF_LATEST: Final = 0.5
_GROWTH: Final = 1.001
"""How fast the lowest costs are given up, by transaction, so that a busier machine becomes the new normal."""
_SENDERS_MAX: Final = 10_000
_SUSPECTS_MAX: Final = 8
_MEASURED_MESSAGES: Final = 20
"""How many messages of a sender are measured apart."""


class Sender(NamedTuple):
    """Who sends: a source, and the address of the client or an empty text."""

    source_id: int
    address: str


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """The messages of one request; the first `taken` of them are in a transaction already."""

    messages: Sequence[Message | Invalid]
    weight: int
    sender: Sender
    number: int = 0
    taken: int = 0

    @property
    def waiting(self) -> int:
        """How many messages are in no transaction yet."""
        return len(self.messages) - self.taken


R = TypeVar("R", bound=QueuedRequest)


class TransactionPart(NamedTuple, Generic[R]):
    """Messages of a request that go into one transaction: all of them, or some where they take long."""

    request: R
    messages: Sequence[Message | Invalid]


@dataclass(slots=True)
class _SenderQueue(Generic[R]):
    """The requests of a sender, the seconds charged to it, and the estimated seconds that one more message takes."""

    requests: deque[R] = field(default_factory=deque)
    charged: float = 0.0
    cost: float = _COST_AT_START
    is_measured_apart: bool = False


class FairQueue(Generic[R]):
    """Requests that wait for a transaction. Not safe for threads: the caller holds a lock."""

    def __init__(self) -> None:
        self._senders: dict[Sender, _SenderQueue[R]] = {}
        self._next_number = 0
        self._shortest = _SHORTEST_AT_START
        self._ordinary = _COST_AT_START

    def __bool__(self) -> bool:
        return any(sender.requests for sender in self._senders.values())

    @property
    def senders(self) -> int:
        """How many senders are remembered: those whose requests wait, and costly ones."""
        return len(self._senders)

    def add(self, request: R) -> None:
        """Let a request wait."""
        request.number = self._next_number
        self._next_number += 1
        sender = self._senders.setdefault(request.sender, _SenderQueue(cost=self._ordinary))
        if not sender.requests:
            busy = [other.charged for other in self._senders.values() if other.requests]
            sender.charged = max(sender.charged, min(busy, default=sender.charged))
        sender.requests.append(request)

    def discard(self, request: R) -> None:
        """Let what is left of a request wait no longer."""
        sender = self._senders.get(request.sender)
        if sender is not None and request.waiting and request in sender.requests:
            sender.requests.remove(request)

    def next(self, *, messages_max: int, weight_max: int) -> list[TransactionPart[R]]:
        """The parts of the next transaction, at least one; empty if nothing waits."""
        waiting = [sender for sender in self._senders.values() if sender.requests]
        if not waiting:
            return []
        first = min(waiting, key=lambda sender: (sender.charged, sender.requests[0].number))
        if first.is_measured_apart:
            return [_take(first, _SECONDS_MAX, messages_max=_MEASURED_MESSAGES)]
        if self._is_costly(first):
            return [_take(first, _COSTLY_SECONDS_MAX)]
        ordinary = [sender for sender in waiting if not (self._is_costly(sender) or sender.is_measured_apart)]
        return _take_together(ordinary, messages_max=messages_max, weight_max=weight_max)

    def charge(self, parts: Sequence[TransactionPart[R]], seconds: float) -> None:
        """Charge a transaction to the senders of its parts, and learn from it what a message of each costs.

        Where several senders shared a transaction that took much longer than expected, those with most messages are
        measured apart next, and nothing is learned about the others. One transaction that had to wait for something makes
        no sender costly.
        """
        self._shortest = min(self._shortest * _GROWTH, seconds)
        counts: dict[Sender, int] = {}
        for part in parts:
            counts[part.request.sender] = counts.get(part.request.sender, 0) + len(part.messages)
        queues = {sender: self._senders[sender] for sender in counts if sender in self._senders}
        expected = {sender: queue.cost * counts[sender] for sender, queue in queues.items()}
        scale = max(seconds - self._shortest, 0.0) / max(sum(expected.values()), _COST_LEAST)
        is_slow = len(counts) > 1 and scale > _COSTLY and seconds > _COSTLY_SECONDS_MAX
        suspects = sorted(queues, key=lambda sender: -counts[sender])[:_SUSPECTS_MAX] if is_slow else ()
        for sender, queue in queues.items():
            queue.charged += seconds * expected[sender] / sum(expected.values())
            if not is_slow or sender in suspects:
                learned = scale - 1 if queue.is_measured_apart else _WEIGHT_OF_LATEST * (min(scale, _COSTLY) - 1)
                queue.cost = max(queue.cost * (1 + learned), _COST_LEAST)
            queue.is_measured_apart = sender in suspects
        self._ordinary = min(
            [self._ordinary * _GROWTH, *(max(queue.cost, _COST_AT_START) for queue in queues.values())]
        )
        self._evict(queues)

    def _is_costly(self, sender: _SenderQueue[R]) -> bool:
        return sender.cost > _COSTLY * self._ordinary

    def _evict(self, senders: dict[Sender, _SenderQueue[R]]) -> None:
        """Evict ordinary senders that wait for nothing, and of too many costly ones the oldest."""
        for sender, queue in senders.items():
            if not (queue.requests or queue.is_measured_apart or self._is_costly(queue)):
                del self._senders[sender]
        if len(self._senders) > _SENDERS_MAX:
            idle = next((sender for sender, queue in self._senders.items() if not queue.requests), None)
            if idle is not None:
                del self._senders[idle]


def _take(sender: _SenderQueue[R], seconds_max: float, messages_max: int | None = None) -> TransactionPart[R]:
    """As many messages of the first request as are expected to take a bounded time."""
    request = sender.requests[0]
    count = max(1, min(int(seconds_max / sender.cost), messages_max or request.waiting, request.waiting))
    part = TransactionPart(request, request.messages[request.taken : request.taken + count])
    request.taken += count
    if not request.waiting:
        sender.requests.popleft()
    return part


def _take_together(
    senders: Sequence[_SenderQueue[R]], *, messages_max: int, weight_max: int
) -> list[TransactionPart[R]]:
    """What waits of the requests of these senders, in the order of arrival, as far as one transaction holds."""
    parts: list[TransactionPart[R]] = []
    messages = weight = 0
    seconds = 0.0
    waiting = [sender for sender in senders if sender.requests]
    while waiting:
        sender = min(waiting, key=lambda sender: sender.requests[0].number)
        request = sender.requests[0]
        messages += request.waiting
        weight += request.weight
        seconds += request.waiting * sender.cost
        if parts and (messages > messages_max or weight > weight_max or seconds > _SECONDS_MAX):
            break
        parts.append(_take(sender, _SECONDS_MAX))
        if not sender.requests:
            waiting.remove(sender)
    return parts
