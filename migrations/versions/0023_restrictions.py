"""Keep events apart that fall due while the processing of their person is restricted; restrictions about one purpose.

An objection to a purpose on legitimate interests may be weighed (GDPR Art. 21(1)); meanwhile the purpose is restricted
(Art. 18(1)(d)). Phase: pre.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
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
    op.execute("ALTER TABLE consent.record DROP CONSTRAINT record_act_without_purpose_check")
    op.execute(
        "ALTER TABLE consent.record ADD CONSTRAINT record_act_without_purpose_check "
        "CHECK (act IN ('restrict', 'release') OR purpose <> '')"
    )
    op.execute("ALTER TABLE rights.request ADD COLUMN weighed text[] NOT NULL DEFAULT '{}'")
    op.execute(
        "ALTER TABLE rights.request ADD CONSTRAINT request_weighed_objection_check "
        "CHECK (kind = 'objection' OR weighed = '{}')"
    )
