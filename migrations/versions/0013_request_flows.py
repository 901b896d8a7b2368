"""Every kind of request can be fulfilled: restrictions in the ledger, corrected values, questions, and modes of erasure.

A process of the previous release goes on working beside this schema, but cannot open an erasure: the column `mode` is
required. Phase: pre.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COMMENTS = {
    "consent.record": "The ledger: one row per act, never updated. Fields follow ISO/IEC TS 27560. The entry of the "
    "audit log commits to the row with its salt; an act recorded before there were salts has none. Restrictions of processing "
    "have the purpose '', which means every purpose.",
    "rights.request_value": "The corrected traits of a rectification, name and value, sealed under the key of the request "
    "until its end.",
    "rights.suppression": "Pseudonyms that must not be processed again (purpose '' means every purpose), under the "
    "suppression domain, which cannot be joined with the graph. Rows with a request are pending suppressions until the "
    "request ends. Of a lifted suppression (lifted_at), only messages that occurred before it are still refused.",
}


def upgrade() -> None:
    op.execute("ALTER TABLE consent.record DROP CONSTRAINT record_act_check")
    op.execute(
        "ALTER TABLE consent.record ADD CONSTRAINT record_act_check "
        "CHECK (act IN ('grant', 'refuse', 'withdraw', 'object', 'restrict', 'release'))"
    )
    op.execute(
        "ALTER TABLE consent.record ADD CONSTRAINT record_act_without_purpose_check "
        "CHECK ((act IN ('restrict', 'release')) = (purpose = ''))"
    )
    op.execute("ALTER TABLE rights.request ADD COLUMN asked_at timestamptz, ADD COLUMN mode text")
    op.execute("UPDATE rights.request SET mode = 'erase_and_suppress' WHERE kind = 'erasure'")
    op.execute(
        "ALTER TABLE rights.request ADD CONSTRAINT request_mode_check "
        "CHECK (mode IN ('erase_and_suppress', 'erase', 'suppress'))"
    )
    op.execute(
        "ALTER TABLE rights.request ADD CONSTRAINT request_erasure_has_mode_check "
        "CHECK ((kind = 'erasure') = (mode IS NOT NULL))"
    )
    op.execute(
        """
        CREATE TABLE rights.request_value (
            request_id bigint NOT NULL,
            position smallint NOT NULL,
            sealed bytea NOT NULL,
            CONSTRAINT request_value_pkey PRIMARY KEY (request_id, position)
        )
        """
    )
    op.execute("ALTER TABLE rights.request_value ALTER COLUMN sealed SET STATISTICS 0")
    for table, comment in _COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON TABLE {table} IS '{quoted}'")
