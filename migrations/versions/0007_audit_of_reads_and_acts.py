"""Let the audit log commit to every consent act, and note whom a read showed. Phase: pre.

Records and repetitions get a salt; those that exist keep none, because the log did not commit to them. Each repetition
of a refusal is a row of its own from now on.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COMMENTS = {
    "consent.record": "The ledger: one row per act, never updated. Fields follow ISO/IEC TS 27560. The entry of the audit log "
    "commits to the row with its salt; an act recorded before there were salts has none.",
    "consent.repetition": "Each repetition of a recorded refusal by a signal, at most one per batch; never updated. "
    "A signal that repeats a refusal creates no new record.",
    "audit.read_subject": "Whom a read showed: digests under the keys of the subjects. Once the key of a subject is shredded, "
    "nobody can tell whose digest it was; the leaf of the read commits to the set.",
}


_REFUSE_UPDATE = """
CREATE FUNCTION consent.refuse_update() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'consent.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$
"""


def upgrade() -> None:
    for table in ("record", "repetition"):
        op.execute(f"ALTER TABLE consent.{table} ADD COLUMN salt bytea")
        op.execute(f"ALTER TABLE consent.{table} ADD CONSTRAINT {table}_salt_check CHECK (octet_length(salt) = 32)")
        op.execute(f"ALTER TABLE consent.{table} ALTER COLUMN salt SET STATISTICS 0")
    # What is known of the instant at which an earlier repetition was recorded: not before it was made.
    op.execute("ALTER TABLE consent.repetition ADD COLUMN recorded_at timestamptz")
    op.execute("UPDATE consent.repetition SET recorded_at = repeated_at")
    op.execute("ALTER TABLE consent.repetition ALTER COLUMN recorded_at SET NOT NULL")
    op.execute("ALTER TABLE consent.repetition DROP CONSTRAINT repetition_pkey")
    op.execute("ALTER TABLE consent.repetition ADD CONSTRAINT repetition_pkey PRIMARY KEY (record_id, repeated_at)")
    op.execute(_REFUSE_UPDATE)
    for table in ("record", "repetition"):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE ON consent.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION consent.refuse_update()"
        )
    op.execute(
        """
        CREATE TABLE audit.read_subject (
            subject_digest bytea NOT NULL,
            entry_id bigint NOT NULL REFERENCES audit.fact (entry_id) ON DELETE CASCADE,
            CONSTRAINT read_subject_pkey PRIMARY KEY (subject_digest, entry_id),
            CONSTRAINT read_subject_subject_digest_check CHECK (octet_length(subject_digest) = 16)
        )
        """
    )
    op.execute("CREATE INDEX read_subject_entry_id_idx ON audit.read_subject (entry_id)")
    for table, comment in _COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON TABLE {table} IS '{quoted}'")
