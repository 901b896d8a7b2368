"""What became of the latest messages of each source. Phase: pre.

Nothing that is stored changes.
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_COMMENT = (
    "What became of the latest messages of each source, to find faults of senders: no ids and no values, every name is one of the "
    "policy or ''other''. The worker keeps the latest of each source, and those for a day."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE accounting.recent_message (
            recent_message_id bigserial CONSTRAINT recent_message_pkey PRIMARY KEY,
            source_id integer NOT NULL,
            received_at timestamptz NOT NULL,
            type text NOT NULL,
            event text NOT NULL,
            state text NOT NULL,
            reason text NOT NULL,
            notices text[] NOT NULL,
            CONSTRAINT recent_message_whole_second_check CHECK (received_at = date_trunc('second', received_at))
        )
        """
    )
    op.execute(
        "CREATE INDEX recent_message_source_id_recent_message_id_idx "
        "ON accounting.recent_message (source_id, recent_message_id)"
    )
    op.execute(f"COMMENT ON TABLE accounting.recent_message IS '{_COMMENT}'")
