"""The key provider over files: root keys wrapped by a master key, in a private folder."""

import base64
import re
import stat
from pathlib import Path
from typing import Final

from cdp.kit.bounded_file import read_bounded
from cdp.kit.drafts import sync_folder
from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.kit.state import StateFolder, StateStore
from cdp.vault.providers.master_key import check_value, parse_master_key, wrong_master_key
from cdp.vault.seal import KEY_BYTES, Wrapper

MASTER_FILE: Final = "master.key"
_MASTER_FILE_BYTES_MAX: Final = 4096


_SUFFIX = ".wrapped"


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)*")


class LocalFileProvider:
    """Root keys wrapped by a master key, as files of a state store. `master_file` is None if the key came as a setting."""

    def __init__(self, store: StateStore, master_key: bytes, master_file: Path | None = None) -> None:
        self._store = store
        self._master_file = master_file
        self._wrapper = Wrapper(master_key, "cdp/root-key/v1")
        self._fingerprint = check_value(master_key, "master")

    def names(self) -> frozenset[str]:
        return frozenset(
            name.removesuffix(_SUFFIX).replace(".", "/") for name in self._store.names() if name.endswith(_SUFFIX)
        )

    def load(self, name: str) -> bytes:
        content = self._store.read(_file_name(name))
        text = b"" if content is None else content.strip()
        if content is None or (text and not text.strip(b"\0")):  # overwritten by `destroy`, which deletes the file next
            raise _missing(name, self._store.place)
        try:
            return self._wrapper.unwrap_many([(name.encode(), base64.b64decode(text, validate=True))])[0]
        except (Fault, ValueError):
            raise wrong_master_key(f"The key {name} in {self._store.place} cannot be opened with it.") from None

    def create(self, name: str) -> bytes:
        key = random_bytes(KEY_BYTES)
        wrapped = self._wrapper.wrap_many([(name.encode(), key)])[0]
        if self._store.create(_file_name(name), base64.b64encode(wrapped) + b"\n"):
            return key
        return self.load(name)

    def destroy(self, name: str) -> None:
        self._store.destroy(_file_name(name))

    def fingerprint(self) -> bytes:
        return self._fingerprint

    def require_master_file(self) -> None:
        """Require that the file of the master key still has it. Faults: `master_key_missing`, `wrong_master_key`."""
        path = self._master_file
        if path is None:
            return
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise Fault(
                "master_key_missing",
                "The master key is missing",
                f"{path} cannot be read ({error.strerror}). A running service still has the key in memory, and none can start "
                "without the file: restore it from its backup before anything is restarted.",
                status=500,
            ) from error
        if check_value(parse_master_key(text), "master") != self._fingerprint:
            raise wrong_master_key(f"{path} was replaced by another key.")


def open_local_provider(
    folder: Path, master_key: bytes | None, *, may_create: bool, store: StateStore | None = None
) -> tuple[LocalFileProvider, str | None]:
    """The provider of the keys in a state store (default: the folder), and a notice to print when a master key was created.

    `master_key` (of CDP_MASTER_KEY) replaces the file `master.key` of the folder. `may_create` is false beside a
    database that holds anything: then a missing master key is a fault, and none is created.
    """
    kept = store or StateFolder(folder)
    if isinstance(kept, StateFolder):
        _prepare_folder(kept.folder)
    if master_key is not None:
        return LocalFileProvider(kept, master_key), None
    _prepare_folder(folder)
    path = folder / MASTER_FILE
    notice = None
    if not path.exists():
        if not may_create:
            raise Fault(
                "master_key_missing",
                "The master key is missing",
                f"The database contains sealed data, but {path} does not exist and CDP_MASTER_KEY is not set. "
                "Restore the file from its backup; without it nothing in this database can be opened.",
                status=500,
            )
        if StateFolder(folder).create(MASTER_FILE, random_bytes(KEY_BYTES).hex().encode() + b"\n"):
            notice = (
                f"A new master key was created: {path}. Keep a copy of this file in a safe place, separate from backups of "
                "the database. Anyone who has both can read all data; without the key all data is lost."
            )
    _require_private(path, "600")
    content = read_bounded(path, bytes_max=_MASTER_FILE_BYTES_MAX).decode("utf-8", "replace")
    return LocalFileProvider(kept, parse_master_key(content), path), notice


def _file_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a key name must be lower-case words joined by slashes")
    return name.replace("/", ".") + _SUFFIX


def _missing(name: str, place: str) -> Fault:
    return Fault(
        "root_key_missing",
        "A root key is missing",
        f"The database uses the key {name}, but the key provider at {place} does not have it. Restore it from its backup. "
        "If it was destroyed with `cdp keys destroy`, the database or backup that uses it can no longer be opened.",
        status=500,
    )


def _prepare_folder(folder: Path) -> None:
    if not folder.exists():
        for path in reversed([folder, *(parent for parent in folder.parents if not parent.exists())]):
            path.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent)
    _require_private(folder, "700")


def _require_private(path: Path, mode: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Fault(
            "key_file_exposed",
            "Other users of this machine can read the keys",
            f"{path} is readable by other users. Restrict it to yours: chmod {mode} {path}",
            status=500,
        )
