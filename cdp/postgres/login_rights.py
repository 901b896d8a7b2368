"""What PostgreSQL lets every login do and a reader's login must not, as statements that take it away from PUBLIC.

Rights of the system catalog belong to each database and to its superuser: the embedded server runs these statements by itself, an
administrator runs them on a server of the user. Names are looked up on the server, so that they fit its version; statements are
safe to repeat.
"""

from collections.abc import Sequence
from typing import Final

FUNCTIONS: Final = (
    # numbers of rows, sizes and activity of tables and databases that a login may not read
    "pg_stat_%",
    "pg_relation_size",
    "pg_total_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_database_size",
    "pg_tablespace_size",
    "pg_current_wal%",
    "pg_last_%",
    "pg_control_%",
    "pg_lock_status",
    "pg_%blocking_pids",
    "pg_get_replication_slots",
    "pg_prepared_xact",
    "pg_available_wal_summaries",
    "pg_wal_summary_contents",
    "pg_get_wal_summarizer_state",
    # transaction ids and snapshots, of which each takes one or holds one
    "pg_current_xact_id%",
    "pg_current_snapshot",
    "txid_current%",
    "pg_export_snapshot",
    "pg_xact_commit_timestamp%",
    # places to keep data in, or to use up: the write-ahead log, large objects, notifications, shared memory
    "pg_logical_emit_message",
    "pg_create_restore_point",
    "pg_notify",
    "pg_advisory%",
    "pg_try_advisory%",
    "lo\\_%",
    "loread",
    "lowrite",
)
"""Patterns of the names of functions in pg_catalog; the owner of the store keeps all of them."""

VIEWS: Final = ("pg_stat\\_%", "pg_statio\\_%", "pg_locks", "pg_replication_slots", "pg_prepared_xacts")
"""Patterns of the names of views in pg_catalog; pg_stats shows nothing of what a login may not read."""

HIDDEN_COLUMNS: Final = (
    "reltuples",
    "relpages",
    "relallvisible",
    "relallfrozen",
    "relfrozenxid",
    "relminmxid",
)
"""Columns of pg_class that tell how many rows a table has; the others stay readable, for clients ask for them."""


def _array(names: tuple[str, ...]) -> str:
    return "ARRAY[" + ", ".join(f"'{name}'" for name in names) + "]"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _note_logins(owner: str) -> list[str]:
    """The statements that have the store notified when a session begins, which PostgreSQL can do from version 17 on.

    An event trigger belongs to the superuser and runs for everybody who logs in, so its function must be none that the owner of the store
    can replace: it has a schema of its own, and runs with the rights of the owner, who can do nothing more by it.
    """
    return [
        "CREATE SCHEMA IF NOT EXISTS cdp_logins",
        "ALTER SCHEMA cdp_logins OWNER TO CURRENT_USER",
        "REVOKE ALL ON SCHEMA cdp_logins FROM PUBLIC",
        """CREATE OR REPLACE FUNCTION cdp_logins.note_login() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $note$
BEGIN
    IF pg_is_in_recovery() OR pg_has_role(session_user, current_user, 'MEMBER')
       OR to_regprocedure('consent.note_reader_login()') IS NULL THEN
        RETURN;
    END IF;
    PERFORM consent.note_reader_login();
END
$note$""",
        "REVOKE ALL ON FUNCTION cdp_logins.note_login() FROM PUBLIC",
        f"ALTER FUNCTION cdp_logins.note_login() OWNER TO {_name(owner)}",
        """DO $logins$
BEGIN
    IF current_setting('server_version_num')::int >= 170000 THEN
        EXECUTE 'DROP EVENT TRIGGER IF EXISTS cdp_reader_logins';
        EXECUTE 'CREATE EVENT TRIGGER cdp_reader_logins ON login EXECUTE FUNCTION cdp_logins.note_login()';
    END IF;
END
$logins$""",
    ]


def restrict_statements(owner: str) -> list[str]:
    """The statements for the database of the store, for its superuser; `owner` is the role that owns the store."""
    return [
        f"""DO $restrict$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT p.oid::regprocedure AS name
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname LIKE ANY ({_array(FUNCTIONS)})
          AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee = 0))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', found.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', found.name, {_literal(owner)});
    END LOOP;
    FOR found IN
        SELECT c.oid::regclass AS name
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'v' AND c.relname LIKE ANY ({_array(VIEWS)})
          AND EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
    LOOP
        EXECUTE format('REVOKE SELECT ON pg_catalog.%s FROM PUBLIC', found.name);
        EXECUTE format('GRANT SELECT ON pg_catalog.%s TO %I', found.name, {_literal(owner)});
    END LOOP;
    EXECUTE format('GRANT SELECT ON pg_catalog.pg_class TO %I', {_literal(owner)});
    REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC;
    EXECUTE (
        SELECT format('GRANT SELECT (%s) ON pg_catalog.pg_class TO PUBLIC', string_agg(attname, ', '))
        FROM pg_catalog.pg_attribute
        WHERE attrelid = 'pg_catalog.pg_class'::regclass AND NOT attname = ANY ({_array(HIDDEN_COLUMNS)})
          AND NOT attisdropped
    );
END
$restrict$""",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        f"GRANT USAGE ON LANGUAGE plpgsql TO {_name(owner)}",
        *_note_logins(owner),
    ]


def restrict_server_statements(owner: str) -> list[str]:
    """The statements for the whole server, for a superuser: its log, temporary files, and the roles that watching takes."""
    return [
        # A login can have its statements printed (debug_print_plan) and its errors end the session, which makes them FATAL
        # (exit_on_error): both with the values in them.
        "ALTER ROLE ALL SET log_min_messages = 'panic'",
        "ALTER ROLE ALL SET temp_file_limit = '1GB'",
        f"ALTER ROLE {_name(owner)} SET temp_file_limit = -1",
        f"GRANT pg_read_all_stats, pg_signal_backend TO {_name(owner)}",
    ]


def restrict_database_statements(database: str, others: Sequence[str]) -> list[str]:
    """The statements that close the other databases of a server to its logins, and temporary tables in that of the store."""
    return [
        f"REVOKE TEMPORARY, CONNECT ON DATABASE {_name(database)} FROM PUBLIC",
        *(f"REVOKE CONNECT, TEMPORARY ON DATABASE {_name(other)} FROM PUBLIC" for other in others),
    ]
