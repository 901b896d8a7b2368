"""Which requests share a transaction, by what earlier transactions cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.sources.model import Source
from cdp.web.ingest.fair_queue import FairQueue, QueuedRequest, Sender, TransactionPart
from cdp.wire.message import Invalid
from tests.support.people import SHOP, WEB, new_source

_FIXED, _CHEAP, _TANGLED = 0.005, 0.0002, 0.02
"""Seconds of a transaction, and of one message more."""


def request(source: Source, messages: int = 10, weight: int = 100, address: str = "") -> QueuedRequest:
    return QueuedRequest([Invalid(source, "test")] * messages, weight, Sender(int(source.source_id), address))


@dataclass
class Server:
    """Takes transactions one after another; a message costs what it costs for its source."""

    cost: dict[str, float]
    queue: FairQueue[QueuedRequest] = field(default_factory=FairQueue)
    seconds: float = 0.0
    done: dict[int, float] = field(default_factory=dict)

    def transact(self) -> list[TransactionPart[QueuedRequest]]:
        parts = self.queue.next(messages_max=2_000, weight_max=1_000_000)
        if not parts:
            return []
        spent = _FIXED + sum(self.cost[part.messages[0].source.name] * len(part.messages) for part in parts)
        self.seconds += spent
        self.queue.charge(parts, spent)
        for part in parts:
            if not part.request.waiting:
                self.done[part.request.number] = self.seconds
        return parts


def sizes(parts: Sequence[TransactionPart[QueuedRequest]]) -> list[tuple[str, int]]:
    return [(part.messages[0].source.name, len(part.messages)) for part in parts]


def test_ordinary_sources_share_a_transaction_in_the_order_of_arrival() -> None:
    server = Server({"web": _CHEAP, "shop": _CHEAP})
    for source in (WEB, SHOP, WEB):
        server.queue.add(request(source))
    assert sizes(server.transact()) == [("web", 10), ("shop", 10), ("web", 10)]
    assert server.transact() == []


def test_a_transaction_has_bounds_and_at_least_one_request() -> None:
    queue: FairQueue[QueuedRequest] = FairQueue()
    for size in (3_000, 10, 10, 10):
        queue.add(request(SHOP, size, weight=size))
    taken = [sizes(queue.next(messages_max=20, weight_max=10_000)) for _ in range(4)]
    assert taken == [[("shop", 2_500)], [("shop", 500)], [("shop", 10), ("shop", 10)], [("shop", 10)]]


def test_a_costly_source_is_found_and_makes_nobody_else_wait() -> None:
    server = Server({"web": _TANGLED, "shop": _CHEAP})
    for _ in range(6):  # the first of them share a transaction, which tells that one of the two is costly
        server.queue.add(request(WEB, 50))
        server.queue.add(request(SHOP, 10))
        server.transact()
    for _ in range(40):
        server.queue.add(request(WEB, 50))
    waits = []
    for _ in range(20):
        honest = request(SHOP, 10)
        server.queue.add(honest)
        began = server.seconds
        while honest.number not in server.done:
            server.transact()
        waits.append(server.done[honest.number] - began)
    assert max(waits) < 0.2  # one bounded transaction of the other source, at most, and its own
    while server.queue:
        assert server.transact()
    assert len(server.done) == 72


def test_a_source_that_becomes_ordinary_shares_transactions_again() -> None:
    server = Server({"web": _TANGLED, "shop": _CHEAP})
    for _ in range(6):
        server.queue.add(request(WEB, 50))
        server.queue.add(request(SHOP, 10))
        server.transact()
    server.cost["web"] = _CHEAP
    while server.queue:
        server.transact()
    for _ in range(12):
        server.queue.add(request(WEB, 50))
        server.transact()
    server.queue.add(request(WEB, 50))
    server.queue.add(request(SHOP, 10))
    assert len({part.request.sender for part in server.transact()}) == 2


def test_only_senders_that_wait_or_are_costly_are_remembered() -> None:
    server = Server({"web": _TANGLED, "shop": _CHEAP})
    for number in range(50):
        server.queue.add(request(SHOP, 10, address=f"192.0.2.{number}"))
    server.queue.add(request(WEB, 50))
    while server.queue:
        server.transact()
    assert server.queue.senders == 8  # those with most messages, which the shared transaction made suspect
    server.queue.add(request(WEB, 50))
    while server.queue:
        server.transact()
    assert server.queue.senders == 8


def test_what_is_discarded_waits_no_longer() -> None:
    queue: FairQueue[QueuedRequest] = FairQueue()
    left, other = request(WEB), request(WEB)
    queue.add(left)
    queue.add(other)
    queue.discard(left)
    queue.discard(left)
    assert [part.request for part in queue.next(messages_max=100, weight_max=1_000)] == [other]
    assert not queue


arrivals = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), min_size=1, max_size=40)


@settings(deadline=None)
@given(arrivals, st.lists(st.sampled_from([_CHEAP, _TANGLED, 0.3]), min_size=4, max_size=4), st.integers(1, 8))
def test_every_message_is_taken_once_and_in_the_order_of_its_source(
    arriving: list[tuple[int, int]], costs: list[float], each: int
) -> None:
    sources = [new_source(number + 1, f"s{number}") for number in range(4)]
    server = Server({source.name: cost for source, cost in zip(sources, costs, strict=True)})
    taken: dict[str, list[tuple[int, int]]] = {}
    given_: dict[str, list[tuple[int, int]]] = {}
    waiting = list(arriving)
    while waiting or server.queue:
        for at, count in waiting[:each]:
            added = request(sources[at], count)
            server.queue.add(added)
            given_.setdefault(sources[at].name, []).append((added.number, count))
        del waiting[:each]
        for part in server.transact():
            taken.setdefault(part.messages[0].source.name, []).append((part.request.number, len(part.messages)))
    for name, parts in taken.items():
        totals: dict[int, int] = {}
        for number, count in parts:
            totals[number] = totals.get(number, 0) + count
        assert list(totals.items()) == given_[name]
