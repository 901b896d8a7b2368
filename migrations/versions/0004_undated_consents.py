"""Mark grants of which it is not known when they were given: they override no refusal. Phase: pre."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE consent.record ADD COLUMN is_undated boolean NOT NULL DEFAULT false")
    op.execute(
        "ALTER TABLE consent.record ADD CONSTRAINT record_only_grants_are_undated_check "
        "CHECK (act = 'grant' OR NOT is_undated)"
    )
