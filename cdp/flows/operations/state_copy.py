"""Copies of the state store for backups: wrapped keys, replay file, binding and log copy, kept equal to the original."""

from collections.abc import Collection

from cdp.kit.errors import Fault
from cdp.kit.state import AUDIT_COPY, KEYS, StateFolder, StateStore
from cdp.rights.binding import BINDING_FILE
from cdp.rights.replay_file import REPLAY_FILE, ReplayFile
from cdp.vault.providers.file import MASTER_FILE

_ENTRIES = "/entries"


def copy_state(source: StateStore, target: StateStore, *, without: Collection[str] = ()) -> None:
    """Make a copy equal to a state store: what was added is added, and a key that was destroyed is destroyed in the copy.

    The files named in `without` are left as they are.
    Raises the fault `replay_file_foreign` if the copy is that of another state store.
    """
    kept = ReplayFile(target).file_id()
    if kept is not None and kept != ReplayFile(source).file_id():
        raise _foreign(target.place)
    target.delete_drafts(KEYS, AUDIT_COPY)
    names = state_names(source)
    for name in sorted(names.difference(without)):
        _copy(source, target, name)
    for name in sorted(state_names(target) - names):
        if name.startswith(f"{KEYS}/"):
            target.destroy(name)


def fill_state(target: StateStore, copy: StateFolder) -> None:
    """Give a state store what a copy has and it lacks. A replay file is only replaced by a longer one of the same id.

    Raises the fault `replay_file_foreign` if the copy is that of another state store.
    """
    own, copied = ReplayFile(target), ReplayFile(copy)
    if own.file_id() is not None and own.file_id() != copied.file_id():
        raise _foreign(target.place)
    is_longer = copied.last_number() > own.last_number() or own.file_id() is None
    present = state_names(target)
    for name in sorted(state_names(copy)):
        if name not in present or (is_longer and name in (REPLAY_FILE, BINDING_FILE)):
            _copy(copy, target, name)


def state_names(store: StateStore) -> set[str]:
    """The names of the files of a state store; without the master key, which is never copied."""
    named = {f"{KEYS}/{name}" for name in store.within(KEYS).names() if name != MASTER_FILE}
    named |= {f"{AUDIT_COPY}/{name}" for name in store.within(AUDIT_COPY).names()}
    return named | {name for name in (REPLAY_FILE, BINDING_FILE) if store.read(name, 0, 1) is not None}


def _copy(source: StateStore, target: StateStore, name: str) -> None:
    if name.endswith(_ENTRIES):  # a log only grows
        present = target.read(name) or b""
        if source.read(name, 0, len(present)) == present:
            target.append(name, len(present), source.read(name, len(present)) or b"")
            return
    content = source.read(name)
    if content is not None and target.read(name) != content:
        target.replace(name, content)


def _foreign(place: str) -> Fault:
    return Fault(
        "replay_file_foreign",
        "The replay file belongs to another database",
        f"{place} holds the state of another database. Name the folder that belongs to this one, or a new one.",
        status=500,
    )
