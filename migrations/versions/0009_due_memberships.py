"""Store when time alone may change a membership. Phase: pre."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE segments.segment ADD COLUMN planned_until timestamptz")
    op.execute(
        """
        CREATE TABLE segments.due (
            profile_id bigint NOT NULL,
            key text NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT due_pkey PRIMARY KEY (profile_id, key),
            CONSTRAINT due_key_fkey FOREIGN KEY (key) REFERENCES segments.segment (key) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX due_at_idx ON segments.due (at)")
    op.execute("CREATE INDEX due_key_idx ON segments.due (key)")
    op.execute(
        "COMMENT ON TABLE segments.due IS 'When time alone may change a membership: the earliest instant of the next day "
        "at which the segment must be evaluated again for the profile. Computed from definition, events and permission; "
        "deleted when it has been evaluated.'"
    )
