"""Root keys and where they live: the key provider.

A root key is 32 random bytes with a name such as `epoch/1`, `pseudonym/graph/1` or `sign/audit/1`. Root keys never
enter PostgreSQL, not even wrapped: what is destroyed here is gone for every copy of the database.
"""

import base64
import hashlib
import hmac
import os
import re
import stat
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.vault.seal import KEY_BYTES, Wrapper

MASTER_FILE: Final = "master.key"
CHECK_BYTES: Final = 16
PROVIDER_GROUP: Final = "cdp.key_providers"

_SUFFIX = ".wrapped"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)*")


class KeyProvider(Protocol):
    """Keeps root keys. A KMS implements it by envelope: it keeps each key wrapped by a key that never leaves it.

    It is asked once per key and process, so at most once per epoch, and never per subject. Names match
    `[a-z0-9_-]+(/[a-z0-9_-]+)*`.
    """

    def names(self) -> frozenset[str]:
        """The names of all keys that it keeps."""
        ...

    def load(self, name: str) -> bytes:
        """The 32 bytes of a key. Raises the faults `root_key_missing` and `wrong_master_key`."""
        ...

    def create(self, name: str) -> bytes:
        """Make, keep durably and return a new random key; when one of that name exists, return that one."""
        ...

    def destroy(self, name: str) -> None:
        """Make a key unrecoverable; it is no error when there is none."""
        ...

    def fingerprint(self) -> bytes:
        """16 bytes that name the master key without telling it."""
        ...


class LocalFileProvider:
    """Root keys in a folder of mode 0700: `master.key`, or a master key from outside, and files wrapped under it."""

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
        if text and not text.strip("\0"):  # wiped; its name goes next
            raise _missing(name, self._folder)
        try:
            return self._wrapper.unwrap_many([(name.encode(), base64.b64decode(text, validate=True))])[0]
        except (Fault, ValueError):
            raise wrong_master_key(f"The key {name} in {self._folder} does not open under it.") from None

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
            raise ValueError("a key name is lower-case words joined by slashes")
        return self._folder / (name.replace("/", ".") + _SUFFIX)


def open_local_provider(
    folder: Path, master_key: bytes | None, *, may_create: bool
) -> tuple[LocalFileProvider, str | None]:
    """The provider of a folder, and a notice to print when a master key was made.

    `master_key` (of CDP_MASTER_KEY) replaces the file. `may_create` is false beside a
    database that holds anything: then a missing master key is a fault and none is ever made.
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
                f"The database holds sealed data, but {path} is not there and CDP_MASTER_KEY is not set. "
                "Bring the file back from its backup; without it nothing in this database can be opened.",
                status=500,
            )
        if _write_new(path, random_bytes(KEY_BYTES).hex().encode() + b"\n"):
            notice = (
                f"A new master key was made: {path}. Keep a copy of this file in a safe place, apart from backups of "
                "the database. Whoever has both can read everything; whoever loses it loses everything."
            )
    _refuse_wide(path, "600")
    return LocalFileProvider(folder, parse_master_key(path.read_text(encoding="utf-8", errors="replace"))), notice


def open_kms_provider(url: str, folder: Path) -> KeyProvider:
    """The provider of a key management service, from the installed package that knows its kind of URL.

    The package declares `<scheme> = "module:function"` under the entry point group `cdp.key_providers`; the function
    takes the URL and a folder of mode 0700 for wrapped keys. Raises the fault `kms_unknown` when none does.
    """
    scheme = urlsplit(url).scheme
    for found in entry_points(group=PROVIDER_GROUP, name=scheme):
        _prepare_folder(folder)
        provider: KeyProvider = found.load()(url, folder)
        return provider
    raise Fault(
        "kms_unknown",
        "No key provider knows this CDP_KMS_URL",
        f"No installed package provides keys for URLs that begin with {scheme}: (docs/reference/keys.md says how one "
        "does). Install it, or use a local master key by leaving CDP_KMS_URL unset.",
        status=500,
    )


def parse_master_key(text: str) -> bytes:
    """Read a master key in base64 or hexadecimal. Raises the fault `master_key_malformed`."""
    stripped = text.strip()
    try:
        key = bytes.fromhex(stripped) if len(stripped) == 2 * KEY_BYTES else base64.b64decode(stripped, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Fault(
            "master_key_malformed",
            "The master key is not a key",
            "A master key is 32 random bytes in base64 (44 characters) or hexadecimal (64 characters).",
            status=500,
        )
    return key


def check_value(key: bytes, name: str) -> bytes:
    """16 bytes by which a key of this name is recognized."""
    return hmac.digest(key, b"cdp/key-check/v1\0" + name.encode(), hashlib.sha256)[:CHECK_BYTES]


def wrong_master_key(detail: str) -> Fault:
    """The fault of a master key that is not the one of this database."""
    return Fault(
        "wrong_master_key",
        "The master key is not the one of this database",
        f"{detail} Start with the master key that this database was made with.",
        status=500,
    )


def _missing(name: str, folder: Path) -> Fault:
    return Fault(
        "root_key_missing",
        "A root key is missing",
        f"The database uses the key {name}, but the key provider at {folder} does not have it. Bring it back from its backup.",
        status=500,
    )


def _prepare_folder(folder: Path) -> None:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
    _refuse_wide(folder, "700")


def _refuse_wide(path: Path, mode: str) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Fault(
            "key_file_exposed",
            "Other users of this machine may read the keys",
            f"{path} is open to others. Make it yours alone: chmod {mode} {path}",
            status=500,
        )


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file whole and durably; False when one of that name is already there."""
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
