"""The comments that a migrated database shows are those that `cdp.schema` declares."""

import pytest

from cdp.kit.db import Database
from cdp.schema.all import tables

pytestmark = pytest.mark.postgres


def test_a_migrated_database_has_the_declared_comment_on_every_table(database: Database) -> None:
    with database.transaction(read_only=True) as tx:
        rows = tx.execute(
            """
            SELECT n.nspname || '.' || c.relname, obj_description(c.oid, 'pg_class')
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND obj_description(c.oid, 'pg_class') IS NOT NULL
            """
        )
    assert dict(rows) == {table.fullname: table.comment for table in tables() if table.comment}
