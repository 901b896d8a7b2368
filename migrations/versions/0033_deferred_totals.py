"""Count what waits for an answer by source, so that policy can bound it. Phase: pre.

What waits already is counted. Nothing else that is stored changes.
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_COMMENT = "How many messages wait for each source, and their bytes. Triggers count every row of deferred_message that is added or deleted."

_TOTAL_DEFERRED = """
CREATE FUNCTION consent.total_deferred() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO consent.deferred_total AS t (source_id, messages, bytes)
        SELECT source_id, count(*), sum(octet_length(sealed) - 29) FROM added GROUP BY source_id
        ON CONFLICT (source_id) DO UPDATE
        SET messages = t.messages + excluded.messages, bytes = t.bytes + excluded.bytes;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE consent.deferred_total AS t
        SET messages = t.messages - c.messages, bytes = t.bytes - c.bytes
        FROM (
            SELECT source_id, count(*) AS messages, sum(octet_length(sealed) - 29) AS bytes FROM gone GROUP BY source_id
        ) AS c
        WHERE t.source_id = c.source_id;
    ELSE
        DELETE FROM consent.deferred_total;
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute("ALTER TABLE consent.deferred_message ADD COLUMN source_id integer")
    op.execute(
        """
        UPDATE consent.deferred_message AS m SET source_id = d.source_id
        FROM consent.deferred_device AS d WHERE d.subject_id = m.subject_id
        """
    )
    op.execute("ALTER TABLE consent.deferred_message ALTER COLUMN source_id SET NOT NULL")
    op.execute(
        """
        CREATE TABLE consent.deferred_total (
            source_id integer CONSTRAINT deferred_total_pkey PRIMARY KEY,
            messages bigint NOT NULL,
            bytes bigint NOT NULL,
            CONSTRAINT deferred_total_total_check CHECK (messages >= 0 AND bytes >= 0)
        )
        """
    )
    op.execute(f"COMMENT ON TABLE consent.deferred_total IS '{_COMMENT}'")
    op.execute(
        """
        INSERT INTO consent.deferred_total (source_id, messages, bytes)
        SELECT source_id, count(*), sum(octet_length(sealed) - 29) FROM consent.deferred_message GROUP BY source_id
        """
    )
    op.execute(_TOTAL_DEFERRED)
    op.execute("REVOKE ALL ON FUNCTION consent.total_deferred() FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER total_added AFTER INSERT ON consent.deferred_message REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    )
    op.execute(
        "CREATE TRIGGER total_gone AFTER DELETE ON consent.deferred_message REFERENCING OLD TABLE AS gone "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    )
    op.execute(
        "CREATE TRIGGER total_truncated AFTER TRUNCATE ON consent.deferred_message "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    )
