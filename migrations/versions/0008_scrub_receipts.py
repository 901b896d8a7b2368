"""Store, for each erasure request, the audit entry that states whether a scrub overwrote its residue. Phase: pre."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE rights.request
            ADD COLUMN scrub_entry_id bigint,
            ADD COLUMN is_scrubbed boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT request_scrubbed_has_entry_check CHECK (scrub_entry_id IS NOT NULL OR NOT is_scrubbed)
        """
    )
