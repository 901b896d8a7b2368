"""Keep the definitions of segments that ended, to which past changes of membership refer. Phase: pre."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_COMMENT = (
    "Segments by key, each with one purpose; `version` names the definition in force. One that ended has no members; its "
    "versions stay, because past changes refer to them."
)


def upgrade() -> None:
    op.execute("ALTER TABLE segments.segment ADD COLUMN ended_at timestamptz")
    op.execute(f"COMMENT ON TABLE segments.segment IS '{_COMMENT}'")
