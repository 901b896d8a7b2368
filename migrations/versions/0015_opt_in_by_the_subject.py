"""Record whether the person began an opt-in without being asked. Phase: pre."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE consent.record ADD COLUMN is_subject_initiated boolean NOT NULL DEFAULT false")
    op.execute(
        "ALTER TABLE consent.record ADD CONSTRAINT record_only_grants_are_initiated_check "
        "CHECK (act = 'grant' OR NOT is_subject_initiated)"
    )
