"""SQL of the replay position: the replay file of this database, the last line applied, and the binding of its state store."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.rights.binding import (
    NONCE_BYTES,
    Binding,
    is_marked_outdated,
    mark_outdated,
    read_binding,
    write_binding,
)
from cdp.rights.replay_file import FILE_ID_BYTES, Line, ReplayFile

_REMEDY: Final = (
    "All services and commands of one database must use the same state: one CDP_HOME, or one CDP_STATE_URL. Erasures and opt-outs "
    "since then are in the other state store only, and a restore from a backup would take them back."
)
_LOST: Final = (
    "Start with the state store that was used last. Only if it is lost for good: `cdp replay --adopt` shows what that means, and binds "
    "the database to this one."
)


class _Position(NamedTuple):
    """The id of the replay file that belongs to this database, the number of the last line applied, and the binding."""

    file_id: bytes
    number: int
    binding: Binding


def bind_state(tx: Transaction, file: ReplayFile, *, renew: bool = False) -> None:
    """Bind a database and the state store of its replay file, or check that they are bound to each other.

    A database that was never bound takes the id of the file, or gives a new file one. `renew`, for each start of a
    service, begins a new generation, which tells this store from copies of it. The caller holds the exclusive lock. Faults:
    `state_foreign`, `state_outdated`, `replay_file_foreign`.
    """
    position = _position(tx) or _first_position(tx, file)
    bound = _require_bound(position, file)
    if renew:
        generation = 1 + max(position.binding.generation, bound.generation)
        _renew(tx, file, Binding(generation, random_bytes(NONCE_BYTES)))


def adopt_state(tx: Transaction, file: ReplayFile) -> None:
    """Bind a database to this state store, although another one was used last; all its lines are to be applied again.

    A store without a replay file gets one with a new id, which tells it from the one that was lost. The caller holds
    the exclusive lock.
    """
    position = _position(tx) or _first_position(tx, file)
    file_id = file.file_id() or random_bytes(FILE_ID_BYTES)
    file.create(file_id)
    tx.execute("UPDATE rights.replay SET file_id = %(file)s, number = 0", {"file": file_id})
    generation = 1 + max(position.binding.generation, read_binding(file.store).generation)
    _renew(tx, file, Binding(generation, random_bytes(NONCE_BYTES)))


def is_behind(tx: Transaction, file: ReplayFile) -> bool:
    """Whether the file has lines that this database has not applied: the database was restored from a backup.

    Raises the faults of `bind_state` if another state store was used since.
    """
    position = _position(tx)
    if position is None:
        return file.last_number() > 0
    _require_bound(position, file)
    return _is_behind(position.number, file)


def require_bound(tx: Transaction, file: ReplayFile) -> int:
    """The number of the last line that this database has applied, 0 if it was never bound. Faults: those of `bind_state`."""
    position = _position(tx)
    if position is None:
        return 0
    _require_bound(position, file)
    return position.number


def write_nothing(tx: Transaction) -> None:
    """Lock the position for readers: a write that is on disk with the commit and changes nothing. None before the first start.

    It waits for nobody, and only an exclusive lock on the table waits for it. A standby refuses it.
    """
    rows = tx.execute("SELECT to_regclass('rights.replay') IS NOT NULL")
    if rows == [(True,)]:
        tx.execute("SELECT 1 FROM rights.replay FOR KEY SHARE SKIP LOCKED")


def append(tx: Transaction, file: ReplayFile, lines: Sequence[Line], *, now: datetime) -> None:
    """Write lines to the file, on disk before the caller's commit; the caller holds the exclusive lock.

    A database that is behind its file stays behind: it has not applied what others wrote. Faults: those of `bind_state`.
    """
    if not lines:
        return
    bind_state(tx, file)
    seen = applied_number(tx)
    is_behind_now = _is_behind(seen, file)
    first = max(seen, file.last_number()) + 1
    last = first + len(lines) - 1
    try:
        file.write(lines, first, now)
    except BaseException:
        with suppress(Exception):  # they may be there nevertheless
            if not is_behind_now and file.last_number() == last:
                file.await_commit(seen, last)
        raise
    if not is_behind_now:
        file.await_commit(seen, last)
        tx.on_commit(file.mark_committed)
        advance_position(tx, last)


def advance_position(tx: Transaction, number: int) -> None:
    """Record that this database has applied the file up to this number."""
    tx.execute("UPDATE rights.replay SET number = greatest(number, %(number)s)", {"number": number})


def applied_number(tx: Transaction) -> int:
    """The number of the last line of the file that this database has applied."""
    position = _position(tx)
    return 0 if position is None else position.number


def _first_position(tx: Transaction, file: ReplayFile) -> _Position:
    file_id = file.file_id() or random_bytes(FILE_ID_BYTES)
    file.create(file_id)
    tx.execute(
        "INSERT INTO rights.replay (single, file_id, number, generation, nonce) VALUES (1, %(file)s, 0, 0, '')",
        {"file": file_id},
    )
    return _Position(file_id, 0, Binding())


def _renew(tx: Transaction, file: ReplayFile, binding: Binding) -> None:
    write_binding(file.store, binding)  # first: a store that is ahead of its database is allowed, as after a restore
    tx.execute(
        "UPDATE rights.replay SET generation = %(generation)s, nonce = %(nonce)s",
        {"generation": binding.generation, "nonce": binding.nonce},
    )


def _require_bound(position: _Position, file: ReplayFile) -> Binding:
    """The binding of the store. Raises a fault unless it is the one that was used last with this database."""
    found = file.file_id()
    if found is None:
        raise Fault(
            "state_foreign",
            "The database uses another state store",
            f"{file.place} does not exist, but this database has one elsewhere. {_REMEDY} {_LOST}",
            status=500,
        )
    if found != position.file_id:
        raise Fault(
            "replay_file_foreign",
            "The replay file belongs to another database",
            f"{file.place} was created for another database, or was replaced. Set CDP_HOME or CDP_STATE_URL to the state store "
            "that belongs to this one.",
            status=500,
        )
    bound = read_binding(file.store)
    is_older = bound.generation < position.binding.generation
    is_copy = bound.generation == position.binding.generation and bound != position.binding
    if is_older or is_copy or is_marked_outdated(file.store, bound):
        if bound.generation:
            mark_outdated(file.store, bound)
        raise _outdated(f"{file.store.place} is a copy: a service was started with another one since.")
    written = file.last_number()
    if written < position.number:
        raise _outdated(
            f"{file.place} ends at line {written:,}, but the database has applied lines up to {position.number:,}, which are "
            "in another copy."
        )
    return bound


def _outdated(detail: str) -> Fault:
    return Fault("state_outdated", "The state store is out of date", f"{detail} {_REMEDY} {_LOST}", status=500)


def _is_behind(seen: int, file: ReplayFile) -> bool:
    written = file.last_number()
    return seen < written and not file.is_uncommitted(seen, written)


def _position(tx: Transaction) -> _Position | None:
    rows = tx.execute("SELECT file_id, number, generation, nonce FROM rights.replay")
    return next(
        (_Position(bytes(file), number, Binding(generation, bytes(nonce))) for file, number, generation, nonce in rows),
        None,
    )
