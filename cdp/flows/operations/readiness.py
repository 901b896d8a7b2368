"""Use cases of readiness: every part that a service needs is tried, with writes where it writes.

`/readyz` runs them over the context of the service, `cdp doctor` over the settings. They change nothing that is stored.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cdp.audit.mirror import Mirror
from cdp.flows.context import Context
from cdp.kit.db import Database, Transaction
from cdp.kit.db_faults import database_message, unexpected_fault
from cdp.kit.errors import Fault
from cdp.kit.state import AUDIT_COPY, StateFolder, StateStore
from cdp.operations.readiness import CheckState, ReadinessCheck, ReadinessFinding, failed
from cdp.rights.replay_file import REPLAY_FILE, ReplayFile
from cdp.rights.store import replay_position as replay_store
from cdp.schema.migrate import current_revision, newest_revision, revisions

STORE_CHECKS: Final = (ReadinessCheck.DATABASE, ReadinessCheck.MIGRATIONS, ReadinessCheck.REPLAY, ReadinessCheck.KEYS)
FILE_CHECKS: Final = (ReadinessCheck.DISK, ReadinessCheck.AUDIT_COPY)
_FREE_BYTES_MIN: Final = 64 * 1024 * 1024
_COMMIT_SECONDS: Final = 1.2
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service needs. `folders` are those it writes to; `require_keys` raises a fault for keys that are lost.

    `is_writing` tells whether this process wrote lines to the replay file that are not committed yet.
    """

    database: Database
    state: StateStore
    folders: tuple[Path, ...]
    require_keys: Callable[[Transaction], None]
    is_writing: Callable[[], bool] = lambda: False
    # Its own: the one of the context belongs to the one who holds the exclusive lock.
    replay: ReplayFile = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replay", ReplayFile(self.state))


def parts_of(context: Context, database: Database, folders: tuple[Path, ...] = ()) -> Parts:
    """The parts of a running service, read through a pool of their own; `folders` are further ones that it writes to."""
    own = (context.state.folder,) if isinstance(context.state, StateFolder) else ()
    return Parts(
        database=database,
        state=context.state,
        folders=(*own, *folders),
        require_keys=context.vault.require_kept,
        is_writing=lambda: context.replay.is_awaiting_commit,
    )


def check_store(parts: Parts) -> Iterator[ReadinessFinding]:
    """The findings of `STORE_CHECKS`, in order; unknown after the first that the others need."""
    database = finding_of(ReadinessCheck.DATABASE, lambda: _try_database(parts.database))
    yield database
    is_usable = database.state is CheckState.OK
    migrations = (
        finding_of(ReadinessCheck.MIGRATIONS, lambda: _compare_revisions(parts.database))
        if is_usable
        else ReadinessFinding(ReadinessCheck.MIGRATIONS, CheckState.UNKNOWN)
    )
    yield migrations
    is_usable = migrations.state is CheckState.OK
    for check, run in ((ReadinessCheck.REPLAY, _try_replay), (ReadinessCheck.KEYS, _find_keys)):
        yield finding_of(check, partial(run, parts)) if is_usable else ReadinessFinding(check, CheckState.UNKNOWN)


def check_files(parts: Parts) -> Iterator[ReadinessFinding]:
    """The findings of `FILE_CHECKS`, in order."""
    yield finding_of(ReadinessCheck.DISK, lambda: _try_disks(parts.folders))
    yield finding_of(ReadinessCheck.AUDIT_COPY, lambda: _try_copy(Mirror(parts.state.within(AUDIT_COPY)), parts.state))


def finding_of(check: ReadinessCheck, run: Callable[[], ReadinessFinding | None]) -> ReadinessFinding:
    """The finding of a check that returns None or another finding, or raises a fault."""
    try:
        return run() or ReadinessFinding(check)
    except Fault as fault:
        return _of_fault(check, fault)
    except Exception as error:
        unexpected = unexpected_fault(error)
        if unexpected is None:
            raise
        return _of_fault(check, unexpected)


def _of_fault(check: ReadinessCheck, fault: Fault) -> ReadinessFinding:
    message = database_message(fault)
    return failed(check, f"{fault.detail} The database's message: {message}" if message else fault.detail, fault.code)


def _try_database(database: Database) -> None:
    """A transaction with a write that is on the server's disk when it ends, and changes nothing."""
    with database.transaction() as tx:
        replay_store.write_nothing(tx)


def _compare_revisions(database: Database) -> ReadinessFinding | None:
    with database.transaction(read_only=True) as tx:
        found = current_revision(tx.connection)
    if found == newest_revision():
        return None
    if found in revisions() or found is None:
        return failed(
            ReadinessCheck.MIGRATIONS,
            f"The schema of the database is at revision {found or 'none'}, and this version of cdp needs {newest_revision()}. Stop all "
            "services and run `cdp migrate`, or start a service, which migrates by itself.",
            "schema_behind",
        )
    return failed(
        ReadinessCheck.MIGRATIONS,
        f"The schema of the database is at revision {found}, which a newer version of cdp wrote. Run that version.",
        "schema_too_new",
    )


def _try_replay(parts: Parts) -> ReadinessFinding | None:
    """The replay file belongs to the database, which has applied all of it, and can be written."""
    written = parts.replay.last_number()
    deadline = time.monotonic() + _COMMIT_SECONDS
    while True:
        with parts.database.transaction(read_only=True) as tx:
            applied = replay_store.require_bound(tx, parts.replay)
        if applied >= written or parts.is_writing():
            parts.state.require_writable(REPLAY_FILE)
            return None
        if time.monotonic() > deadline:  # a line is in the file before its transaction commits
            break
        time.sleep(_PAUSE_SECONDS)
    return failed(
        ReadinessCheck.REPLAY,
        f"The database has applied the replay file up to line {applied:,} of {written:,}: it was restored. Restart the service, or run "
        "`cdp replay`; both apply the erasures and opt-outs since then.",
        "replay_behind",
    )


def _find_keys(parts: Parts) -> None:
    with parts.database.transaction(read_only=True) as tx:
        parts.require_keys(tx)


def _try_disks(folders: tuple[Path, ...]) -> ReadinessFinding | None:
    short = []
    for folder in dict.fromkeys(folders):
        try:
            StateFolder(folder).require_writable(".probe")
        except Fault as fault:
            return failed(ReadinessCheck.DISK, f"Nothing can be written in {folder}. {fault.detail}", fault.code)
        free = shutil.disk_usage(folder).free
        if free < _FREE_BYTES_MIN:
            short.append(f"{folder} has {free // 1024 // 1024:,} MiB left")
    if not short:
        return None
    return ReadinessFinding(
        ReadinessCheck.DISK,
        CheckState.DEGRADED,
        f"A disk is almost full: {'; '.join(short)}. Free some space before nothing can be stored.",
        "disk_almost_full",
    )


def _try_copy(mirror: Mirror, state: StateStore) -> ReadinessFinding | None:
    tree_id = mirror.newest_tree()
    if not tree_id or mirror.head(tree_id) is None:
        return failed(
            ReadinessCheck.AUDIT_COPY,
            f"{state.place}/{AUDIT_COPY} has no copy of the audit log. The worker writes it as soon as it can; until then nothing is "
            "signed.",
            "audit_copy_missing",
        )
    state.within(AUDIT_COPY).require_writable(f"{tree_id}/checkpoint")
    return None
