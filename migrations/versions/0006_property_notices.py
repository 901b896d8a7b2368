"""Count planned properties that are sent with another type, or are missing where a computed trait adds them up. Phase: pre."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE accounting.property_notice (
            property_notice_id BIGSERIAL NOT NULL,
            source_id INTEGER NOT NULL,
            hour TIMESTAMP WITH TIME ZONE NOT NULL,
            kind TEXT NOT NULL,
            event TEXT NOT NULL,
            property TEXT NOT NULL,
            expected TEXT NOT NULL,
            messages INTEGER NOT NULL,
            CONSTRAINT property_notice_pkey PRIMARY KEY (property_notice_id),
            CONSTRAINT property_notice_kind_check CHECK (kind IN ('mistyped', 'missing'))
        )
        """
    )
    op.execute("CREATE INDEX property_notice_hour_source_id_idx ON accounting.property_notice (hour, source_id)")
    op.execute(
        "COMMENT ON TABLE accounting.property_notice IS 'Counts of planned properties that were sent with another type "
        "or not at all; every name is one of the policy.'"
    )
