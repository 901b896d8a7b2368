"""Tables of sources, accounting and operations move out of the schema `access`, each to the schema of its package.

The column that says with which recorded step a profile began is named `origin_sequence`. Phase: pre. Tables keep their names, rows, indexes, sequences and privileges; only the schema changes.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOVED = {
    "source": "sources",
    "accounting": "accounting",
    "notice": "accounting",
    "import_job": "operations",
    "applied_policy": "operations",
    "instant_override": "operations",
}


def upgrade() -> None:
    for schema in ("sources", "accounting", "operations"):
        op.execute(f"CREATE SCHEMA {schema}")
    for table, schema in _MOVED.items():
        op.execute(f"ALTER TABLE access.{table} SET SCHEMA {schema}")
    # The body of a function is text: it names the table as it was.
    op.execute(
        """
        CREATE OR REPLACE FUNCTION consent.present_instant() RETURNS timestamptz
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT coalesce((SELECT instant FROM operations.instant_override), statement_timestamp()) $$
        """
    )
    op.execute("ALTER TABLE identity.profile RENAME COLUMN born_sequence TO origin_sequence")
    op.execute(
        "ALTER TABLE identity.profile RENAME CONSTRAINT profile_born_sequence_key TO profile_origin_sequence_key"
    )
    op.execute(
        "COMMENT ON TABLE identity.profile IS 'Profiles by stable id; origin_sequence names the resolution that made it, "
        "the older one survives a merge.'"
    )
