"""Let the plain values of events have lists of flat objects of numbers, booleans and terms. Phase: pre.

Nothing that is stored changes: the constraint accepts all that the one before it did, and every event is read once.
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_NO_TEXT = """
    jsonb_path_query_array(plain, 'strict $.*.type()') <@ '["number", "boolean", "null", "array"]'
    AND jsonb_path_query_array(plain, 'strict $.**{2}.type()') <@ '["object"]'
    AND jsonb_path_query_array(plain, 'strict $.**{3}.type()') <@ '["number", "boolean", "null"]'
"""


def upgrade() -> None:
    op.execute("ALTER TABLE behavior.event DROP CONSTRAINT event_no_text_check")
    op.execute(f"ALTER TABLE behavior.event ADD CONSTRAINT event_no_text_check CHECK ({_NO_TEXT})")
