"""Keep a replaced pseudonym key, as retired, until it is destroyed by a separate act. Phase: pre."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE vault.key_check ADD COLUMN retired_at timestamptz")
    op.execute(
        "COMMENT ON TABLE vault.key_check IS 'Check values of root keys, by which a missing or wrong one is detected before "
        "anything is written. A retired key is kept for earlier backups only.'"
    )
