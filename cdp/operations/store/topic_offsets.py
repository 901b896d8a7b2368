"""SQL of topic offsets: up to where the partitions of Kafka's topics were read, written in the transaction of the messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId


@dataclass(frozen=True, slots=True)
class TopicOffset:
    """Where to go on in one partition, and in which cluster and topic that is."""

    next_offset: int
    cluster_id: str
    topic_id: str | None


def topic_offsets(tx: Transaction, source_id: SourceId, topic: str) -> dict[int, TopicOffset]:
    """The offset of every partition that was read into this source."""
    rows = tx.execute(
        """
        SELECT partition, next_offset, cluster_id, topic_id
        FROM operations.topic_offset
        WHERE source_id = %(source)s AND topic = %(topic)s
        """,
        {"source": source_id, "topic": topic},
    )
    return {
        partition: TopicOffset(next_offset, cluster_id, topic_id)
        for partition, next_offset, cluster_id, topic_id in rows
    }


def add_topic_offsets(
    tx: Transaction, source_id: SourceId, topic: str, *, offsets: Mapping[int, TopicOffset], now: datetime
) -> None:
    """Store the offsets of partitions that were not read before; those that another process stored meanwhile stay."""
    if not offsets:
        return
    tx.execute(
        """
        INSERT INTO operations.topic_offset (source_id, topic, partition, next_offset, cluster_id, topic_id, updated_at)
        SELECT %(source)s, %(topic)s, new.partition, new.next_offset, new.cluster_id, new.topic_id, %(now)s
        FROM unnest(%(partitions)s::int[], %(offsets)s::bigint[], %(clusters)s::text[], %(topics)s::text[])
            AS new (partition, next_offset, cluster_id, topic_id)
        ON CONFLICT DO NOTHING
        """,
        {
            "source": source_id,
            "topic": topic,
            "partitions": list(offsets),
            "offsets": [offset.next_offset for offset in offsets.values()],
            "clusters": [offset.cluster_id for offset in offsets.values()],
            "topics": [offset.topic_id for offset in offsets.values()],
            "now": now,
        },
    )


def advance_topic_offsets(
    tx: Transaction, source_id: SourceId, topic: str, *, steps: Mapping[int, tuple[int, int]], now: datetime
) -> bool:
    """Move partitions from one offset to the next; False, and to be rolled back, unless each of them was where it should be.

    The rows are locked until the transaction ends.
    """
    rows = tx.execute(
        """
        UPDATE operations.topic_offset AS stored
        SET next_offset = step.after, updated_at = %(now)s
        FROM unnest(%(partitions)s::int[], %(before)s::bigint[], %(after)s::bigint[]) AS step (partition, before, after)
        WHERE stored.source_id = %(source)s AND stored.topic = %(topic)s
          AND stored.partition = step.partition AND stored.next_offset = step.before
        RETURNING stored.partition
        """,
        {
            "source": source_id,
            "topic": topic,
            "partitions": list(steps),
            "before": [before for before, _ in steps.values()],
            "after": [after for _, after in steps.values()],
            "now": now,
        },
    )
    return len(rows) == len(steps)


def delete_topic_offsets(tx: Transaction, source_id: SourceId, topic: str) -> int:
    """Delete the offsets of a topic, which is then read from its beginning; returns how many partitions it had."""
    return len(
        tx.execute(
            "DELETE FROM operations.topic_offset WHERE source_id = %(source)s AND topic = %(topic)s RETURNING partition",
            {"source": source_id, "topic": topic},
        )
    )
