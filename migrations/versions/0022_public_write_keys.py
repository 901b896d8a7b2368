"""Take the scope to record consent from browser sources, and count refusals that a browser cannot state. Phase: pre."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE sources.source SET scopes = array_remove(scopes, 'consent') WHERE kind = 'browser'")
    op.execute(
        "ALTER TABLE sources.source ADD CONSTRAINT source_public_keys_record_no_consent_check "
        "CHECK (kind = 'server' OR NOT 'consent' = ANY (scopes))"
    )
    op.execute("ALTER TABLE accounting.notice DROP CONSTRAINT notice_kind_check")
    op.execute(
        """
        ALTER TABLE accounting.notice ADD CONSTRAINT notice_kind_check CHECK (kind IN (
            'unknown_identifier_type', 'blocked_identifier', 'malformed_identifier', 'left_out_identifier',
            'duplicate_other_body', 'unknown_purpose', 'unrecorded_refusal', 'unknown_event', 'unknown_property',
            'future_time', 'malformed_signal'
        ))
        """
    )
