"""A notice for traits that a client library left in a context of several messages. Phase: pre.

Nothing that is stored changes.
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE accounting.notice DROP CONSTRAINT notice_kind_check")
    op.execute(
        """
        ALTER TABLE accounting.notice ADD CONSTRAINT notice_kind_check CHECK (kind IN (
            'unknown_identifier_type', 'blocked_identifier', 'malformed_identifier', 'left_out_identifier',
            'duplicate_other_body', 'unknown_purpose', 'unrecorded_refusal', 'unknown_event', 'unknown_property',
            'future_time', 'malformed_signal', 'left_over_traits'))
        """
    )
