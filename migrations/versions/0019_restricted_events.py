"""Keep events apart that fall due while the processing of their person is restricted. Phase: pre."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE behavior.restricted_event (
            anchor_id bigint NOT NULL,
            occurred_at timestamptz NOT NULL,
            event_id uuid NOT NULL,
            retention_class text NOT NULL,
            received_at timestamptz NOT NULL,
            source_id integer NOT NULL,
            name_id integer NOT NULL,
            bits bigint NOT NULL,
            plain jsonb,
            sealed bytea NOT NULL,
            CONSTRAINT restricted_event_pkey PRIMARY KEY (anchor_id, occurred_at, event_id),
            CONSTRAINT restricted_event_bits_check CHECK (bits > 0)
        )
        """
    )
    op.execute("ALTER TABLE behavior.restricted_event ALTER COLUMN sealed SET STATISTICS 0")
    op.execute(
        "COMMENT ON TABLE behavior.restricted_event IS 'Events that fell due while the processing of their person was "
        "restricted (GDPR Art. 18): nobody uses them, and they end with the first sweep after the restriction. Sealed as in "
        "behavior.event.'"
    )
