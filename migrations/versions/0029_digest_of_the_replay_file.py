"""Remember the digest of the replay file, so that one that lacks lines or has others in their place is recognized. Phase: pre."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_COMMENT = (
    "The replay file that belongs to this database, the last line that the database has applied, the digest of the file "
    "up to it, and the last start of a service with it: a database behind its file was restored; a file that is behind its "
    "database is a copy, and one with another digest was altered."
)


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE rights.replay
            ADD COLUMN compactions bigint NOT NULL DEFAULT 0,
            ADD COLUMN digest bytea NOT NULL DEFAULT '',
            ADD CONSTRAINT replay_compactions_check CHECK (compactions >= 0),
            ADD CONSTRAINT replay_digest_check CHECK (octet_length(digest) IN (0, 32))
        """
    )
    op.execute(f"COMMENT ON TABLE rights.replay IS '{_COMMENT}'")
