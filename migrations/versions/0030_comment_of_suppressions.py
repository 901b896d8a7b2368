"""Say in the database what the special numbers of requests in rights.suppression mean. Phase: pre."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_COMMENT = (
    "Pseudonyms that must not be processed again (purpose '' means every purpose), under the suppression domain, "
    "which cannot be joined with the graph. Rows with a request are pending suppressions until the request ends; request_id "
    "-1 is a restriction of an identifier that was unknown, 0 any other suppression. Of a lifted suppression (lifted_at), only "
    "messages that occurred before it are still refused; a restriction that ended has one as well, and refuses nothing."
)


def upgrade() -> None:
    op.execute(f"COMMENT ON TABLE rights.suppression IS $${_COMMENT}$$")
