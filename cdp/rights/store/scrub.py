"""SQL of the scrub: rewriting what held pseudonyms and keys, and letting go of the log that carried them.

A deleted row stays in heap and index pages until its table is rewritten, and in the write-ahead log until its segment
is gone (rights.md, Erasure). These statements run outside a transaction, as PostgreSQL demands.
"""

from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import text

from cdp.kit.db import Database, Transaction
from cdp.schema.all import tables
from cdp.schema.dictionary import declaration_of

_TELLING: Final = ("pseudonym", "wrapped")
"""Ends of the names of columns whose bytes would say something after an erasure; sealed ones say nothing."""

_SETTINGS: Final = {
    "wal_recycle": ("off", "wal_recycling"),
    "archive_mode": ("off", "wal_archive"),
    "log_statement": ("none", "server_log"),
    "log_min_duration_statement": ("-1", "server_log"),
    "log_min_error_statement": ("panic", "server_log"),
    "log_parameter_max_length_on_error": ("0", "server_log"),
}
"""What each setting must be, and what cannot be scrubbed where it is not."""


_LOCK_TIMEOUT: Final = "3s"
_PATIENCE_TENTHS: Final = 50

# A running transaction holds deleted rows back by the oldest number it may not see as ended, and by its own.
_OLDER: Final = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()
          AND greatest(age(backend_xmin), age(backend_xid)) > age((%(begun)s::text)::xid8::xid)
    )
"""


def telling_tables() -> list[str]:
    """The tables that hold pseudonyms or keys of people, computed from the data dictionary."""
    return [
        table.fullname
        for table in tables()
        if any(
            column.name.endswith(_TELLING) and (declared := declaration_of(column)) is not None and declared.is_personal
            for column in table.columns
        )
    ]


def horizon(tx: Transaction) -> int:
    """A transaction number: whatever was deleted before this call was deleted by a smaller one."""
    return int(tx.execute("SELECT (pg_current_xact_id()::text)::bigint")[0][0])


def sees_older(tx: Transaction, begun: int) -> bool:
    """Whether some other session still sees, or may see, rows that were deleted before `horizon` gave this number.

    While one does, a rewritten table keeps them. Waits a little for those that are about to end.
    """
    for _ in range(_PATIENCE_TENTHS):
        if not tx.execute(_OLDER, {"begun": str(begun)})[0][0]:
            return False
        tx.execute("SELECT pg_sleep(0.1), pg_stat_clear_snapshot()")
    return True


def rewrite(database: Database, table: str) -> bool:
    """Write a table and its indexes anew without what was deleted; False where this role may not, or others read it.

    It waits for readers no longer than three seconds, because whoever comes after waits behind it.
    """
    name = sql.Identifier(*table.split("."))
    return _outside(database, [sql.SQL("VACUUM (FULL, ANALYZE) {}").format(name)])


def renew_log(database: Database) -> list[str]:
    """Begin a new segment of the write-ahead log and let go of the older ones; what this role may not do."""
    refused = []
    if not _outside(database, [sql.SQL("SELECT pg_switch_wal()")]):
        refused.append("wal_switch")
    if not _outside(database, [sql.SQL("CHECKPOINT")]):
        refused.append("checkpoint")
    return refused


def residue_kept(tx: Transaction) -> list[str]:
    """Where this server keeps bytes that no scrub of ours reaches, as words of the audit log."""
    rows = tx.all(text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": list(_SETTINGS)})
    found = {word for name, setting in rows for right, word in [_SETTINGS[name]] if setting != right}
    if not tx.scalar(text("SELECT pg_has_role('pg_read_all_stats', 'USAGE')")):
        found.add("unseen_snapshots")
    if tx.scalar(text("SELECT EXISTS (SELECT FROM pg_replication_slots)")):
        found.add("replication_slot")
    return sorted(found)


def _outside(database: Database, statements: Sequence[sql.SQL | sql.Composed]) -> bool:
    with database.outside() as raw:
        usual = raw.execute("SELECT current_setting('lock_timeout')").fetchone()
        assert usual is not None
        raw.execute("SELECT set_config('lock_timeout', %s, false)", [_LOCK_TIMEOUT])
        try:
            for statement in statements:
                raw.execute(statement)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
            return False
        finally:
            if not raw.closed:
                raw.execute("SELECT set_config('lock_timeout', %s, false)", usual)
    return True
