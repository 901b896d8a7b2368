"""SQL of the replay file's place: which file belongs to this database, and how far the database has followed it."""

from collections.abc import Sequence
from datetime import datetime

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.rights.replay_file import FILE_ID_BYTES, Line, ReplayFile


def open_replay(tx: Transaction, file: ReplayFile) -> None:
    """Tie a database and a replay file that are new to each other.

    A new file takes the id that the database remembers, a database without a memory takes the file's; the caller
    holds the exclusive lock. Raises the fault `replay_file_foreign` when each knows another.
    """
    remembered, _ = _place(tx)
    found = file.file_id()
    if remembered is not None and found is not None and remembered != found:
        raise Fault(
            "replay_file_foreign",
            "The replay file belongs to another database",
            f"{file.path} was begun beside another database. Set CDP_HOME to the folder that belongs to this one.",
            status=500,
        )
    file_id = remembered or found or random_bytes(FILE_ID_BYTES)
    file.begin(file_id)
    if remembered is None:
        tx.execute(
            "INSERT INTO rights.replay (single, file_id, number) VALUES (1, %(file)s, 0) ON CONFLICT DO NOTHING",
            {"file": file_id},
        )


def is_behind(tx: Transaction, file: ReplayFile) -> bool:
    """Whether the file knows of something that this database has not seen: it was restored from a copy."""
    return _is_behind(_place(tx)[1], file)


def append(tx: Transaction, file: ReplayFile, lines: Sequence[Line], *, now: datetime) -> None:
    """Write lines to the file, on disk before the caller's commit; the caller holds the exclusive lock.

    A database that is behind its file stays behind: it has not been told what others wrote.
    """
    if not lines:
        return
    open_replay(tx, file)
    seen = _place(tx)[1]
    is_behind_now = _is_behind(seen, file)
    first = max(seen, file.last_number()) + 1
    last = first + len(lines) - 1
    file.write(lines, first, now)
    if not is_behind_now:
        file.await_commit(seen, last)
        tx.on_commit(file.mark_written)
        follow(tx, last)


def follow(tx: Transaction, number: int) -> None:
    """Remember that this database has seen the file up to this number."""
    tx.execute("UPDATE rights.replay SET number = greatest(number, %(number)s)", {"number": number})


def followed(tx: Transaction) -> int:
    """The last number of the file that this database has seen."""
    return _place(tx)[1]


def _is_behind(seen: int, file: ReplayFile) -> bool:
    written = file.last_number()
    return seen < written and not file.is_unsettled(seen, written)


def _place(tx: Transaction) -> tuple[bytes | None, int]:
    rows = tx.execute("SELECT file_id, number FROM rights.replay")
    return (rows[0][0], rows[0][1]) if rows else (None, 0)
