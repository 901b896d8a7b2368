"""SQL of the recorded sessions of readers: SQL logins that may read a projection.

The database writes them by functions of its own (`cdp.schema.reader_sessions`), with its clock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cdp.kit.db import Transaction
from cdp.policy.model import MARKETER
from cdp.schema.consent import projection_of

_MARKETERS = projection_of("")
_OTHERS = "projection_"


@dataclass(frozen=True, slots=True)
class ReaderAccess:
    """A projection that a login could read: the role that it is made for, and its purpose.

    `role` and `purpose` are None for a table that contains those of several.
    """

    table: str
    role: str | None
    purpose: str | None

    @classmethod
    def of_table(cls, table: str) -> Self:
        """By the name of a table of the schema `consent`."""
        if table.startswith(_MARKETERS):
            return cls(table, MARKETER, table.removeprefix(_MARKETERS))
        role, _, purpose = table.removeprefix(_OTHERS).partition("_")
        return cls(table, role, purpose or None) if table.startswith(_OTHERS) else cls(table, None, None)


@dataclass(frozen=True, slots=True)
class ReaderSession:
    """A session of a reader's login.

    It began at `started_at`, still existed at `seen_at`, and had ended by `gone_at` (None: it was not found ended yet).
    `could_read` are the projections that the login could read while it lasted; what it did read, nobody records.
    """

    login: str
    started_at: datetime
    seen_at: datetime
    gone_at: datetime | None
    could_read: tuple[ReaderAccess, ...]


def note_sessions(tx: Transaction) -> None:
    """Record the sessions of readers that exist now, and close those that do not."""
    tx.execute("SELECT consent.note_reader_sessions(NULL)")
    # What was seen before this transaction began, and is not among the sessions that it sees, has ended.
    tx.execute(
        """
        WITH gone AS (
            SELECT s.started_at, s.pid
            FROM consent.reader_session AS s
            WHERE s.gone_at IS NULL AND s.seen_at < transaction_timestamp()
              AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = s.pid AND a.backend_start = s.started_at)
            ORDER BY s.started_at, s.pid
            FOR UPDATE SKIP LOCKED
        )
        UPDATE consent.reader_session AS s
        SET gone_at = greatest(s.seen_at, clock_timestamp())
        FROM gone
        WHERE s.started_at = gone.started_at AND s.pid = gone.pid
        """
    )


def sessions(tx: Transaction, *, since: datetime | None, until: datetime | None, limit: int) -> list[ReaderSession]:
    """The sessions that existed in a period, those that began last first; `until` is not part of it."""
    rows = tx.execute(
        """
        SELECT login, started_at, seen_at, gone_at, tables
        FROM consent.reader_session
        WHERE (%(since)s::timestamptz IS NULL OR gone_at IS NULL OR gone_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)
        ORDER BY started_at DESC, pid DESC
        LIMIT %(limit)s
        """,
        {"since": since, "until": until, "limit": limit},
    )
    return [
        ReaderSession(login, started_at, seen_at, gone_at, tuple(map(ReaderAccess.of_table, tables)))
        for login, started_at, seen_at, gone_at, tables in rows
    ]
