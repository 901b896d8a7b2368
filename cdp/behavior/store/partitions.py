"""SQL of event partitions: one table per retention class, within it one per month."""

from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from psycopg import sql

from cdp.behavior.retention import Month, class_partition, month_partition
from cdp.kit.db import Database, Transaction
from cdp.schema.part_grants import grant_partition

_SCHEMA: Final = "behavior"

_cached: WeakKeyDictionary[Database, set[tuple[str, Month]]] = WeakKeyDictionary()


def ensure_partitions(database: Database, needed: Iterable[tuple[str, Month]]) -> None:
    """Create the partitions of each (retention class, month), in a short transaction of its own.

    Existing ones are cached per process, so that usually no statement is sent. Partitions are created separately and
    then attached, which blocks neither readers nor writers.
    """
    cached = _cached.setdefault(database, set())
    missing = sorted(set(needed) - cached)
    if not missing:
        return
    with database.transaction() as tx:
        tx.execute(
            "LOCK TABLE ONLY behavior.event IN SHARE UPDATE EXCLUSIVE MODE"
        )  # one transaction creates partitions at a time
        present = _present(tx)
        for retention_class in sorted({retention_class for retention_class, _ in missing}):
            if class_partition(retention_class) not in present:
                _attach_class(tx, retention_class)
        for retention_class, month in missing:
            if month_partition(retention_class, month) not in present:
                _attach_month(tx, retention_class, month)
    cached.update(missing)


def clear_partition_cache(database: Database) -> None:
    """Look up existing partitions again: another policy may keep for longer what an earlier one has dropped."""
    _cached.pop(database, None)


def _present(tx: Transaction) -> set[str]:
    """Names of all partitions of behavior.event, classes and months."""
    rows = tx.execute(
        "SELECT c.relname::text FROM pg_partition_tree('behavior.event') t JOIN pg_class c ON c.oid = t.relid"
    )
    return {name for (name,) in rows}


def _attach_class(tx: Transaction, retention_class: str) -> None:
    name = sql.Identifier(_SCHEMA, class_partition(retention_class))
    tx.execute(
        sql.SQL(
            "CREATE TABLE {} (LIKE behavior.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
            "PARTITION BY RANGE (occurred_at)"
        ).format(name)
    )
    _keep_no_statistics(tx, name)
    tx.execute(
        sql.SQL("ALTER TABLE behavior.event ATTACH PARTITION {} FOR VALUES IN ({})").format(
            name, sql.Literal(retention_class)
        )
    )
    grant_partition(tx, name, f"{_SCHEMA}.event")


def _attach_month(tx: Transaction, retention_class: str, month: Month) -> None:
    parent = sql.Identifier(_SCHEMA, class_partition(retention_class))
    leaf = sql.Identifier(_SCHEMA, month_partition(retention_class, month))
    tx.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(leaf, parent))
    _keep_no_statistics(tx, leaf)
    tx.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            parent, leaf, sql.Literal(month.start.isoformat()), sql.Literal(month.end.isoformat())
        )
    )
    grant_partition(tx, leaf, f"{_SCHEMA}.event")


def _keep_no_statistics(tx: Transaction, table: sql.Identifier) -> None:
    """Keep sealed bytes out of pg_statistic, where they would survive an erasure; LIKE does not copy the setting."""
    tx.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN sealed SET STATISTICS 0").format(table))
