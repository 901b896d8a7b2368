"""Reading a topic: every message once, by offsets that are stored with the messages."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cdp.brokers.address import parse_address
from cdp.brokers.model import BrokerMessage, TopicIdentity
from cdp.flows.consume.consume import Consumed, Subscription, consume
from cdp.flows.consume.offsets import OffsetFence, OffsetMoved
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.operations.store import topic_offsets as offset_store
from cdp.operations.store.topic_offsets import TopicOffset
from cdp.schema.ids import SourceId
from cdp.sources.model import SourceKind
from tests.support.budget import examples
from tests.support.consuming import faults_in_store, order, text
from tests.support.kafka import KafkaBroker, identified_kafka, kept_kafka
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres
TOPIC = "orders"


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaBroker]:
    with kept_kafka() as broker:
        yield broker


@pytest.fixture
def topic(kafka: KafkaBroker, request: pytest.FixtureRequest) -> str:
    return kafka.create(str(request.node.name)[:60].replace("[", "-").replace("]", ""))


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    opened = open_pipeline(database, shipped(), tmp_path)
    create_source(opened.context, "backend", kind=SourceKind.SERVER)
    return opened


def read(pipeline: Pipeline, kafka: KafkaBroker, topic: str, *, reset: bool = False, group: str = "") -> Consumed:
    address = parse_address(kafka.url)
    subscribed = Subscription(address, topic, "backend", group=group, until_empty=True, reset=reset)
    return consume(PolicyWatcher(pipeline.context), subscribed, stop=threading.Event())


def offsets(pipeline: Pipeline, topic: str) -> dict[int, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        stored = offset_store.topic_offsets(
            tx, SourceId(pipeline.one("SELECT max(source_id) FROM sources.source")), topic
        )
    return {partition: offset.next_offset for partition, offset in stored.items()}


def test_a_topic_is_read_to_its_end_and_goes_on_from_there(
    pipeline: Pipeline, kafka: KafkaBroker, topic: str, database: Database
) -> None:
    kafka.publish(topic, [text(order(number)) for number in range(10)])
    assert read(pipeline, kafka, topic).counts.states == {"stored": 10}
    assert offsets(pipeline, topic) == {0: 4, 1: 3, 2: 3}
    kafka.publish(topic, [b"{", *(text(order(number)) for number in range(10, 14))])
    done = read(pipeline, kafka, topic)
    assert done.counts.states == {"invalid": 1, "stored": 4}
    assert done.is_empty
    assert read(pipeline, kafka, topic).counts.fetched == 0
    assert [fault for fault in faults_in_store(database, 14) if "unexpected" not in fault] == []


def test_a_member_of_a_group_goes_on_where_the_store_says(pipeline: Pipeline, kafka: KafkaBroker, topic: str) -> None:
    kafka.publish(topic, [text(order(number)) for number in range(6)])
    assert read(pipeline, kafka, topic, group="shared").counts.states == {"stored": 6}
    kafka.publish(topic, [text(order(number)) for number in range(6, 9)])
    assert read(pipeline, kafka, topic).counts.states == {"stored": 3}
    assert read(pipeline, kafka, topic, group="shared").counts.fetched == 0


def test_a_message_without_an_id_counts_once_by_its_place(pipeline: Pipeline, kafka: KafkaBroker, topic: str) -> None:
    bare = order(1)
    del bare["messageId"]
    kafka.publish(topic, [text(bare)] * 4)
    assert read(pipeline, kafka, topic).counts.states == {"stored": 4}
    assert read(pipeline, kafka, topic, reset=True).counts.states == {"duplicate": 4}


def test_a_topic_that_was_created_again_is_refused(pipeline: Pipeline, kafka: KafkaBroker, topic: str) -> None:
    kafka.publish(topic, [text(order(number)) for number in range(6)])
    read(pipeline, kafka, topic)
    kafka.delete(topic)
    kafka.create(topic)
    kafka.publish(topic, [text(order(number)) for number in range(6, 9)])
    with pytest.raises(Fault) as caught:
        read(pipeline, kafka, topic)
    assert caught.value.code == "topic_replaced"
    assert "--reset" in caught.value.detail
    assert read(pipeline, kafka, topic, reset=True).counts.states == {"stored": 3}
    assert pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'consume.reset'") == 1


def test_a_topic_with_another_id_is_refused_whatever_its_offsets(pipeline: Pipeline, topic: str) -> None:
    with identified_kafka() as other:
        other.create("short")
        with pipeline.context.database.transaction() as tx:
            source = SourceId(pipeline.one("SELECT max(source_id) FROM sources.source"))
            stored = {0: TopicOffset(0, "one", "another")}
            offset_store.add_topic_offsets(tx, source, "short", offsets=stored, now=pipeline.clock.now())
        with pytest.raises(Fault) as caught:
            read(pipeline, other, "short")
    assert caught.value.code == "topic_replaced"


def test_the_first_connection_says_what_is_wrong(pipeline: Pipeline, kafka: KafkaBroker) -> None:
    with pytest.raises(Fault) as caught:
        read(pipeline, kafka, "missing")
    assert caught.value.code == "unknown_queue"
    subscribed = Subscription(parse_address("kafka://127.0.0.1:1"), TOPIC, "backend", group="g")
    with pytest.raises(Fault) as caught:
        consume(PolicyWatcher(pipeline.context), subscribed, stop=threading.Event())
    assert caught.value.code == "broker_unavailable"


def test_two_processes_without_a_common_group_store_each_message_once(
    pipeline: Pipeline, kafka: KafkaBroker, topic: str, database: Database
) -> None:
    kafka.publish(topic, [text(order(number)) for number in range(3000)])
    done: list[Consumed] = []

    def run(group: str) -> None:
        subscribed = Subscription(parse_address(kafka.url), topic, "backend", group=group, until_empty=True)
        done.append(consume(PolicyWatcher(pipeline.context), subscribed, stop=threading.Event()))

    threads = [threading.Thread(target=run, args=(group,)) for group in ("", "")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert sum(one.counts.messages for one in done) == 3000
    assert faults_in_store(database, 3000) == []


class _Killed(Exception):
    """The end of a reader before its commit."""


class _Reader:
    """A process that reads a topic of two partitions from where the store says; it holds what it fetched for a while."""

    def __init__(self, pipeline: Pipeline, topic: str, ends: dict[int, int]) -> None:
        self._database = pipeline.context.database
        self._fence = OffsetFence(pipeline.context, SourceId(1), topic)
        self._ends = ends
        self._position = dict.fromkeys(ends, 0) | dict(self._fence.start(TopicIdentity("one", "a"), list(ends)))
        self._held: list[BrokerMessage] = []

    def fetch(self, drawn: random.Random) -> None:
        for partition in drawn.sample(sorted(self._ends), len(self._ends)):
            begin = self._position[partition]
            end = min(self._ends[partition], begin + drawn.randint(0, 8))
            self._held += [BrokerMessage(b"", "", offset, partition=partition) for offset in range(begin, end)]
            self._position[partition] = end

    def store(self, *, is_killed: bool = False) -> list[tuple[int, int]]:
        """Store what is held; returns what was committed."""
        batch = self._fence.unseen(self._held)
        try:
            with self._database.transaction() as tx:
                if batch:
                    self._fence.advance(tx, batch)
                if is_killed:
                    raise _Killed
        except OffsetMoved:
            self._fence.refresh()
            return []
        self._held = []
        return [(message.partition or 0, message.position) for message in batch]


def test_the_fence_lets_each_offset_pass_once_and_in_order(pipeline: Pipeline) -> None:
    """Readers that overlap, hold back, are killed and begin again, in random order."""
    drawn = random.Random(11)
    for example in range(examples(40)):
        topic, ends = f"topic-{example}", {0: drawn.randint(1, 40), 1: drawn.randint(0, 40)}
        passed: list[tuple[int, int]] = []
        readers = [_Reader(pipeline, topic, ends) for _ in range(drawn.randint(1, 3))]
        for _ in range(drawn.randint(5, 30)):
            at = drawn.randrange(len(readers))
            act = drawn.choice(("fetch", "fetch", "store", "store", "kill before commit", "kill after commit"))
            if act == "fetch":
                readers[at].fetch(drawn)
                continue
            with suppress(_Killed):
                passed += readers[at].store(is_killed=act == "kill before commit")
            if act != "store":
                readers[at] = _Reader(pipeline, topic, ends)
        last = _Reader(pipeline, topic, ends)
        while len(set(passed)) < sum(ends.values()):
            last.fetch(drawn)
            passed += last.store()
        for partition, end in ends.items():
            assert [offset for number, offset in passed if number == partition] == list(range(end)), example
