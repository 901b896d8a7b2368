"""Filling tables fast: rows first, then their keys and indexes, built from the declared schema."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Table, text
from sqlalchemy.schema import AddConstraint, DropConstraint, DropIndex

from cdp.kit.db import Database


@contextmanager
def without_keys(database: Database, *tables: Table) -> Iterator[None]:
    """Let a block write rows without keys and indexes, and build these afterwards, which takes a fraction of the time."""
    indexes = [index for table in tables for index in sorted(table.indexes, key=lambda index: str(index.name))]
    with database.transaction() as tx:
        for table in tables:
            tx.execute_core(DropConstraint(table.primary_key))
        for index in indexes:
            tx.execute_core(DropIndex(index))
    yield
    with database.transaction() as tx:
        tx.execute_core(text("SET LOCAL maintenance_work_mem = '512MB'"))
        for table in tables:
            tx.execute_core(AddConstraint(table.primary_key))
        for index in indexes:
            index.create(tx.connection)


def settle_down(database: Database) -> None:
    """Leave nothing to vacuum and nothing to write back."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
