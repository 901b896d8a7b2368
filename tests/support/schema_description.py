"""The schema of a database as comparable values, read from PostgreSQL's catalog and not from the code under test."""

from typing import Final, LiteralString

import psycopg

from tests.support.databases import plain_url

_OURS: Final[LiteralString] = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relname !~ '^event_'"
"""Partitions of `behavior.event` are created when the first event of a class arrives: they depend on the data."""

_GRANTED: Final[LiteralString] = (
    "(SELECT array_agg(a.grantee::regrole::text || ' ' || a.privilege_type ORDER BY a.grantee::regrole::text, a.privilege_type) FROM aclexplode({}) AS a)::text"
)

_QUERIES: Final[dict[str, LiteralString]] = {
    "schema": "SELECT n.nspname, "
    + _GRANTED.format("coalesce(n.nspacl, acldefault('n', n.nspowner))")
    + " FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "relation": "SELECT c.oid::regclass::text, c.relkind::text, c.relpersistence::text, c.relispartition, "
    "c.relrowsecurity, c.reloptions::text, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), "
    "obj_description(c.oid, 'pg_class'), c.relowner::regrole::text, "
    + _GRANTED.format("coalesce(c.relacl, acldefault('r', c.relowner))")
    + f" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'S') AND {_OURS}",
    "column": "SELECT c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text, coalesce(a.attstattarget, -1), "
    "col_description(c.oid, a.attnum), a.attcollation::regcollation::text, "
    + _GRANTED.format("a.attacl")
    + " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
    f"WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v') AND {_OURS}",
    # Not-null constraints are compared as a property of the column: only some versions of the server name them.
    "constraint": "SELECT c.oid::regclass::text, k.conname, pg_get_constraintdef(k.oid), "
    "obj_description(k.oid, 'pg_constraint') FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype <> 'n' AND {_OURS}",
    "index": "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid, "
    "obj_description(i.indexrelid, 'pg_class') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}",
    "trigger": "SELECT c.oid::regclass::text, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text FROM pg_trigger t "
    "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE NOT t.tgisinternal AND {_OURS}",
    "policy": "SELECT c.oid::regclass::text, p.polname, p.polcmd::text, p.polpermissive, "
    "p.polroles::regrole[]::text, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid) FROM pg_policy p "
    f"JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}",
    "function": "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proowner::regrole::text, "
    + _GRANTED.format("coalesce(p.proacl, acldefault('f', p.proowner))")
    + " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
    "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
}


def describe_schema(url: str) -> set[str]:
    """One line per schema, relation, column, constraint, index, trigger, policy and function, privileges included."""
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute("SET search_path = ''")
        return {f"{kind}: {row}" for kind, query in _QUERIES.items() for row in connection.execute(query).fetchall()}
