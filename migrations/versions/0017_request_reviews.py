"""Decisions of a reviewer about the identifiers that wait in a request. Phase: pre."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_COMMENT = (
    "Decisions of a reviewer about identifiers that nobody vouched for: whether they belong to the person of the "
    "request. Deleted when the request ends."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE rights.review (
            request_id bigint NOT NULL,
            identifier_id bigint NOT NULL,
            is_included boolean NOT NULL,
            decided_at timestamptz NOT NULL,
            CONSTRAINT review_pkey PRIMARY KEY (request_id, identifier_id)
        )
        """
    )
    op.execute("CREATE INDEX review_identifier_id_idx ON rights.review (identifier_id)")
    op.execute(f"COMMENT ON TABLE rights.review IS '{_COMMENT}'")
