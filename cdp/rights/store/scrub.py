"""SQL of the scrub: rewriting tables with pseudonyms and keys, and starting a new segment of the write-ahead log.

A deleted row stays in heap and index pages until its table is rewritten, and in the write-ahead log until its segment
is removed (docs/reference/erasure.md, "Scrub"). These statements run outside a transaction, as PostgreSQL requires.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import psycopg
from psycopg import sql

from cdp.kit.db import Database, Transaction
from cdp.schema.all import tables
from cdp.schema.dictionary import declaration_of

_KEY_SUFFIXES: Final = ("pseudonym", "wrapped")
"""Suffixes of the names of columns that must not remain on disk after an erasure; sealed columns may."""

_SETTINGS: Final = {
    "wal_recycle": ("off", "wal_recycling"),
    "archive_mode": ("off", "wal_archive"),
    "log_statement": ("none", "server_log"),
    "log_min_duration_statement": ("-1", "server_log"),
    "log_min_error_statement": ("panic", "server_log"),
    "log_parameter_max_length_on_error": ("0", "server_log"),
}
"""The required value of each setting, and what cannot be scrubbed where it differs."""

_LOCK_TIMEOUT: Final = "3s"
_WAIT_TENTHS: Final = 50

# A running transaction keeps deleted rows from removal through its snapshot (backend_xmin) and its own id.
_OLDER_SNAPSHOT: Final = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()
          AND greatest(age(backend_xmin), age(backend_xid)) > age((%(transaction)s::text)::xid8::xid)
    )
"""


def tables_to_rewrite() -> list[str]:
    """The tables with pseudonyms or keys of people, computed from the data dictionary."""
    return [
        table.fullname
        for table in tables()
        if any(
            column.name.endswith(_KEY_SUFFIXES)
            and (declared := declaration_of(column)) is not None
            and declared.is_personal
            for column in table.columns
        )
    ]


def current_transaction_id(tx: Transaction) -> int:
    """The id of this transaction: everything deleted before this call was deleted by a smaller one."""
    ((transaction_id,),) = tx.execute("SELECT (pg_current_xact_id()::text)::bigint")
    return int(transaction_id)


def has_older_snapshot(tx: Transaction, transaction_id: int) -> bool:
    """Whether another session may still see rows that were deleted before this transaction id was assigned.

    While one does, a rewritten table keeps those rows. Waits up to five seconds for such sessions to end.
    """
    for _ in range(_WAIT_TENTHS):
        ((has_older,),) = tx.execute(_OLDER_SNAPSHOT, {"transaction": str(transaction_id)})
        if not has_older:
            return False
        tx.execute("SELECT pg_sleep(0.1), pg_stat_clear_snapshot()")
    return True


def rewrite_table(database: Database, table: str) -> bool:
    """Rewrite a table and its indexes without deleted rows; False where this role may not, or others read the table.

    Waits for readers at most three seconds, because later statements queue behind it.
    """
    name = sql.Identifier(*table.split("."))
    return _run_outside(database, [sql.SQL("VACUUM (FULL, ANALYZE) {}").format(name)])


def switch_wal(database: Database) -> list[str]:
    """Start a new segment of the write-ahead log and release older ones; returns the operations this role may not do."""
    refused = []
    if not _run_outside(database, [sql.SQL("SELECT pg_switch_wal()")]):
        refused.append("wal_switch")
    if not _run_outside(database, [sql.SQL("CHECKPOINT")]):
        refused.append("checkpoint")
    return refused


def unscrubbable_residue(tx: Transaction) -> list[str]:
    """Where this server keeps bytes that a scrub cannot reach, as names for the audit log, sorted."""
    rows = tx.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s::text[])", {"names": list(_SETTINGS)}
    )
    found = {residue for name, setting in rows for required, residue in [_SETTINGS[name]] if setting != required}
    ((can_see_snapshots, has_replication_slot),) = tx.execute(
        "SELECT pg_has_role('pg_read_all_stats', 'USAGE'), EXISTS (SELECT FROM pg_replication_slots)"
    )
    if not can_see_snapshots:
        found.add("unseen_snapshots")
    if has_replication_slot:
        found.add("replication_slot")
    return sorted(found)


def note_scrub(tx: Transaction, scrub_entries: Mapping[int, int], *, is_scrubbed: bool) -> None:
    """Store the audit entry that states the scrub of each request, by request id."""
    tx.execute(
        """
        UPDATE rights.request AS r
        SET scrub_entry_id = stated.entry_id, is_scrubbed = %(is_scrubbed)s
        FROM unnest(%(requests)s::bigint[], %(entries)s::bigint[]) AS stated (request_id, entry_id)
        WHERE r.request_id = stated.request_id
        """,
        {
            "requests": list(scrub_entries),
            "entries": list(scrub_entries.values()),
            "is_scrubbed": is_scrubbed,
        },
    )


def _run_outside(database: Database, statements: Sequence[sql.SQL | sql.Composed]) -> bool:
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
