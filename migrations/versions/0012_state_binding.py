"""Bind a database to its state store: the generation and the nonce of the last start of a service. Phase: pre."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE rights.replay
            ADD COLUMN generation bigint NOT NULL DEFAULT 0,
            ADD COLUMN nonce bytea NOT NULL DEFAULT '',
            ADD CONSTRAINT replay_generation_check CHECK (generation >= 0),
            ADD CONSTRAINT replay_nonce_check CHECK (octet_length(nonce) = CASE WHEN generation = 0 THEN 0 ELSE 16 END)
        """
    )
    op.execute(
        "COMMENT ON TABLE rights.replay IS 'The replay file that belongs to this database, the last line that the database has "
        "applied, and the last start of a service with it: a database behind its file was restored; a file behind its database "
        "is a copy.'"
    )
