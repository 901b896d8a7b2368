"""Add the function by which privacy staff's part shreds the keys of closed requests, and no others. Phase: pre.

Nothing that is stored changes.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_SHRED_REQUEST_KEYS = """
CREATE FUNCTION vault.shred_request_keys(ids bigint[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    WITH deleted AS (
        DELETE FROM vault.subject_key AS k
        WHERE k.subject_id = ANY(ids)
          AND EXISTS (SELECT FROM rights.request AS r WHERE r.request_id = k.subject_id AND r.closed_at IS NOT NULL)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
$$
"""


def upgrade() -> None:
    op.execute(_SHRED_REQUEST_KEYS)
    op.execute("REVOKE ALL ON FUNCTION vault.shred_request_keys(bigint[]) FROM PUBLIC")
