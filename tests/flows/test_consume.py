"""Reading a queue of RabbitMQ: every message once, whatever arrives and whatever fails."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdp.brokers.address import BrokerAddress, parse_address
from cdp.flows.consume.consume import Consumed, ConsumeProgress, Subscription, consume
from cdp.flows.hooks.mapping import read_hook_mapping
from cdp.flows.operations.sources import create_source, disable_source
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.sources.model import SourceKind
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped
from tests.support.rabbitmq import RabbitMq
from tests.support.waits import until

pytestmark = pytest.mark.postgres


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    opened = open_pipeline(database, shipped(), tmp_path)
    create_source(opened.context, "backend", kind=SourceKind.SERVER)
    return opened


@pytest.fixture
def queue(rabbit: RabbitMq, request: pytest.FixtureRequest) -> str:
    return rabbit.declare(request.node.name)


def order(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": f"c{number % 7}",
        "messageId": f"o-{number}",
        "properties": {"order_id": str(number), "revenue": 10},
        **more,
    }


def text(body: Any) -> bytes:
    return json.dumps(body).encode()


def subscription(rabbit: RabbitMq, queue: str, **more: Any) -> Subscription:
    return Subscription(parse_address(rabbit.url), queue, "backend", until_empty=True, **more)


def read(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> Consumed:
    return consume(PolicyWatcher(pipeline.context), subscription(rabbit, queue), stop=threading.Event())


def accounted(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT trim(state || ' ' || reason), sum(messages)::int FROM accounting.accounting GROUP BY 1"
        )
    return {str(row[0]): int(row[1]) for row in rows}


def test_messages_alone_and_in_batches_are_stored_and_acknowledged(
    pipeline: Pipeline, rabbit: RabbitMq, queue: str
) -> None:
    rabbit.publish(queue, [text(order(1)), text({"batch": [order(2), order(3)]}), text(order(2))])
    done = read(pipeline, rabbit, queue)
    assert (done.counts.fetched, done.counts.messages) == (3, 4)
    assert done.counts.states == {"stored": 3, "duplicate": 1}
    assert done.is_empty
    assert accounted(pipeline) == {"stored": 3, "duplicate": 1}
    assert rabbit.depth(queue) == 0


def test_what_cannot_be_read_is_counted_and_leaves_the_queue(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    broken = [b"{", b"[]", b'{"userId": "\xff"}', text({"batch": [{}] * 2501}), text(order(9) | {"type": "no"}), b""]
    rabbit.publish(queue, [*broken, text(order(1))])
    done = read(pipeline, rabbit, queue)
    assert done.counts.reasons == {
        "invalid: malformed_json": 2,
        "invalid: not_an_object": 1,
        "invalid: text_not_unicode": 1,
        "invalid: batch_too_large": 1,
        "invalid: type_unknown": 1,
    }
    assert done.counts.states == {"invalid": 6, "stored": 1}
    assert rabbit.depth(queue) == 0


def test_what_cannot_be_read_goes_to_the_dead_letters(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    dead = rabbit.declare(f"{queue}-dead")
    first = rabbit.declare(f"{queue}-first", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    rabbit.publish(first, [text(order(1)), b'{"userId": "u", "context": {"consent"', text(order(2))])
    done = read(pipeline, rabbit, first)
    assert done.counts.states == {"stored": 2, "invalid": 1}
    assert (rabbit.depth(first), rabbit.depth(dead), done.counts.unread) == (0, 1, 1)


def test_the_id_of_the_broker_identifies_messages_that_state_none(
    pipeline: Pipeline, rabbit: RabbitMq, queue: str
) -> None:
    bare = order(1)
    del bare["messageId"]
    rabbit.publish(
        queue,
        [
            (text(bare), {"message_id": "m-1"}),
            (text(bare), {"message_id": "m-1"}),
            (text(bare), {"message_id": "m-2"}),
            (text({"batch": [bare, bare]}), {"message_id": "m-3"}),
            (text({"batch": [bare, bare]}), {"message_id": "m-3"}),
            text(bare),
            text(bare),
        ],
    )
    assert read(pipeline, rabbit, queue).counts.states == {"stored": 5, "duplicate": 4}


def test_time_in_a_queue_does_not_move_an_event(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    rabbit.publish(
        queue,
        [
            text(order(1, timestamp="2026-05-01T10:00:00Z", sentAt="2026-05-01T10:00:01Z")),
            (text(order(2)), {"timestamp": 1777723200}),
        ],
    )
    assert read(pipeline, rabbit, queue).counts.states == {"stored": 2}
    with pipeline.context.database.transaction(read_only=True) as tx:
        times = tx.execute("SELECT occurred_at FROM behavior.event ORDER BY 1")
    assert [time.isoformat() for (time,) in times] == ["2026-05-01T10:00:00+00:00", "2026-05-02T12:00:00+00:00"]


def test_a_refusal_is_recorded_whatever_becomes_of_its_message(
    pipeline: Pipeline, rabbit: RabbitMq, queue: str
) -> None:
    consent = {"consent": {"categoryPreferences": {"email_marketing": False}}}
    rabbit.publish(queue, [text({"type": "nothing", "userId": "u1", "context": consent})])
    assert read(pipeline, rabbit, queue).counts.states == {"invalid": 1}
    assert pipeline.one("SELECT count(*) FROM consent.record WHERE act = 'refuse'") == 1


def test_the_first_connection_says_what_is_wrong(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    address = parse_address(rabbit.url)
    wrong = [
        (parse_address(rabbit.url, "wrong"), queue, "broker_refused"),
        (parse_address(rabbit.url + "/nowhere"), queue, "broker_refused"),
        (parse_address(f"amqp://ada:hunter2@127.0.0.1:{rabbit.name_port}"), queue, "broker_unavailable"),
        (address, "missing", "unknown_queue"),
    ]
    for place, name, code in wrong:
        with pytest.raises(Fault) as caught:
            consume(PolicyWatcher(pipeline.context), Subscription(place, name, "backend"), stop=threading.Event())
        assert caught.value.code == code
        assert "hunter2" not in f"{caught.value} {caught.value.detail} {place!r} {place}"
    with pytest.raises(Fault, match="unknown_source"):
        consume(PolicyWatcher(pipeline.context), Subscription(address, queue, "nobody"), stop=threading.Event())


def test_tls_checks_who_signs_and_whose_name_it_is(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    def read_from(url: str) -> Consumed:
        subscribed = Subscription(parse_address(url), queue, "backend", until_empty=True)
        return consume(PolicyWatcher(pipeline.context), subscribed, stop=threading.Event())

    rabbit.publish(queue, [text(order(1))])
    signed = f"?cacertfile={rabbit.authorities}"
    for wrong in (
        rabbit.tls_url,
        rabbit.tls_url.replace("localhost", "127.0.0.1") + signed,
        rabbit.tls_url + "?cacertfile=/none",
    ):
        with pytest.raises(Fault) as caught:
            read_from(wrong)
        assert caught.value.code == "broker_refused"
    assert read_from(rabbit.tls_url + signed).counts.states == {"stored": 1}


MAPPING = b"""
rows: lines
event: Order Completed
identifiers: {user_id: customer.id}
properties: {order_id: number, revenue: {column: lines.price, type: number}}
consents: {email_marketing: {column: customer.letters, grant: ["yes"], refuse: ["no"]}}
"""


def test_messages_of_another_form_are_mapped(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> None:
    mappings = read_hook_mapping("mapping.yaml", MAPPING)
    sale = {"number": 7, "customer": {"id": "c1", "letters": "no"}, "lines": [{"price": 5}, {"price": 6}]}
    broken = {**sale, "lines": [{"price": "five"}]}
    rabbit.publish(queue, [text(sale), text(sale), text(broken), text({"other": 1}), b"{"])
    done = consume(
        PolicyWatcher(pipeline.context), subscription(rabbit, queue, mappings=mappings), stop=threading.Event()
    )
    assert done.counts.states == {"stored": 2, "duplicate": 2, "invalid": 3}
    assert done.counts.reasons == {
        "invalid: number_malformed": 1,
        "invalid: not_selected": 1,
        "invalid: malformed_json": 1,
    }
    with pipeline.context.database.transaction(read_only=True) as tx:
        acts = tx.execute("SELECT DISTINCT act, authority, signal FROM consent.record")
    assert acts == [("refuse", "authenticated", "queue")]


class Reader:
    """A run in a thread."""

    def __init__(self, pipeline: Pipeline, address: BrokerAddress, queue: str) -> None:
        self.stop = threading.Event()
        self.seen: list[ConsumeProgress] = []
        self.done: Consumed | Fault | None = None
        self._thread = threading.Thread(target=self._run, args=(pipeline, Subscription(address, queue, "backend")))
        self._thread.start()

    def _run(self, pipeline: Pipeline, subscribed: Subscription) -> None:
        try:
            self.done = consume(PolicyWatcher(pipeline.context), subscribed, stop=self.stop, watch=self.seen.append)
        except Fault as fault:
            self.done = fault

    def until(self, holds: Callable[["Reader"], object]) -> None:
        until(lambda: self.done is not None or holds(self))

    def end(self) -> Consumed | Fault:
        self.stop.set()
        self._thread.join()
        assert self.done is not None
        return self.done


@pytest.fixture
def reader(pipeline: Pipeline, rabbit: RabbitMq, queue: str) -> Iterator[Reader]:
    started = Reader(pipeline, parse_address(rabbit.url), queue)
    yield started
    started.end()


def stored(pipeline: Pipeline) -> int:
    return int(pipeline.one("SELECT count(*) FROM behavior.event"))


def reaches(pipeline: Pipeline, count: int) -> Callable[[Reader], bool]:
    return lambda _reader: stored(pipeline) == count


def test_it_reads_until_it_is_stopped(pipeline: Pipeline, rabbit: RabbitMq, queue: str, reader: Reader) -> None:
    for number in range(3):
        rabbit.publish(queue, [text(order(number))])
        reader.until(reaches(pipeline, number + 1))
    done = reader.end()
    assert isinstance(done, Consumed)
    assert done.counts.states == {"stored": 3}
    assert not done.is_empty
    assert rabbit.depth(queue) == 0


def test_a_source_that_is_disabled_ends_it(pipeline: Pipeline, rabbit: RabbitMq, queue: str, reader: Reader) -> None:
    rabbit.publish(queue, [text(order(1))])
    reader.until(lambda _: stored(pipeline) == 1)
    disable_source(pipeline.context, "backend")
    while reader.done is None:
        rabbit.publish(queue, [text(order(2))])
    assert isinstance(reader.done, Fault)
    assert reader.done.code == "unknown_source"


def test_a_deleted_queue_is_waited_for_and_then_refused(
    pipeline: Pipeline, rabbit: RabbitMq, queue: str, reader: Reader
) -> None:
    rabbit.publish(queue, [text(order(1))])
    reader.until(lambda _: stored(pipeline) == 1)
    with rabbit.channel() as channel:
        channel.queue_delete(queue)
    reader.until(lambda _: False)
    assert isinstance(reader.done, Fault)
    assert reader.done.code == "unknown_queue"


def test_a_stream_is_refused(pipeline: Pipeline, rabbit: RabbitMq) -> None:
    stream = rabbit.declare("stream", **{"x-queue-type": "stream"})
    rabbit.publish(stream, [text(order(1))])
    with pytest.raises(Fault) as caught:
        read(pipeline, rabbit, stream)
    assert caught.value.code == "queue_is_a_stream"
