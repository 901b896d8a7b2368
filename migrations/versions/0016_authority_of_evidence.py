"""Give the words about who is who the authority of their source, and note when a person proved to have an identifier.

Anchors and edges get the authority of the sources that stated them, and the identifiers of the shipped types of the
person level that of the highest word that names them. Links that are stored stay until `cdp identity rebuild` resolves them again.
Phase: pre.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill them from the sources that are stored."""
    op.execute("ALTER TABLE identity.identifier ADD COLUMN authority smallint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE identity.identifier ADD COLUMN proved_at timestamptz")
    op.execute("ALTER TABLE identity.anchor_source ADD COLUMN authority smallint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE identity.edge ADD COLUMN authority smallint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE identity.resolution ADD COLUMN occurred_at timestamptz")
    op.execute("ALTER TABLE accounting.notice DROP CONSTRAINT notice_kind_check")
    op.execute(
        """
        ALTER TABLE accounting.notice ADD CONSTRAINT notice_kind_check CHECK (kind IN (
            'unknown_identifier_type', 'blocked_identifier', 'malformed_identifier', 'left_out_identifier',
            'duplicate_other_body', 'unknown_purpose', 'unknown_event', 'unknown_property', 'future_time',
            'malformed_signal'
        ))
        """
    )
    op.execute("ALTER TABLE identity.evidence DROP CONSTRAINT evidence_kind_check")
    op.execute(
        """
        ALTER TABLE identity.evidence ADD CONSTRAINT evidence_kind_check CHECK (
            kind IN ('link', 'merge', 'refusal', 'shared', 'quarantine', 'never', 'unmerge', 'allow_again', 'authority')
        )
        """
    )
    # What is filled in here is in no process's memory, so that the version of the mapping stays.
    op.execute("ALTER TABLE identity.anchor_source DISABLE TRIGGER version_after_update")
    for table in ("identity.anchor_source", "identity.edge"):
        op.execute(
            f"""
            UPDATE {table} AS word
            SET authority = CASE WHEN s.name = 'import' THEN 2 ELSE 3 END
            FROM sources.source AS s
            WHERE s.source_id = word.source_id AND s.kind = 'server'
            """
        )
    op.execute("ALTER TABLE identity.anchor_source ENABLE TRIGGER version_after_update")
    op.execute(
        """
        UPDATE identity.identifier AS i
        SET authority = named.authority
        FROM (
            SELECT identifier_id, max(authority) AS authority
            FROM (
                SELECT m.identifier_id, a.authority
                FROM identity.anchor_member AS m JOIN identity.anchor_source AS a USING (anchor_id)
                UNION ALL
                SELECT identifier_id, authority FROM identity.edge
                UNION ALL
                SELECT other_identifier_id, authority FROM identity.edge
            ) AS word
            GROUP BY identifier_id
        ) AS named
        WHERE i.identifier_id = named.identifier_id AND i.type IN ('user_id', 'email', 'phone') AND named.authority > 0
        """
    )
    op.execute(
        "CREATE INDEX evidence_left_out_idx ON identity.evidence (identifier_id) "
        "WHERE kind = 'refusal' AND (rule LIKE 'authority:%' OR rule LIKE 'stale:%')"
    )
    op.execute("DROP TRIGGER version_after_update ON identity.identifier")
    op.execute(
        """
        CREATE TRIGGER version_after_update AFTER UPDATE ON identity.identifier
        FOR EACH ROW WHEN ((OLD.is_shared, OLD.authority) IS DISTINCT FROM (NEW.is_shared, NEW.authority))
        EXECUTE FUNCTION identity.advance_version()
        """
    )
    op.execute(
        "COMMENT ON TABLE identity.anchor_source IS 'Which sources asserted an anchor, and with which authority: gives "
        "jurisdictions, how far an erasure may reach, and whose word decides a conflict.'"
    )
