"""Date every act after the one before it, whatever the clocks of services say and wherever the database's is set.

Acts that are stored keep their instants; what follows is dated after the last of them. Phase: pre.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_COMMENT = (
    "One row: the version of the mapping (caches compare it), the next number of the recorded sequence, and the "
    "instant of the last change: what follows is dated after it, even if the clock was set back."
)

_CLOCK = """
CREATE FUNCTION identity.database_instant() RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$ SELECT coalesce((SELECT instant FROM operations.instant_override), clock_timestamp()) $$
"""

_ORDER = """
CREATE FUNCTION consent.require_order() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    earliest timestamptz;
    latest timestamptz;
BEGIN
    SELECT min(recorded_at), max(recorded_at) INTO earliest, latest FROM added;
    IF earliest < (SELECT acted_at FROM identity.generation) THEN
        RAISE EXCEPTION 'consent.% cannot be dated before the last act', TG_TABLE_NAME
            USING HINT = 'Acts have the instant that the exclusive lock gives.';
    END IF;
    UPDATE identity.generation SET acted_at = latest WHERE acted_at < latest;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute(
        "ALTER TABLE identity.generation ADD COLUMN acted_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00'"
    )
    op.execute(f"COMMENT ON TABLE identity.generation IS '{_COMMENT}'")
    op.execute(
        """
        UPDATE identity.generation SET acted_at = greatest(
            acted_at,
            (SELECT max(recorded_at) FROM consent.record),
            (SELECT max(recorded_at) FROM consent.repetition)
        )
        """
    )
    op.execute(_CLOCK)
    op.execute("REVOKE ALL ON FUNCTION identity.database_instant() FROM PUBLIC")
    op.execute(_ORDER)
    for table in ("record", "repetition"):
        op.execute(
            f"CREATE TRIGGER in_order AFTER INSERT ON consent.{table} REFERENCING NEW TABLE AS added "
            "FOR EACH STATEMENT EXECUTE FUNCTION consent.require_order()"
        )
