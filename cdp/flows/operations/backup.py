"""Use cases of backups: the database and the state outside of it, in the order in which a restore needs them.

The database is dumped first and the state copied afterwards, so that the replay file is never older than the dump, and every key
that the dump needs is in the copy. A restore checks the keys before it changes anything, and replays before it ends.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cdp import __version__
from cdp.flows.context import Context
from cdp.flows.operations.startup import open_for_command, open_state, open_unused_database
from cdp.flows.operations.state_copy import copy_state, fill_state
from cdp.flows.rights.replay import ReplayResult, replay
from cdp.kit.bounded_file import read_bounded
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.config import Config
from cdp.kit.db import APPLICATION, Database
from cdp.kit.errors import Fault
from cdp.kit.state import KEYS, StateFolder
from cdp.kit.wording import counted
from cdp.operations.store import backups as backup_store
from cdp.postgres.dump import dump_database, find_dump_programs, restore_database
from cdp.rights.replay_file import ReplayFile
from cdp.rights.state_place import require_settled
from cdp.rights.store import replay_position as replay_store
from cdp.schema.dictionary import SCHEMAS
from cdp.schema.migrate import migrate
from cdp.vault.root_keys import active_check_values
from cdp.vault.vault import require_keys

FORMAT: Final = "cdp/backup@v1"
MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
_BLOCK_BYTES: Final = 1 << 20
_MANIFEST_BYTES_MAX: Final = 4 * 1024 * 1024
"""A manifest names tables, roles and keys; one for each month of a century has less."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What a backup contains: rows by table, the keys that it needs, the last line applied, and the size of the dump."""

    rows: Mapping[str, int]
    keys: tuple[str, ...]
    replay_line: int
    dump_bytes: int


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """When the backup was made, what it contained, the migrations applied since, and what was applied again.

    `known_until` is the instant of the last line of the replay file, None without one: what was erased or refused later, and
    before the loss, is not known to this state store.
    """

    created_at: str
    known_until: datetime | None
    rows: Mapping[str, int]
    migrations: tuple[str, ...]
    replayed: ReplayResult


def back_up(context: Context, folder: Path, state_copy: Path, *, now: datetime) -> BackupResult:
    """Dump the database into a new folder, then bring the copy of the state up to date.

    Faults: `folder_not_empty`, `backup_in_state`, `dump_programs_missing`, `dump_failed`, those of the state store.
    """
    _require_apart(folder, state_copy)
    StateFolder(folder).create(".started", b"")  # also creates the folder, private
    try:
        manifest = _dump(context, folder, now)
        copy = StateFolder(state_copy)
        copy_state(context.state, copy)
        _require_copied(copy, manifest["keys"])
        StateFolder(folder).create(
            MANIFEST, canonical_json(manifest) + b"\n"
        )  # last: a backup without it is incomplete
    finally:
        StateFolder(folder).destroy(".started")
    keys = tuple(sorted(manifest["keys"]))
    return BackupResult(manifest["rows"], keys, manifest["replay_line"], (folder / DUMP).stat().st_size)


def restore_backup(config: Config, folder: Path, state_copy: Path | None, *, is_confirmed: bool) -> RestoreResult:
    """Replace the database by a backup, after its keys were found, and apply again what was erased and refused since.

    The state store is filled from its copy where it lacks something; what it has that is newer stays. Faults:
    `backup_damaged`, `service_running`, `restore_not_confirmed` for a database that is not empty, those of the vault, of the
    state store and of the programs.
    """
    manifest = _read_manifest(folder)
    with open_unused_database(config) as url, open_state(config.state_url, config.home) as state:
        database = Database(url, application_name="cdp-restore")
        try:
            with database.transaction(read_only=True) as tx:
                programs = find_dump_programs(backup_store.server_major(tx))
                _require_unused(backup_store.count_other_sessions(tx, APPLICATION))
                existing = backup_store.existing_schemas(tx, SCHEMAS)
            if existing and not is_confirmed:
                raise _not_confirmed(manifest)
            if state_copy is not None:
                fill_state(state, StateFolder(state_copy))
            require_keys(
                config.home / KEYS,
                config.master_key,
                kms_url=config.kms_url,
                wrapped_keys=state.within(KEYS),
                check_values={name: bytes.fromhex(value) for name, value in manifest["keys"].items()},
            )
            known_until = _require_as_new(ReplayFile(state), manifest)
            with database.transaction() as tx:
                backup_store.drop_store(tx, existing)
                backup_store.create_missing_roles(tx, manifest["roles"])
            restore_database(programs, url, folder / DUMP)
            with database.transaction(read_only=True) as tx:
                wrong = backup_store.differing(manifest["rows"], backup_store.count_rows(tx))
        finally:
            database.close()
        if wrong:
            raise _damaged(f"The restored database has other rows than the backup in {', '.join(wrong)}.")
        migrations = migrate(url)
    with open_for_command(config) as context:
        replayed = replay(context, context.clock.now())
    return RestoreResult(manifest["created_at"], known_until, manifest["rows"], tuple(migrations), replayed)


def _dump(context: Context, folder: Path, now: datetime) -> dict[str, Any]:
    """Dump the database; the manifest describes exactly what the dump contains, because both read one snapshot."""
    with context.database.transaction(read_only=True) as tx:
        programs = find_dump_programs(backup_store.server_major(tx))
        manifest = {
            "format": FORMAT,
            "created_at": instant_text(now),
            "version": __version__,
            "rows": backup_store.count_rows(tx),
            "roles": backup_store.granted_roles(tx, (*SCHEMAS, "public")),
            "keys": {name: value.hex() for name, value in active_check_values(tx).items()},
            "replay_line": replay_store.applied_number(tx),
            "replay_file": (context.replay.file_id() or b"").hex(),
        }
        snapshot = backup_store.export_snapshot(tx)
        dump_database(programs, context.database.url, folder / DUMP, schemas=SCHEMAS, snapshot=snapshot)
    manifest["sha256"] = _digest(folder / DUMP)
    return manifest


def _require_apart(folder: Path, state_copy: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Fault(
            "folder_not_empty",
            "The folder is in use",
            f"{folder} exists and is not an empty folder. Nothing was written. Name a new folder for each backup.",
            status=409,
        )
    first, second = folder.resolve(), state_copy.resolve()
    if first == second or first in second.parents or second in first.parents:
        raise Fault(
            "backup_in_state",
            "The two folders must be apart",
            "Backups are kept for as long as you choose; of the state, only the newest copy may be kept, or destroyed keys live on. "
            "Name two folders of which neither contains the other.",
            status=422,
        )


def _require_copied(copy: StateFolder, keys: Mapping[str, str]) -> None:
    kept = {name.rpartition(".")[0].replace(".", "/") for name in copy.within(KEYS).names()}
    missing = sorted(name for name in keys if name != "master" and name not in kept)
    if missing and kept:  # a provider may keep its keys elsewhere
        raise _damaged(f"The copy of the keys lacks {', '.join(missing)}. Make the backup again.")


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(read_bounded(folder / MANIFEST, bytes_max=_MANIFEST_BYTES_MAX))
        is_known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(f"{folder} has no manifest that cdp wrote: it is not a backup, or was not completed.") from None
    if not is_known:
        raise _damaged(f"The format of {folder} is unknown to this version of cdp.")
    if not _has_fields(manifest):
        raise _damaged(f"The manifest of {folder} lacks what a restore needs, or was altered since the backup.")
    if not (folder / DUMP).is_file() or _digest(folder / DUMP) != manifest["sha256"]:
        raise _damaged(f"{folder / DUMP} is missing or was altered since the backup.")
    return manifest


def _has_fields(manifest: dict[str, Any]) -> bool:
    """Whether a manifest has every field in its form; what the fields say is compared with the dump."""
    types = {"created_at": str, "rows": dict, "roles": list, "keys": dict, "replay_line": int, "sha256": str}
    return all(isinstance(manifest.get(name), type_) for name, type_ in types.items())


def _require_as_new(file: ReplayFile, manifest: Mapping[str, Any]) -> datetime | None:
    """Require that a state store is not older than a backup; the instant of the last line of its replay file.

    Such a store would be refused once the database is replaced. Faults: `state_older_than_backup`, `replay_file_foreign`.
    """
    require_settled(file.store)
    file_id, expected = file.file_id(), manifest.get("replay_file", "")
    if expected and file_id is not None and file_id.hex() != expected:
        raise Fault(
            "replay_file_foreign",
            "The replay file belongs to another database",
            f"{file.place} is not that of the database in the backup. Nothing was changed. Name its copy of the state with --state, "
            "in an empty CDP_HOME.",
            status=500,
        )
    if file.last_number() < manifest["replay_line"] or (expected and file_id is None):
        raise Fault(
            "state_older_than_backup",
            "The state is older than the backup",
            f"{file.place} ends at line {file.last_number():,}, and the backup had applied line {manifest['replay_line']:,}: what was "
            "erased or refused between the two would come back with an older backup. Nothing was changed. Name the newest copy of "
            "the state with --state. If there is none, restore the dump with pg_restore and see `cdp replay --accept-loss --dry-run`.",
            status=409,
        )
    return max((line.at for line in file.lines_after(0)), default=None)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _require_unused(sessions: int) -> None:
    if sessions:
        raise Fault(
            "service_running",
            "A service is running",
            f"The database is used by {counted(sessions, 'session')} of cdp. Stop every service and worker of this database first.",
            status=409,
        )


def _not_confirmed(manifest: Mapping[str, Any]) -> Fault:
    return Fault(
        "restore_not_confirmed",
        "The database was not replaced",
        f"The database is not empty. Everything in it would be replaced by the backup of {manifest['created_at']}; erasures and "
        "opt-outs since then are applied again, all other changes are lost. To confirm it, repeat the command with --yes.",
        status=409,
    )


def _damaged(detail: str) -> Fault:
    return Fault("backup_damaged", "The backup cannot be used", detail, status=500)
