"""The key provider over files: root keys wrapped by a master key, in a private folder."""

import base64
import os
import re
import stat
from pathlib import Path
from typing import Final

from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.vault.providers.master_key import check_value, parse_master_key, wrong_master_key
from cdp.vault.seal import KEY_BYTES, Wrapper

MASTER_FILE: Final = "master.key"


_SUFFIX = ".wrapped"


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)*")


class LocalFileProvider:
    """Root keys in a folder of mode 0700: `master.key`, or a master key given by the settings, and files wrapped under it."""

    def __init__(self, folder: Path, master_key: bytes) -> None:
        self._folder = folder
        self._wrapper = Wrapper(master_key, "cdp/root-key/v1")
        self._fingerprint = check_value(master_key, "master")

    def names(self) -> frozenset[str]:
        return frozenset(path.name.removesuffix(_SUFFIX).replace(".", "/") for path in self._folder.glob(f"*{_SUFFIX}"))

    def load(self, name: str) -> bytes:
        try:
            text = self._path(name).read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            raise _missing(name, self._folder) from None
        if text and not text.strip("\0"):  # overwritten by `destroy`, which removes the file next
            raise _missing(name, self._folder)
        try:
            return self._wrapper.unwrap_many([(name.encode(), base64.b64decode(text, validate=True))])[0]
        except (Fault, ValueError):
            raise wrong_master_key(f"The key {name} in {self._folder} cannot be opened with it.") from None

    def create(self, name: str) -> bytes:
        path = self._path(name)
        key = random_bytes(KEY_BYTES)
        wrapped = self._wrapper.wrap_many([(name.encode(), key)])[0]
        if _write_new(path, base64.b64encode(wrapped) + b"\n"):
            return key
        return self.load(name)

    def destroy(self, name: str) -> None:
        path = self._path(name)
        try:
            with path.open("r+b") as file:
                file.write(b"\0" * path.stat().st_size)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        path.unlink()
        _sync_folder(self._folder)

    def fingerprint(self) -> bytes:
        return self._fingerprint

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("a key name must be lower-case words joined by slashes")
        return self._folder / (name.replace("/", ".") + _SUFFIX)


def open_local_provider(
    folder: Path, master_key: bytes | None, *, may_create: bool
) -> tuple[LocalFileProvider, str | None]:
    """The provider of a folder, and a notice to print when a master key was created.

    `master_key` (of CDP_MASTER_KEY) replaces the file. `may_create` is false beside a
    database that holds anything: then a missing master key is a fault, and none is created.
    """
    _prepare_folder(folder)
    if master_key is not None:
        return LocalFileProvider(folder, master_key), None
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
        if _write_new(path, random_bytes(KEY_BYTES).hex().encode() + b"\n"):
            notice = (
                f"A new master key was created: {path}. Keep a copy of this file in a safe place, separate from backups of "
                "the database. Anyone who has both can read all data; without the key all data is lost."
            )
    _require_private(path, "600")
    return LocalFileProvider(folder, parse_master_key(path.read_text(encoding="utf-8", errors="replace"))), notice


def _missing(name: str, folder: Path) -> Fault:
    return Fault(
        "root_key_missing",
        "A root key is missing",
        f"The database uses the key {name}, but the key provider at {folder} does not have it. Restore it from its backup.",
        status=500,
    )


def _prepare_folder(folder: Path) -> None:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
    _require_private(folder, "700")


def _require_private(path: Path, mode: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Fault(
            "key_file_exposed",
            "Other users of this machine can read the keys",
            f"{path} is readable by other users. Restrict it to yours: chmod {mode} {path}",
            status=500,
        )


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file atomically and durably; False when the file already exists."""
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
