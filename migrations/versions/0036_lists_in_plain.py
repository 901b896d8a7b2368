"""Let the plain values of events have lists of flat objects of numbers, booleans and terms. Phase: pre.

Nothing that is stored changes: the constraint accepts all that the one before it did, and every event is read once.
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_NO_TEXT = (
    """NOT jsonb_path_exists(plain, 'strict $.* ? (@.type() == "string" || @.type() == "object" || """
    """(@.type() == "array" && (exists (@[*] ? (@.type() != "object")) || """
    """exists (@[*].* ? (@.type() == "string" || @.type() == "object" || @.type() == "array")))))')"""
)


def upgrade() -> None:
    op.execute("ALTER TABLE behavior.event DROP CONSTRAINT event_no_text_check")
    op.execute(f"ALTER TABLE behavior.event ADD CONSTRAINT event_no_text_check CHECK ({_NO_TEXT})")
