"""The walls that are finer than packages: which files may decide, speak SQL, read the clock, commit.

The coarse ones are import contracts in pyproject.toml.
"""

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from cdp.schema.all import tables
from tests.support.source_tree import Source, dotted, imported, read, service

PURE = (
    "cdp/identity/normalize.py", "cdp/identity/resolve.py", "cdp/identity/reach.py", "cdp/consent/decide.py",
    "cdp/behavior/decay.py", "cdp/behavior/retention.py", "cdp/query/language/*.py", "cdp/query/reference/*.py",
    "cdp/rights/lifecycle.py", "cdp/rights/plan.py", "cdp/audit/merkle.py", "cdp/audit/checkpoint.py",
    "cdp/audit/verify.py", "cdp/wire/*.py",
)  # fmt: skip
IMPURE = (
    "sqlalchemy", "psycopg", "cryptography", "fastapi", "starlette", "jinja2", "httpx", "cdp.kit.db", "cdp.kit.config",
    "cdp.postgres", "cdp.schema", "cdp.vault", "os.environ", "os.getenv",
)  # fmt: skip
# The plan is computed from the declarations of the columns, so it reads the schema; it still talks to no database.
PLAN_MAY = ("cdp.schema", "sqlalchemy")

SPEAKS_SQL = (
    "cdp/kit/db.py",
    "cdp/kit/db_faults.py",
    "cdp/kit/db_pool.py",
    "cdp/schema/*.py",
    "cdp/*/store/*.py",
    "cdp/vault/store.py",
    "cdp/query/postgres/*.py",
    "cdp/rights/plan*.py",
    "cdp/rights/execute*.py",
)
# Tables that every store may join: who is whom, and who is permitted.
SHARED_TABLES = {"identity.canonical", "consent.permitted"}
# The PostgreSQL engine reads what the language names.
READS_OTHER_COMPONENTS = ("cdp/query/postgres/*.py", "cdp/schema/*.py")

CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "datetime.datetime.utcnow",
    "datetime.date.today", "time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.strftime",
}  # fmt: skip
RANDOMNESS = {"os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7"}
RANDOM_MODULES = ("random", "secrets", "numpy.random", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7", "os.urandom")

SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|TRUNCATE|COPY|WITH|MERGE|SET|CALL)\s"
)
# Text made of constants of our own where no parameter can go. Each line: where, and why it is safe.
COMPOSED_SQL = {
    "cdp/postgres/cluster.py": "single-user mode knows no parameters; role names are constants, passwords our own",
    "cdp/postgres/login_rights.py": "statements that a superuser runs by other programs; names are quoted, patterns are constants",
    "cdp/schema/ddl.py": "definitions of tables, made of the names we declared",
    "cdp/schema/version.py": "definitions of triggers, made of the names we declared",
}


def starts(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def impurities(source: Source) -> list[str]:
    """What a pure file imports that a decision must not know."""
    if not source.matches(*PURE):
        return []
    allowed = PLAN_MAY if source.path == "cdp/rights/plan.py" else ()
    own_store = f"cdp.{source.path.split('/')[1]}.store"
    return [
        f"{source.path}:{line}: a pure file imports {name}"
        for name, line in imported(source)
        if (starts(name, IMPURE) or name.startswith(own_store)) and not starts(name, allowed)
    ]


def sql_elsewhere(source: Source) -> list[str]:
    """Imports of the database outside the files that speak SQL."""
    if source.matches(*SPEAKS_SQL):
        return []
    return [
        f"{source.path}:{line}: imports {name}"
        for name, line in imported(source)
        if starts(name, ("sqlalchemy", "psycopg", "alembic"))
    ]


def clocks(source: Source) -> list[str]:
    if source.path == "cdp/kit/clock.py":
        return []
    return [f"{source.path}:{line}: reads the clock with {name}" for name, line in called(source) if name in CLOCKS]


def randomness(source: Source) -> list[str]:
    if source.path == "cdp/kit/ids.py":
        return []
    imports = [
        f"{source.path}:{line}: imports {name}" for name, line in imported(source) if starts(name, RANDOM_MODULES)
    ]
    calls = [f"{source.path}:{line}: calls {name}" for name, line in called(source) if name in RANDOMNESS]
    return imports + calls


def commits(source: Source) -> list[str]:
    found = [f"{source.path}:{line}" for name, line in called(source) if name.rsplit(".", 1)[-1] == "commit"]
    return found + [
        f"{source.path}:{line}"
        for text, line in strings(source)
        if re.fullmatch(r"\s*COMMIT\s*;?\s*", text, re.IGNORECASE)
    ]


def composed_sql(source: Source) -> list[str]:
    """SQL glued together from strings, with an f-string, `%`, `+` or `str.format`."""
    if source.path in COMPOSED_SQL:
        return []
    return [
        f"{source.path}:{node.lineno}: glues SQL together"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.expr) and is_glued(node)
    ]


def is_glued(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        first = node.values[0] if node.values else None
        is_plain = all(isinstance(value, ast.Constant) for value in node.values)
        return is_sql(first) and not is_plain
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return is_sql(node.left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return is_sql(node.func.value)
    return False


def is_sql(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value) is not None


def foreign_tables(source: Source) -> list[str]:
    """Tables of another component, or of the key table's schema, named in SQL text."""
    component = source.path.split("/")[1]
    found = []
    for text, line in strings(source):
        if SQL.search(text) is None and "FROM " not in text:
            continue
        for schema, table in re.findall(r"\b([a-z]+)\.([a-z_]+)\b", text):
            name = f"{schema}.{table}"
            is_open = name in SHARED_TABLES or (schema != "vault" and source.matches(*READS_OTHER_COMPONENTS))
            if name in known_tables() and component not in (schema, "schema") and not is_open:
                found.append(f"{source.path}:{line}: names {name}, which is not its own")
    return found


def known_tables() -> set[str]:
    return {table.fullname for table in tables()}


def called(source: Source) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.lineno


def strings(source: Source) -> Iterator[tuple[str, int]]:
    """Every string that is no docstring."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value, node.lineno


WALLS: list[Callable[[Source], list[str]]] = [
    impurities, sql_elsewhere, clocks, randomness, composed_sql, foreign_tables,
]  # fmt: skip


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.__name__)
def test_the_wall_stands(wall: Callable[[Source], list[str]]) -> None:
    breaches = [finding for source in service() for finding in wall(source)]
    assert not breaches, "\n".join(breaches)


def test_commit_exists_once() -> None:
    found = [finding for source in service() for finding in commits(source)]
    assert [finding.split(":")[0] for finding in found] == ["cdp/kit/db.py"]


@pytest.mark.parametrize(
    ("wall", "path", "text"),
    [
        (impurities, "cdp/consent/decide.py", "from cdp.kit.db import Transaction"),
        (impurities, "cdp/consent/decide.py", "from cdp.consent.store.records import records_of"),
        (impurities, "cdp/audit/merkle.py", "import cryptography.hazmat"),
        (impurities, "cdp/rights/plan.py", "from cdp.kit.db import Transaction"),
        (sql_elsewhere, "cdp/flows/ingest/batch.py", "from sqlalchemy import text"),
        (sql_elsewhere, "cdp/consent/decide.py", "import psycopg.sql"),
        (clocks, "cdp/flows/ingest/batch.py", "from datetime import datetime\nx = datetime.now()"),
        (clocks, "cdp/flows/ingest/batch.py", "import time\nx = time.time()"),
        (randomness, "cdp/flows/ingest/batch.py", "import random"),
        (randomness, "cdp/flows/ingest/batch.py", "from uuid import uuid4"),
        (randomness, "cdp/vault/seal.py", "import os\nnonce = os.urandom(12)"),
        (commits, "cdp/flows/ingest/batch.py", "connection.commit()"),
        (commits, "cdp/flows/ingest/batch.py", "run('COMMIT')"),
        (composed_sql, "cdp/consent/store/records.py", "q = f'SELECT * FROM {table}'"),
        (composed_sql, "cdp/consent/store/records.py", "q = 'SELECT * FROM ' + table"),
        (composed_sql, "cdp/consent/store/records.py", "q = 'DELETE FROM %s' % table"),
        (composed_sql, "cdp/consent/store/records.py", "q = 'DELETE FROM {}'.format(table)"),
        (foreign_tables, "cdp/consent/store/records.py", "q = 'SELECT * FROM identity.identifier'"),
        (foreign_tables, "cdp/query/postgres/compile.py", "q = 'SELECT * FROM vault.subject_key'"),
    ],
)
def test_a_breach_is_found(wall: Callable[[Source], list[str]], path: str, text: str) -> None:
    assert len(wall(read(path, text))) == 1


@pytest.mark.parametrize(
    ("wall", "path", "text"),
    [
        (composed_sql, "cdp/consent/store/records.py", "q = sql.SQL('SELECT * FROM {}').format(sql.Identifier(table))"),
        (composed_sql, "cdp/consent/store/records.py", "q = f'{count} rows'"),
        (foreign_tables, "cdp/behavior/store/batch.py", "q = 'SELECT profile_id FROM identity.canonical'"),
        (foreign_tables, "cdp/vault/store.py", "q = 'SELECT * FROM vault.subject_key'"),
        (impurities, "cdp/flows/operations/retention.py", "from cdp.kit.db import Database"),
        (impurities, "cdp/rights/plan.py", "from cdp.schema.all import tables"),
    ],
)
def test_what_is_allowed_passes(wall: Callable[[Source], list[str]], path: str, text: str) -> None:
    assert wall(read(path, text)) == []
