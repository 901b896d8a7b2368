"""SQL of backups: a snapshot that pg_dump shares, what it contains, and a database made ready for a restore."""

from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from cdp.kit.db import Transaction

# What a restored backup is compared by: a table of each kind of data.
COUNTED = (
    ("identity", "profile"),
    ("identity", "identifier"),
    ("consent", "record"),
    ("behavior", "event"),
    ("vault", "subject_key"),
    ("rights", "suppression"),
    ("audit", "entry"),
)


def server_major(tx: Transaction) -> int:
    """The major version of the server."""
    return int(tx.execute("SELECT current_setting('server_version_num')::int / 10000")[0][0])


def export_snapshot(tx: Transaction) -> str:
    """An id under which other sessions see what this transaction sees, for as long as it is open."""
    return str(tx.execute("SELECT pg_export_snapshot()")[0][0])


def count_rows(tx: Transaction) -> dict[str, int]:
    """The rows of the counted tables."""
    counts = {}
    for table in COUNTED:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table))
        counts[".".join(table)] = int(tx.execute(query)[0][0])
    return counts


def granted_roles(tx: Transaction, schemas: Sequence[str]) -> list[str]:
    """The roles, other than the owner, that have privileges in these schemas: a restore needs them to exist."""
    rows = tx.execute(
        """
        SELECT DISTINCT r.rolname
        FROM (
            SELECT (aclexplode(c.relacl)).grantee FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = ANY(%(schemas)s)
            UNION SELECT (aclexplode(nspacl)).grantee FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
            UNION SELECT (aclexplode(p.proacl)).grantee FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = ANY(%(schemas)s)
        ) AS granted JOIN pg_roles r ON r.oid = granted.grantee
        WHERE r.rolname <> current_user
        ORDER BY r.rolname
        """,
        {"schemas": list(schemas)},
    )
    return [name for (name,) in rows]


def create_missing_roles(tx: Transaction, names: Iterable[str]) -> None:
    """Create those of these roles that do not exist, without a login."""
    existing = {name for (name,) in tx.execute("SELECT rolname::text FROM pg_roles")}
    for name in sorted(set(names) - existing):
        tx.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        # A role of a part that bears this mark is taken over by the service.
        mark = sql.Literal(f"cdp: made for a restore of the database {name}")
        tx.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), mark))


def count_other_sessions(tx: Transaction, application: str) -> int:
    """How many other sessions of this application, or of one of its pools, use the database."""
    rows = tx.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND (application_name = %(application)s OR starts_with(application_name, %(application)s || '-'))",
        {"application": application},
    )
    return int(rows[0][0])


def existing_schemas(tx: Transaction, schemas: Sequence[str]) -> list[str]:
    """Those of these schemas that the database has."""
    rows = tx.execute(
        "SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%(schemas)s)", {"schemas": list(schemas)}
    )
    return [name for (name,) in rows]


def drop_store(tx: Transaction, schemas: Iterable[str]) -> None:
    """Drop these schemas with everything in them, and the version of the schema."""
    for schema in schemas:
        tx.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    tx.execute("DROP TABLE IF EXISTS public.schema_version")


def differing(expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """The tables that have another number of rows than expected."""
    return sorted(table for table, count in expected.items() if found.get(table) != count)
