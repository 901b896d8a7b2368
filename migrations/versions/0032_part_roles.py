"""Give parts of the service database roles of their own, and functions for what they may do and may not write. Phase: pre.

The roles themselves are created by a service when it starts, or by an administrator: names of roles belong to a server, not to a schema.
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_TABLES_OF_READER = """
CREATE OR REPLACE FUNCTION consent.tables_of_reader(login oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog
AS $$
    WITH granted AS (  -- pg_partition_tree would lock the tables, and wait behind a change of the schema
        SELECT c.relname::text AS name, acl.grantee
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid
        CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
        WHERE c.relnamespace = 'consent'::regnamespace AND acl.privilege_type = 'SELECT'
        UNION
        SELECT c.relname::text, acl.grantee
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.relnamespace = 'consent'::regnamespace AND acl.privilege_type = 'SELECT'
    )
    SELECT ARRAY(
        SELECT DISTINCT g.name
        FROM granted AS g
        WHERE g.grantee <> 0 AND pg_has_role(login, g.grantee, 'MEMBER')
        ORDER BY g.name
    )
    FROM pg_roles AS r
    CROSS JOIN pg_namespace AS n
    WHERE r.oid = login AND n.nspname = 'consent' AND NOT r.rolsuper
      AND NOT pg_has_role(login, n.nspowner, 'MEMBER') AND NOT pg_has_role(login, 'pg_read_all_data', 'MEMBER')
      AND NOT EXISTS (SELECT FROM operations.part_role AS d WHERE d.role_name = r.rolname)
      AND (
          EXISTS (SELECT FROM granted AS g WHERE g.grantee <> 0 AND pg_has_role(login, g.grantee, 'MEMBER'))
          OR EXISTS (
              SELECT FROM aclexplode(n.nspacl) AS acl
              WHERE acl.grantee <> 0 AND acl.grantee <> n.nspowner AND pg_has_role(login, acl.grantee, 'MEMBER')
          )
      )
$$
"""

_ADVANCE = """
CREATE OR REPLACE FUNCTION identity.advance_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$
"""

_ADVANCE_FOR_KNOWN = """
CREATE OR REPLACE FUNCTION identity.advance_version_for_known() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text AND EXISTS (
        SELECT FROM fresh
        WHERE NOT EXISTS (
            SELECT FROM identity.profile AS p
            WHERE p.profile_id = fresh.profile_id AND p.xmin = pg_catalog.pg_current_xact_id()::xid
        )
    ) THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$
"""

_HOLD_ACTIVE_EPOCH = """
CREATE FUNCTION vault.hold_active_epoch() RETURNS SETOF integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT epoch_id FROM vault.epoch WHERE retired_at IS NULL FOR KEY SHARE $$
"""

_THROW_AWAY_KEYS = """
CREATE FUNCTION vault.throw_away_keys(ids bigint[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    WITH deleted AS (
        DELETE FROM vault.subject_key AS k
        WHERE k.subject_id = ANY(ids)
          AND NOT EXISTS (SELECT FROM identity.anchor AS a WHERE a.anchor_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM identity.identifier AS i WHERE i.identifier_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM rights.request AS r WHERE r.request_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM rights.hold AS h WHERE h.hold_id = k.subject_id)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
$$
"""

_IS_ADVANCED = """
CREATE FUNCTION identity.is_advanced() RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT coalesce(current_setting('cdp.advanced_by', true), '') = pg_current_xact_id()::text $$
"""

_COMMENT = (
    "The database roles of the parts of the service: their sessions are not those of readers. A copy of the database names "
    "those of its original, which lose their rights in it."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE operations.part_role (
            part text NOT NULL,
            role_name text NOT NULL,
            CONSTRAINT part_role_pkey PRIMARY KEY (part)
        )
        """
    )
    op.execute(f"COMMENT ON TABLE operations.part_role IS '{_COMMENT}'")
    for function in (
        _TABLES_OF_READER,
        _ADVANCE,
        _ADVANCE_FOR_KNOWN,
        _HOLD_ACTIVE_EPOCH,
        _THROW_AWAY_KEYS,
        _IS_ADVANCED,
    ):
        op.execute(function)
    for signature in ("vault.hold_active_epoch()", "vault.throw_away_keys(bigint[])", "identity.is_advanced()"):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
