"""SQL that makes the privileges of the roles of the parts exactly those of `cdp.schema.database_roles`."""

from collections.abc import Collection
from typing import NamedTuple

from psycopg import sql

from cdp.kit.db import Transaction
from cdp.schema.database_roles import FUNCTIONS, MATRIX, READ_BY_PARTITION, ROWS_SECURED, DatabaseRole


class Granted(NamedTuple):
    """One object of the store that a role may use: its kind and name, as PostgreSQL writes them."""

    kind: str
    name: str


Privileges = dict[Granted, frozenset[str]]


def wanted_privileges(tx: Transaction, part: DatabaseRole) -> Privileges:
    """What the role of a part should have: the matrix, the schemas and sequences that it needs, and partitions read by name."""
    tables = MATRIX[part]
    wanted: Privileges = {Granted("TABLE", table): verbs for table, verbs in tables.items()}
    for name in (*tables, *FUNCTIONS[part]):
        wanted[Granted("SCHEMA", name.partition(".")[0])] = frozenset({"USAGE"})
    for signature in FUNCTIONS[part]:
        wanted[Granted("FUNCTION", signature)] = frozenset({"EXECUTE"})
    rows = tx.execute(
        """
        SELECT 'SEQUENCE', s.oid::regclass::text, 'USAGE'
        FROM unnest(%(filled)s::text[]) AS t (name)
        JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.name::regclass AND d.refobjsubid > 0
            AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
        UNION
        SELECT 'TABLE', p.relid::regclass::text, 'SELECT'
        FROM unnest(%(read)s::text[]) AS t (name)
        CROSS JOIN pg_partition_tree(t.name::regclass) AS p
        WHERE p.level > 0
        """,
        {
            "filled": [table for table, verbs in tables.items() if "INSERT" in verbs],
            "read": [table for table in READ_BY_PARTITION if "SELECT" in tables.get(table, ())],
        },
    )
    return wanted | {Granted(kind, name): frozenset({verb}) for kind, name, verb in rows}


def found_privileges(tx: Transaction, role: str) -> Privileges:
    """What a role has in this database by itself, not through PUBLIC; that of a column is one of its table, as `UPDATE(column)`."""
    rows = tx.execute(
        """
        WITH role AS (SELECT oid FROM pg_roles WHERE rolname = %(role)s), found AS (
            SELECT 'SCHEMA' AS kind, n.nspname::text AS name, n.nspacl AS acl, '' AS of_column FROM pg_namespace AS n
            UNION ALL
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, c.relacl, ''
            FROM pg_class AS c
            UNION ALL
            SELECT 'TABLE', a.attrelid::regclass::text, a.attacl, '(' || quote_ident(a.attname) || ')'
            FROM pg_attribute AS a WHERE a.attacl IS NOT NULL
            UNION ALL
            SELECT 'FUNCTION', p.oid::regprocedure::text, p.proacl, '' FROM pg_proc AS p WHERE p.proacl IS NOT NULL
        )
        SELECT f.kind, f.name, array_agg(DISTINCT acl.privilege_type::text || f.of_column)
        FROM found AS f
        CROSS JOIN LATERAL aclexplode(f.acl) AS acl
        JOIN role ON role.oid = acl.grantee
        GROUP BY f.kind, f.name
        """,
        {"role": role},
    )
    return {Granted(kind, name): frozenset(verbs) for kind, name, verbs in rows}


def grant(tx: Transaction, part: DatabaseRole, role: str) -> int:
    """Make the privileges of a role those of a part, and let it see all rows; returns how many objects differed."""
    differing = _change(tx, role, found=found_privileges(tx, role), wanted=wanted_privileges(tx, part))
    read = [table for table in ROWS_SECURED if "SELECT" in MATRIX[part].get(table, ())]
    return differing + _show_rows(tx, role, read)


def revoke_all(tx: Transaction, role: str) -> int:
    """Take every privilege in this database from a role; returns on how many objects it had any."""
    return _change(tx, role, found=found_privileges(tx, role), wanted={}) + _show_rows(tx, role, ())


def grant_partition(tx: Transaction, partition: sql.Identifier, parent: str) -> None:
    """Let the parts that read a table read a new partition of it by name."""
    rows = tx.execute(
        """
        SELECT DISTINCT r.rolname::text
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles AS r ON r.oid = acl.grantee
        JOIN operations.part_role AS d ON d.role_name = r.rolname
        WHERE c.oid = %(parent)s::regclass AND acl.privilege_type = 'SELECT'
        ORDER BY 1
        """,
        {"parent": parent},
    )
    for (role,) in rows:
        tx.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(partition, sql.Identifier(role)))
        if parent in ROWS_SECURED:
            _add_policy(tx, partition, role)


def _show_rows(tx: Transaction, role: str, tables: Collection[str]) -> int:
    """Let a role see all rows of the partitions of these tables, and of no others; returns at how many this was changed.

    A partition with row security that is read by its name shows a role without a policy no row, and no error.
    """
    rows = tx.execute(
        """
        WITH wanted AS (
            SELECT p.relid::oid AS oid
            FROM unnest(%(tables)s::text[]) AS t (name)
            CROSS JOIN pg_partition_tree(t.name::regclass) AS p
            WHERE p.level > 0
        ), found AS (
            SELECT polrelid AS oid FROM pg_policy
            WHERE polname = %(role)s AND polroles = ARRAY[to_regrole(quote_ident(%(role)s))::oid]
        )
        SELECT n.nspname::text, c.relname::text, found.oid IS NULL
        FROM wanted FULL JOIN found ON found.oid = wanted.oid
        JOIN pg_class AS c ON c.oid = coalesce(wanted.oid, found.oid)
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE wanted.oid IS NULL OR found.oid IS NULL
        ORDER BY 1, 2
        """,
        {"tables": list(tables), "role": role},
    )
    for schema, name, is_missing in rows:
        table = sql.Identifier(schema, name)
        if is_missing:
            _add_policy(tx, table, role)
        else:
            tx.execute(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(role), table))
    return len(rows)


def _add_policy(tx: Transaction, table: sql.Identifier, role: str) -> None:
    name = sql.Identifier(role)
    tx.execute(sql.SQL("CREATE POLICY {} ON {} FOR SELECT TO {} USING (true)").format(name, table, name))


def _change(tx: Transaction, role: str, *, found: Privileges, wanted: Privileges) -> int:
    nothing: frozenset[str] = frozenset()
    differing = sorted(
        granted for granted in found.keys() | wanted if found.get(granted, nothing) != wanted.get(granted, nothing)
    )
    for granted in differing:
        on = sql.SQL(f"{granted.kind} {granted.name}")
        if found.get(granted):
            tx.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(on, sql.Identifier(role)))
        verbs = sorted(wanted.get(granted, nothing))
        if verbs:
            listed = sql.SQL(", ".join(verbs))
            tx.execute(sql.SQL("GRANT {} ON {} TO {}").format(listed, on, sql.Identifier(role)))
    return len(differing)
