"""Use cases of moving a state store to another place, and of deleting what a move left.

A move can be killed at any step and repeated. The order decides which store is valid: the new one carries a note until
the database is bound to it, and is refused until then; the old one gets its note before that, so that it is refused even
beside a database that is restored to a state from before the move.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cdp.audit.store import facts as fact_store
from cdp.flows.operations.startup import open_current_database, open_state
from cdp.flows.operations.state_copy import copy_state, state_names
from cdp.identity.store import generation as generation_store
from cdp.kit.config import Config
from cdp.kit.db import APPLICATION, Transaction
from cdp.kit.errors import Fault
from cdp.kit.state import AUDIT_COPY, KEYS, StateFolder, StateStore
from cdp.kit.wording import counted
from cdp.operations.store import backups as session_store
from cdp.rights.binding import BINDING_FILE, OUTDATED_FILE
from cdp.rights.replay_file import ReplayFile
from cdp.rights.state_place import MOVED_FILE, MOVING_FILE, read_note, write_note
from cdp.rights.store import replay_position as replay_store


@dataclass(frozen=True, slots=True)
class StateMove:
    """A move: from where to where, and the files and bytes that arrive there."""

    source: str
    target: str
    files: int
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class DiscardedState:
    """What was deleted of a store that was left: the place, and how many files."""

    place: str
    files: int


def plan_move(config: Config, target_url: str) -> StateMove:
    """What `move_state` would move, after all of its checks; changes nothing."""
    with _opened(config, target_url, "move") as (tx, source, target):
        _check_move(tx, config, source=source, target=target)
        return _described(source, target)


def move_state(config: Config, target_url: str) -> StateMove:
    """Copy the state store to another place, compare the two, and bind the database to the new one.

    The old files stay, with a note, until `discard_state`. Faults: `service_running`, `state_same_place`, `state_target_in_use`,
    `state_copy_differs`, `wrong_setting`, and those of a state store that is not the database's.
    """
    with _opened(config, target_url, "move") as (tx, source, target):
        now = generation_store.lock_exclusive(tx).now
        _check_move(tx, config, source=source, target=target)
        file_id = ReplayFile(source).file_id() or b""
        write_note(target, MOVING_FILE, source, file_id=file_id, now=now)
        copy_state(source, target, without=frozenset({BINDING_FILE}))
        _require_equal(source, target)
        moved = _described(source, target)
        replay_store.rebind(tx, ReplayFile(target))
        target.destroy(OUTDATED_FILE)
        target.destroy(MOVED_FILE)
        write_note(source, MOVED_FILE, target, file_id=file_id, now=now)
        fact_store.append(tx, {"kind": "state.moved", "actor": "operator", "count": moved.files}, now)
    with open_state(target_url, config.home) as target:
        target.destroy(MOVING_FILE)
    return moved


def discard_state(config: Config, left_url: str, *, is_dry_run: bool) -> DiscardedState:
    """Overwrite and delete the files of a store that a move left for the one of these settings.

    The master key stays. Faults: `state_not_left` for a store that no move has left for this one, `state_same_place`, and those
    of a state store that is not the database's.
    """
    with _opened(config, left_url, "discard") as (tx, current, left):
        generation_store.lock_exclusive(tx)
        file = ReplayFile(current)
        replay_store.bind_state(tx, file)
        note = read_note(left, MOVED_FILE)
        if note is None or note.file_id != file.file_id():
            raise Fault(
                "state_not_left",
                "The state was not moved from there",
                f"{left.place} has no note that its state was moved, or is the state of another database. Nothing was deleted.",
                status=409,
            )
        names = sorted(state_names(left))
        if not is_dry_run:
            # The note is the last, so that what was interrupted can be repeated.
            for name in (*names, OUTDATED_FILE, MOVED_FILE):
                left.destroy(name)
            left.delete_drafts(KEYS, AUDIT_COPY)
    return DiscardedState(left.place, len(names))


@contextmanager
def _opened(config: Config, other_url: str, act: str) -> Iterator[tuple[Transaction, StateStore, StateStore]]:
    """A transaction, the state store of the settings, and another one; no service runs, and none starts meanwhile."""
    with (
        open_current_database(config, application_name="cdp-state") as (database, is_shared),
        open_state(config.state_url, config.home) as own,
        open_state(other_url, config.home) as other,
        database.transaction() as tx,
    ):
        if _is_same(own, other) or config.state_url == other_url:
            raise Fault(
                "state_same_place",
                "The two places are the same",
                f"{other.place} is the place that the settings name. There is nothing to {act}. After a move, set CDP_STATE_URL to the "
                "new place first, or unset it if that is CDP_HOME.",
                status=409,
            )
        sessions = session_store.count_other_sessions(tx, APPLICATION)
        if is_shared or sessions:
            raise Fault(
                "service_running",
                "A service is running",
                "Stop every service and worker of this database first.",
                status=409,
            )
        yield tx, own, other


def _is_same(one: StateStore, other: StateStore) -> bool:
    if not isinstance(one, StateFolder) or not isinstance(other, StateFolder):
        return False
    return one.folder.resolve() == other.folder.resolve()


def _check_move(tx: Transaction, config: Config, *, source: StateStore, target: StateStore) -> None:
    if config.kms_url is not None and not isinstance(target, StateFolder):
        raise Fault(
            "wrong_setting",
            "A setting is invalid",
            "CDP_KMS_URL needs a folder for its wrapped keys. Expected: --to file:///folder.",
            status=500,
        )
    file = ReplayFile(source)
    moving, moved = read_note(target, MOVING_FILE), read_note(source, MOVED_FILE)
    is_repeated = moving is not None and moving.file_id == file.file_id()
    if moved is not None and not is_repeated:
        raise Fault(
            "state_moved",
            "The state is in another place now",
            f"It was moved from {source.place} to {moved.place} at {moved.at}. Set CDP_STATE_URL to that place.",
            status=409,
        )
    if read_note(source, MOVING_FILE) is not None:
        raise Fault(
            "state_incomplete",
            "The state store is not complete",
            f"A move of the state to {source.place} was interrupted. Repeat it first, with the settings from before it.",
            status=409,
        )
    if moved is None or not replay_store.is_bound_to(tx, ReplayFile(target)):
        replay_store.require_bound(tx, file)
    left = read_note(target, MOVED_FILE)
    was_left = left is not None and left.file_id == file.file_id()
    if not is_repeated and not was_left and (names := sorted(state_names(target))):
        raise Fault(
            "state_target_in_use",
            "The new place is not empty",
            f"{target.place} contains {counted(len(names), 'file')} of a state store, such as {names[0]}. Nothing was changed. Name an empty "
            "folder or database.",
            status=409,
        )


def _described(source: StateStore, target: StateStore) -> StateMove:
    contents = [source.read(name) or b"" for name in state_names(source)]
    lines = ReplayFile(source).last_number()
    return StateMove(source.place, target.place, len(contents), sum(map(len, contents)), lines)


def _require_equal(source: StateStore, target: StateStore) -> None:
    """Compare every file of the two, read again from both; the binding is still that of the source."""
    differing = sorted(
        name
        for name in state_names(source) | state_names(target)
        if name != BINDING_FILE and _digest(source, name) != _digest(target, name)
    )
    if differing:
        raise Fault(
            "state_copy_differs",
            "The copy differs from the original",
            f"After copying, {', '.join(differing[:5])} differ in {target.place}. The state in {source.place} is still in use. Check "
            "the disk, then repeat the command.",
            status=500,
        )


def _digest(store: StateStore, name: str) -> bytes | None:
    content = store.read(name)
    return None if content is None else hashlib.sha256(content).digest()
