"""Add the counter by which the look-ups of each token are limited.

Phase: pre.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE access.lookup (
            token_id integer NOT NULL,
            began_at timestamptz NOT NULL,
            lookups integer NOT NULL,
            CONSTRAINT lookup_pkey PRIMARY KEY (token_id)
        )
        """
    )
    op.execute(
        "COMMENT ON TABLE access.lookup IS 'How many single people a token looked up in the hour that began at "
        "`began_at`; one row per token, reused.'"
    )
