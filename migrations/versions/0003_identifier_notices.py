"""Count values that cannot be an identifier apart from those that say that there is none. Phase: pre."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE accounting.notice DROP CONSTRAINT notice_kind_check")
    op.execute(
        """
        ALTER TABLE accounting.notice ADD CONSTRAINT notice_kind_check CHECK (kind IN (
            'unknown_identifier_type', 'blocked_identifier', 'malformed_identifier', 'duplicate_other_body',
            'unknown_purpose', 'unknown_event', 'unknown_property', 'future_time', 'malformed_signal'
        ))
        """
    )
