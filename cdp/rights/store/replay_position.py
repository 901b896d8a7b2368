"""SQL of the replay position: the replay file of this database, and the last line that the database has applied."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.rights.replay_file import FILE_ID_BYTES, Line, ReplayFile


class _Position(NamedTuple):
    """The id of the replay file that belongs to this database, and the number of the last line applied."""

    file_id: bytes | None
    number: int


def bind_replay_file(tx: Transaction, file: ReplayFile) -> None:
    """Record that a database and a replay file belong together, unless that is recorded already.

    A new file gets the id that the database has stored; a database without one stores the file's id. The caller holds
    the exclusive lock. Raises the fault `replay_file_foreign` when the ids differ.
    """
    remembered = _position(tx).file_id
    found = file.file_id()
    if remembered is not None and found is not None and remembered != found:
        raise Fault(
            "replay_file_foreign",
            "The replay file belongs to another database",
            f"{file.path} was created for another database. Set CDP_HOME to the folder that belongs to this one.",
            status=500,
        )
    file_id = remembered or found or random_bytes(FILE_ID_BYTES)
    file.create(file_id)
    if remembered is None:
        tx.execute(
            "INSERT INTO rights.replay (single, file_id, number) VALUES (1, %(file)s, 0) ON CONFLICT DO NOTHING",
            {"file": file_id},
        )


def is_behind(tx: Transaction, file: ReplayFile) -> bool:
    """Whether the file has lines that this database has not applied: the database was restored from a backup."""
    return _is_behind(_position(tx).number, file)


def append(tx: Transaction, file: ReplayFile, lines: Sequence[Line], *, now: datetime) -> None:
    """Write lines to the file, on disk before the caller's commit; the caller holds the exclusive lock.

    A database that is behind its file stays behind: it has not applied what others wrote.
    """
    if not lines:
        return
    bind_replay_file(tx, file)
    seen = _position(tx).number
    is_behind_now = _is_behind(seen, file)
    first = max(seen, file.last_number()) + 1
    last = first + len(lines) - 1
    file.write(lines, first, now)
    if not is_behind_now:
        file.await_commit(seen, last)
        tx.on_commit(file.mark_committed)
        advance_position(tx, last)


def advance_position(tx: Transaction, number: int) -> None:
    """Record that this database has applied the file up to this number."""
    tx.execute("UPDATE rights.replay SET number = greatest(number, %(number)s)", {"number": number})


def applied_number(tx: Transaction) -> int:
    """The number of the last line of the file that this database has applied."""
    return _position(tx).number


def _is_behind(seen: int, file: ReplayFile) -> bool:
    written = file.last_number()
    return seen < written and not file.is_uncommitted(seen, written)


def _position(tx: Transaction) -> _Position:
    rows = tx.execute("SELECT file_id, number FROM rights.replay")
    return _Position(*rows[0]) if rows else _Position(None, 0)
