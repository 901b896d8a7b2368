"""Offsets of Kafka topics, stored with the messages that were read. Phase: pre.

Nothing that is stored changes.
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_COMMENT = "Up to where the partitions of a topic of Kafka were read; written in the transaction of the messages, so each counts once."


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE operations.topic_offset (
            source_id integer NOT NULL,
            topic text NOT NULL,
            partition integer NOT NULL,
            next_offset bigint NOT NULL,
            cluster_id text NOT NULL,
            topic_id text,
            updated_at timestamptz NOT NULL,
            CONSTRAINT topic_offset_pkey PRIMARY KEY (source_id, topic, partition),
            CONSTRAINT topic_offset_offset_check CHECK (next_offset >= 0)
        )
        """
    )
    op.execute(f"COMMENT ON TABLE operations.topic_offset IS '{_COMMENT}'")
