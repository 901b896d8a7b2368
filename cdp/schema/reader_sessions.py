"""Functions of the database that record the sessions of readers: SQL logins that may read a projection.

`note_reader_login` runs when somebody logs in, if the administrator of the server lets it (`cdp.postgres.login_rights`), and so must
neither fail for other logins nor be slow. The service calls the others once a second.
"""

READER_TABLES = """
CREATE FUNCTION consent.tables_of_reader(login oid) RETURNS text[]
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
"""The tables of the projections' schema that a login may read by any role that it is a member of, NULL if it is not a reader.

A reader may read one of them, or do something else in the schema; neither a superuser nor the service nor a part of
it nor a member of `pg_read_all_data` is one.
"""

NOTE_SESSIONS = """
CREATE FUNCTION consent.note_reader_sessions(backend integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog
AS $$
    WITH present AS MATERIALIZED (
        SELECT a.backend_start, a.pid, a.usename::text AS login, a.usesysid
        FROM pg_stat_activity AS a
        WHERE a.backend_type = 'client backend' AND a.datname = current_database() AND a.backend_start IS NOT NULL
          AND (backend IS NULL OR a.pid = backend)
    ), reader AS MATERIALIZED (
        SELECT u.usesysid, consent.tables_of_reader(u.usesysid) AS tables
        FROM (SELECT DISTINCT p.usesysid FROM present AS p) AS u
    )
    INSERT INTO consent.reader_session AS known (started_at, pid, login, tables, seen_at)
    SELECT p.backend_start, p.pid, p.login, r.tables, clock_timestamp()
    FROM present AS p
    JOIN reader AS r USING (usesysid)
    WHERE r.tables IS NOT NULL
    ORDER BY p.backend_start, p.pid
    ON CONFLICT (started_at, pid) DO UPDATE
    SET seen_at = greatest(known.seen_at, excluded.seen_at),
        tables = ARRAY(SELECT DISTINCT t.name FROM unnest(known.tables || excluded.tables) AS t (name) ORDER BY t.name)
$$
"""
"""Records the sessions of readers that exist now, or that of one server process. A policy may give a session more tables."""

NOTE_LOGIN = """
CREATE FUNCTION consent.note_reader_login() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $$
BEGIN
    IF consent.tables_of_reader((SELECT r.oid FROM pg_roles AS r WHERE r.rolname = session_user)) IS NULL THEN
        RETURN;
    END IF;
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'the sessions of readers are recorded, which default_transaction_read_only prevents'
            USING ERRCODE = 'read_only_sql_transaction',
                  HINT = 'Connect without default_transaction_read_only; logins of readers cannot write.';
    END IF;
    IF (
        SELECT count(*) FROM consent.reader_session AS s
        WHERE s.login = session_user AND s.started_at > clock_timestamp() - interval '1 hour'
    ) >= 3600 THEN
        RAISE EXCEPTION 'this login began 3600 sessions within an hour'
            USING ERRCODE = 'too_many_connections', HINT = 'Keep a session open, or use a connection pool.';
    END IF;
    PERFORM consent.note_reader_sessions(pg_backend_pid());
END
$$
"""
"""Records a session of a reader as it begins, or refuses it, so that no login fills the record. Called as the owner of the store, who reads pg_stat_activity."""

FUNCTIONS = {
    "consent.tables_of_reader(oid)": READER_TABLES,
    "consent.note_reader_sessions(integer)": NOTE_SESSIONS,
    "consent.note_reader_login()": NOTE_LOGIN,
}
"""In the order in which they are created, by signature; nobody but the owner may call them."""
