"""The fence of a topic: no message counts twice and none is left out, however many processes read the topic.

The next offset of each partition is stored with the messages before it, in one transaction. Who finds another offset there than
the one that it goes on from stores nothing, and goes on from there.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cdp.brokers.faults import topic_replaced
from cdp.brokers.model import BrokerMessage, TopicIdentity
from cdp.flows.context import Context
from cdp.kit.db import Transaction
from cdp.operations.store import topic_offsets as offset_store
from cdp.operations.store.topic_offsets import TopicOffset
from cdp.schema.ids import SourceId


class OffsetMoved(Exception):
    """Another process stored messages of a partition; this transaction must be rolled back."""


class PositionLost(Exception):
    """The stored offsets are before what was fetched: to be read again from there."""


class Fence(Protocol):
    """What keeps messages of a broker from counting twice, beside the ids of messages."""

    def start(self, identity: TopicIdentity, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where to go on in these partitions; those that were never read are not in the result."""

    def unseen(self, fetched: Sequence[BrokerMessage]) -> list[BrokerMessage]:
        """The messages that are not stored."""

    def advance(self, tx: Transaction, fetched: Sequence[BrokerMessage]) -> None:
        """Record in their transaction that these messages are stored. Raises `OffsetMoved`."""

    def refresh(self) -> None:
        """Find out what another process stored. Raises `PositionLost`."""


class NoFence:
    """For a broker that keeps what is not acknowledged: what it delivers again is known by its id."""

    def start(self, identity: TopicIdentity, partitions: Sequence[int]) -> Mapping[int, int]:  # noqa: ARG002 - the protocol's
        """Nothing: the broker knows where to go on."""
        return {}

    def unseen(self, fetched: Sequence[BrokerMessage]) -> list[BrokerMessage]:
        """All of them."""
        return list(fetched)

    def advance(self, tx: Transaction, fetched: Sequence[BrokerMessage]) -> None:
        """Nothing is recorded."""

    def refresh(self) -> None:
        """Nothing can have moved."""


class OffsetFence:
    """The fence of one topic that is read into one source."""

    def __init__(self, context: Context, source_id: SourceId, topic: str) -> None:
        self._context = context
        self._source_id = source_id
        self._topic = topic
        self._identity: TopicIdentity | None = None
        self._next: dict[int, int] = {}

    def start(self, identity: TopicIdentity, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where to go on in these partitions. Raises the fault `topic_replaced` if they were read from another topic."""
        self._identity = identity
        stored = self._stored()
        for offset in stored.values():
            _require_same(self._topic, offset, identity)
        self._next |= {partition: stored[partition].next_offset for partition in partitions if partition in stored}
        return {partition: self._next[partition] for partition in partitions if partition in stored}

    def unseen(self, fetched: Sequence[BrokerMessage]) -> list[BrokerMessage]:
        """The messages at or after the stored offset of their partition."""
        return [message for message in fetched if message.position >= self._next.get(_partition(message), 0)]

    def advance(self, tx: Transaction, fetched: Sequence[BrokerMessage]) -> None:
        """Move the stored offsets behind these messages. Raises `OffsetMoved` if they are not where this process left them."""
        assert self._identity is not None
        after = {_partition(message): message.position + 1 for message in fetched}
        first = {_partition(message): message.position for message in reversed(fetched)}
        new = {
            partition: TopicOffset(first[partition], self._identity.cluster_id, self._identity.topic_id)
            for partition in after
            if partition not in self._next
        }
        now = self._context.clock.now()
        offset_store.add_topic_offsets(tx, self._source_id, self._topic, offsets=new, now=now)
        steps = {partition: (self._next.get(partition, first[partition]), end) for partition, end in after.items()}
        if not offset_store.advance_topic_offsets(tx, self._source_id, self._topic, steps=steps, now=now):
            raise OffsetMoved
        tx.on_commit(lambda: self._next.update(after))

    def refresh(self) -> None:
        """Read the stored offsets again. Raises `PositionLost` where one is before that of this process."""
        stored = self._stored()
        for partition, known in self._next.items():
            if partition not in stored or stored[partition].next_offset < known:
                self._next.clear()
                raise PositionLost
        self._next |= {partition: offset.next_offset for partition, offset in stored.items()}

    def _stored(self) -> dict[int, TopicOffset]:
        with self._context.database.transaction(read_only=True) as tx:
            return offset_store.topic_offsets(tx, self._source_id, self._topic)


def _partition(message: BrokerMessage) -> int:
    assert message.partition is not None
    return message.partition


def _require_same(topic: str, offset: TopicOffset, identity: TopicIdentity) -> None:
    is_same_topic = offset.topic_id is None or identity.topic_id is None or offset.topic_id == identity.topic_id
    if offset.cluster_id != identity.cluster_id or not is_same_topic:
        raise topic_replaced(topic)
