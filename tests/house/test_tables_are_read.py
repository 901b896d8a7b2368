"""Every table has a reader in the product: what is only ever written serves nobody."""

import ast
import re

import pytest

from cdp.rights.plan import export_plan
from cdp.schema.all import tables
from tests.support.source_tree import ROOT

_READ = re.compile(r"(?i)\b(?<!delete )(?:from|join)\s+([a-z_]+\.[a-z_]+)")
_ONLY_WRITES = re.compile(r"(?is)^\s*(?:delete|truncate)\b")


_COUNTER = re.compile(r"(?is)^\s*insert\s+into\s+([a-z_]+\.[a-z_]+).*\bon\s+conflict\b.*\breturning\b")


def tables_read(text: str) -> set[str]:
    """The tables that a statement reads for an answer; deleting rows is not reading them, counting up and telling is."""
    return set() if _ONLY_WRITES.match(text) else {*_READ.findall(text), *_COUNTER.findall(text)}


def read_by_the_product() -> set[str]:
    """The tables that a statement of the product reads, except those of the sweeps, and those that people are shown."""
    found = {section.table for section in export_plan()}
    for path in (ROOT / "cdp").rglob("*.py"):
        if "sweep" not in path.name:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= tables_read(node.value)
    return found


def test_every_table_has_a_reader() -> None:
    assert {table.fullname for table in tables()} - read_by_the_product() == set()


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("SELECT a FROM rights.hold", {"rights.hold"}),
        ("SELECT a FROM x.y JOIN rights.hold USING (a)", {"x.y", "rights.hold"}),
        ("DELETE FROM rights.hold WHERE id IN (SELECT id FROM rights.hold)", set()),
        ("WITH gone AS (DELETE FROM rights.hold RETURNING 1) SELECT count(*) FROM gone", set()),
        ("INSERT INTO rights.hold VALUES (1)", set()),
        ("INSERT INTO a.b VALUES (1) ON CONFLICT (c) DO UPDATE SET n = 1 RETURNING n", {"a.b"}),
    ],
)
def test_a_table_that_is_only_written_is_found(statement: str, read: set[str]) -> None:
    assert tables_read(statement) == read
