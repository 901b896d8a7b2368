"""SQL of the replay position: the replay file of this database, the last line applied, and the binding of its state store."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from cdp.kit.db import Transaction
from cdp.kit.errors import UNAVAILABLE, Fault
from cdp.kit.ids import random_bytes
from cdp.kit.wording import counted
from cdp.rights.binding import (
    NONCE_BYTES,
    OUTDATED_FILE,
    Binding,
    is_marked_outdated,
    mark_outdated,
    read_binding,
    write_binding,
)
from cdp.rights.replay_file import FILE_ID_BYTES, Line, ReplayFile
from cdp.rights.state_place import MOVED_FILE, MOVING_FILE, require_settled

_RETRY_AFTER_SECONDS: Final = 5

_SAME: Final = (
    "All services and commands of one database must use the same state: one CDP_HOME, or one CDP_STATE_URL. What a restore of the "
    "database must not take back is only in the one that was used last."
)
_RESTORE: Final = (
    "Use that one, or restore the newest copy of its files. If it is lost for good, `cdp replay --accept-loss --dry-run` shows which "
    "erasures and opt-outs may come back, and `cdp replay --accept-loss --yes` continues without them."
)


class _Position(NamedTuple):
    """The id of the replay file that belongs to this database, the number of the last line applied, and the binding.

    `digest` is that of the file up to this line, empty where it is not known; `compactions` how often the file had been replaced.
    """

    file_id: bytes
    number: int
    binding: Binding
    compactions: int
    digest: bytes


class _Bound(NamedTuple):
    """What was found in the state store that belongs to a database: its binding, and the number of the last line."""

    binding: Binding
    written: int


def bind_state(tx: Transaction, file: ReplayFile, *, renew: bool = False) -> None:
    """Bind a database and the state store of its replay file, or check that they are bound to each other.

    A database that was never bound takes the id of the file, or gives a new file one. `renew`, for each start of a
    service, begins a new generation, which tells this store from copies of it. The caller holds the exclusive lock. Faults:
    `state_foreign`, `state_outdated`, `replay_file_missing`, `replay_file_altered`, `replay_file_foreign`.
    """
    position, bound = _bind(tx, file)
    if renew:
        generation = 1 + max(position.binding.generation, bound.binding.generation)
        _renew(tx, file, Binding(generation, random_bytes(NONCE_BYTES)))


def check_state(tx: Transaction, file: ReplayFile) -> Fault | None:
    """The fault because of which a state store is refused; None if it is not."""
    try:
        require_settled(file.store)
        require_bound(tx, file)
    except Fault as fault:
        return fault
    return None


def is_bound_to(tx: Transaction, file: ReplayFile) -> bool:
    """Whether a database is bound to exactly this state store, and not to one that it was copied from."""
    position = _position(tx)
    return position is not None and position.binding == read_binding(file.store)


def rebind(tx: Transaction, file: ReplayFile) -> None:
    """Bind a database to a state store with the same replay file in another place; the caller holds the exclusive lock."""
    position = _position(tx) or _first_position(tx, file)
    generation = 1 + max(position.binding.generation, read_binding(file.store).generation)
    _renew(tx, file, Binding(generation, random_bytes(NONCE_BYTES)))


def accept_loss(tx: Transaction, file: ReplayFile) -> None:
    """Bind a database to this state store, although another one was used last or its file lacks lines.

    All lines that it has are to be applied again; new ones get numbers after every one that the database remembers. A store
    without a replay file gets one. The caller holds the exclusive lock.
    """
    position = _position(tx) or _first_position(tx, file)
    file_id = file.file_id() or position.file_id
    file.rewrite(
        list(file.lines_after(0)), forgotten=0, file_id=file_id, last=position.number, compactions=position.compactions
    )
    tx.execute("UPDATE rights.replay SET file_id = %(file)s, number = 0", {"file": file_id})
    for note in (MOVING_FILE, MOVED_FILE, OUTDATED_FILE):
        file.store.destroy(note)
    rebind(tx, file)


def is_behind(tx: Transaction, file: ReplayFile) -> bool:
    """Whether the file has lines that this database has not applied: the database was restored from a backup.

    Raises the faults of `bind_state` if another state store was used since.
    """
    position = _position(tx)
    if position is None:
        return file.last_number() > 0
    return _is_behind(position.number, _require_bound(position, file).written, file)


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
    position, bound = _bind(tx, file)
    seen = position.number
    is_behind_now = _is_behind(seen, bound.written, file)
    first = max(seen, bound.written) + 1
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
        advance_position(tx, file, last)


def advance_position(tx: Transaction, file: ReplayFile, number: int) -> None:
    """Record that this database has applied the file up to this number."""
    file.last_number()
    tx.execute(
        """
        UPDATE rights.replay SET number = %(number)s, digest = %(digest)s, compactions = %(compactions)s
        WHERE number <= %(number)s
        """,
        {"number": number, "digest": file.digest(number), "compactions": file.compactions()},
    )


def applied_number(tx: Transaction) -> int:
    """The number of the last line of the file that this database has applied."""
    position = _position(tx)
    return 0 if position is None else position.number


def _bind(tx: Transaction, file: ReplayFile) -> tuple[_Position, _Bound]:
    position = _position(tx) or _first_position(tx, file)
    bound = _require_bound(position, file)
    if not position.digest or position.compactions != file.compactions():
        advance_position(tx, file, position.number)  # remembers the file as it is from now on
    return position, bound


def _first_position(tx: Transaction, file: ReplayFile) -> _Position:
    file_id = file.file_id() or random_bytes(FILE_ID_BYTES)
    file.create(file_id)
    tx.execute(
        "INSERT INTO rights.replay (single, file_id, number, generation, nonce) VALUES (1, %(file)s, 0, 0, '')",
        {"file": file_id},
    )
    return _Position(file_id, 0, Binding(), 0, b"")


def _renew(tx: Transaction, file: ReplayFile, binding: Binding) -> None:
    write_binding(file.store, binding)  # first: a store that is ahead of its database is allowed, as after a restore
    tx.execute(
        "UPDATE rights.replay SET generation = %(generation)s, nonce = %(nonce)s",
        {"generation": binding.generation, "nonce": binding.nonce},
    )


def _require_bound(position: _Position, file: ReplayFile) -> _Bound:
    """What the state store contains. Raises a fault unless it is the one that was used last with this database."""
    found = file.file_id()
    bound = read_binding(file.store)
    if found is None:
        raise _missing(position, bound, file)
    if found != position.file_id:
        raise Fault(
            "replay_file_foreign",
            "The replay file belongs to another database",
            f"{file.place} was created for another database, or was replaced. If another database uses it, leave it to that one. "
            f"Set CDP_HOME or CDP_STATE_URL to the state store that belongs to this one. {_RESTORE}",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
            caller_detail=UNAVAILABLE,
        )
    is_older = bound.generation < position.binding.generation
    is_copy = bound.generation == position.binding.generation and bound != position.binding
    if is_older or is_copy or is_marked_outdated(file.store, bound):
        if bound.generation:
            mark_outdated(file.store, bound)
        raise _outdated(f"{file.store.place} is a copy: a service was started with another one since.")
    written, compactions = file.last_number(), file.compactions()
    if written < position.number or compactions < position.compactions:
        raise _outdated(
            f"{file.place} ends at line {written:,} and was compacted {counted(compactions, 'time')}; the database has applied lines up to "
            f"{position.number:,}, of a file that was compacted {counted(position.compactions, 'time')}."
        )
    is_known = bool(position.digest) and compactions == position.compactions
    if file.digest(position.number) != position.digest if is_known else not file.is_whole():
        raise Fault(
            "replay_file_altered",
            "The replay file was altered",
            f"{file.place} lacks lines that this database has applied, or has others in their place: it is a damaged copy, or "
            f"was changed by something other than cdp. {_RESTORE}",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
            caller_detail=UNAVAILABLE,
        )
    return _Bound(bound, written)


def _missing(position: _Position, bound: Binding, file: ReplayFile) -> Fault:
    # The store is ahead of a restored database, and after a start that was given up.
    is_ahead = bound.generation > position.binding.generation
    if bound.generation and (is_ahead or bound == position.binding):
        return Fault(
            "replay_file_missing",
            "The replay file is missing",
            f"{file.place} does not exist or is empty, although this is the state store that was used last. {_RESTORE}",
            status=503,
            retry_after_seconds=_RETRY_AFTER_SECONDS,
            caller_detail=UNAVAILABLE,
        )
    return Fault(
        "state_foreign",
        "The database uses another state store",
        f"{file.place} does not exist, but this database has one elsewhere. {_SAME} {_RESTORE} To move the state of this database "
        "to a new place: `cdp state move`.",
        status=503,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
        caller_detail=UNAVAILABLE,
    )


def _outdated(detail: str) -> Fault:
    return Fault(
        "state_outdated",
        "The state store is out of date",
        f"{detail} {_SAME} {_RESTORE}",
        status=503,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
        caller_detail=UNAVAILABLE,
    )


def _is_behind(seen: int, written: int, file: ReplayFile) -> bool:
    return seen < written and not file.is_uncommitted(seen, written)


def _position(tx: Transaction) -> _Position | None:
    rows = tx.execute("SELECT file_id, number, generation, nonce, compactions, digest FROM rights.replay")
    return next(
        (
            _Position(bytes(file), number, Binding(generation, bytes(nonce)), compactions, bytes(digest))
            for file, number, generation, nonce, compactions, digest in rows
        ),
        None,
    )
