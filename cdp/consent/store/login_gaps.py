"""SQL of what this server leaves to the logins of readers: rights that only its administrator can take away."""

from typing import NamedTuple

from cdp.kit.db import Transaction
from cdp.postgres.login_rights import FUNCTIONS, HIDDEN_COLUMNS, VIEWS


class Gap(NamedTuple):
    """Something that a reader's login may do on this server, and the names of what it concerns."""

    name: str
    concerns: tuple[str, ...]


def login_gaps(tx: Transaction) -> list[Gap]:
    """What is left to the logins of readers, sorted by name; empty where everything is taken away."""
    rows = tx.execute(
        """
        SELECT 'catalog_functions' AS gap, p.proname::text AS concerns
        FROM pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname LIKE ANY (%(functions)s::text[])
          AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee = 0))
        UNION
        SELECT 'catalog_views', c.relname::text
        FROM pg_class AS c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'v' AND c.relname LIKE ANY (%(views)s::text[])
          AND EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
        UNION
        SELECT 'row_counts', a.attname::text
        FROM pg_attribute AS a
        WHERE a.attrelid = 'pg_class'::regclass AND a.attname = ANY (%(columns)s::text[])
          AND EXISTS (
              SELECT FROM pg_class AS c
              WHERE c.oid = a.attrelid AND EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
          )
        UNION
        SELECT 'other_databases', d.datname::text
        FROM pg_database AS d
        WHERE d.datallowconn AND d.datname <> current_database()
          AND EXISTS (
              SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba)))
              WHERE grantee = 0 AND privilege_type = 'CONNECT'
          )
        UNION
        SELECT 'temporary_tables', d.datname::text
        FROM pg_database AS d
        WHERE d.datname = current_database() AND EXISTS (
            SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba)))
            WHERE grantee = 0 AND privilege_type = 'TEMPORARY'
        )
        UNION
        SELECT 'code_blocks', l.lanname::text
        FROM pg_language AS l
        WHERE l.lanname = 'plpgsql' AND EXISTS (
            SELECT FROM aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) WHERE grantee = 0
        )
        UNION
        SELECT 'server_log', 'log_min_messages' WHERE current_setting('log_min_messages') <> 'panic'
        UNION
        SELECT 'temporary_files', 'temp_file_limit'
        WHERE NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
            WHERE s.setrole = 0 AND setting LIKE 'temp_file_limit=%%' AND setting <> 'temp_file_limit=-1'
        )
        UNION
        SELECT 'sessions', r.name
        FROM unnest(ARRAY['pg_read_all_stats', 'pg_signal_backend']) AS r (name)
        WHERE NOT pg_has_role(r.name, 'USAGE')
        UNION
        SELECT 'short_sessions', 'cdp_reader_logins'
        WHERE current_setting('server_version_num')::int >= 170000 AND NOT EXISTS (
            SELECT FROM pg_event_trigger WHERE evtname = 'cdp_reader_logins' AND evtevent = 'login' AND evtenabled IN ('O', 'A')
        )
        ORDER BY gap, concerns
        """,
        {"functions": list(FUNCTIONS), "views": list(VIEWS), "columns": list(HIDDEN_COLUMNS)},
    )
    found: dict[str, list[str]] = {}
    for name, concerns in rows:
        found.setdefault(name, []).append(concerns)
    return [Gap(name, tuple(concerns)) for name, concerns in found.items()]


def owner_and_database(tx: Transaction) -> tuple[str, str]:
    """The role of the service, and its database."""
    ((owner, database),) = tx.execute("SELECT current_user::text, current_database()::text")
    return owner, database
