"""Where the embedded server is on disk: data, socket, passwords and the lock, each private.

Everything is in `CDP_HOME/postgres`, unless root's server runs as an account that cannot reach that folder:
then it is in a separate folder under /var/lib/cdp, which `CDP_HOME/postgres.location` names. The
permissions of existing folders are never widened.
"""

import fcntl
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.postgres.programs import Account, account_of, can_write, make_state_folder, unprivileged_account

SOCKET_NAME: Final = ".s.PGSQL.5432"
# The kernel's limit for a socket's path is 108 bytes on Linux and 104 elsewhere, one for the final NUL.
_SOCKET_PATH_MAX: Final = 103
_log = logging.getLogger(__name__)
_LOCK_SECONDS: Final = 2.0
_POINTER: Final = "postgres.location"


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """The folder of one embedded server and the account that runs it."""

    base: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def log(self) -> Path:
        return self.base / "server.log"

    @property
    def passwords(self) -> Path:
        return self.base / "passwords.json"

    def open_log(self) -> IO[bytes]:
        """The server's log, for appending; the server inherits the open file and needs no permission for it."""
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab")

    def read_passwords(self) -> dict[str, str]:
        """The generated passwords by role; empty when the file is missing or unreadable."""
        try:
            content = json.loads(self.passwords.read_text())
        except (OSError, ValueError):
            return {}
        return {str(role): str(password) for role, password in content.items()} if isinstance(content, dict) else {}


def make_home(home: Path) -> Path:
    """The home folder as an absolute path; created private when it is new.

    Root's is created passable (0711), so that the server's account can reach its own folder in it and nothing else.
    """
    home = home.absolute()
    try:
        missing = [home, *(parent for parent in home.parents if not parent.exists())]
        for folder in reversed(missing):
            make_folder(folder, 0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise Fault(
            "home_not_usable",
            "CDP_HOME cannot be used",
            f"{home} could not be created ({error.strerror}). Set CDP_HOME to a folder that this user may write.",
            status=500,
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise Fault(
            "home_not_usable",
            "CDP_HOME cannot be used",
            f"{home} belongs to user number {home.stat().st_uid} and cannot be written by user number {os.geteuid()}. "
            "Run as its owner, or set CDP_HOME to another folder.",
            status=500,
        )
    return home


def open_to_others(home: Path) -> str | None:
    """The command that closes a home which other accounts can list or change; None where it is closed, or there is none.

    A service with its own database, master key and state store elsewhere needs no home.
    """
    if not home.exists():
        return None
    mode = stat.S_IMODE(home.stat().st_mode)
    return f"chmod {mode & 0o711:o} {home}" if mode & 0o066 else None


def make_folder(folder: Path, mode: int) -> bool:
    """Create a folder with exactly this mode, regardless of the umask; False, without any change, if it exists."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    folder.chmod(mode)
    return True


def find_place(home: Path) -> ServerPlace | None:
    """The place of the server that was created for this home; None when there is none."""
    pointer = home / _POINTER
    base = Path(pointer.read_text().strip()) if pointer.exists() else home / "postgres"
    if not base.is_dir():
        return None
    data = base / "data"
    owner = data.stat().st_uid if data.is_dir() else 0
    return ServerPlace(base, account_of(owner) if owner != 0 else unprivileged_account())


def make_place(home: Path) -> ServerPlace:
    """The place for this home's server, created if it does not exist."""
    existing = find_place(home)
    if existing is not None and existing.data.is_dir():
        return existing
    account = unprivileged_account()
    base = home / "postgres"
    if account.is_own:
        base.mkdir(mode=0o700, exist_ok=True)
        return ServerPlace(base, account)
    if not (home / _POINTER).exists() and _make_base(base, account):
        return ServerPlace(base, account)
    return _place_elsewhere(home, account)


def _make_base(base: Path, account: Account) -> bool:
    """Create a folder that the account can pass through; False, leaving no folder, if the account cannot reach it."""
    is_new = make_folder(base, 0o711)
    probe = Path(tempfile.mkdtemp(prefix=".probe-", dir=base))
    try:
        account.give(probe)
        is_reached = can_write(account, probe)
    finally:
        probe.rmdir()
    if not is_reached and is_new:
        base.rmdir()
    return is_reached


def _place_elsewhere(home: Path, account: Account) -> ServerPlace:
    pointer = home / _POINTER
    if not pointer.exists():
        _warn_of_orphans(home)
        base = make_state_folder() / f"server-{random_bytes(8).hex()}"
        make_folder(base, 0o711)
        write_private(base / "home", str(home).encode())
        try:
            with os.fdopen(os.open(pointer, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write(f"{base}\n")
        except FileExistsError:
            shutil.rmtree(base)
    base = Path(pointer.read_text().strip())
    if not base.is_dir():
        raise Fault(
            "database_lost",
            "The embedded database is missing",
            f"{pointer} refers to {base}, which does not exist. Restore that folder, or delete the file "
            "to start with an empty database.",
            status=500,
        )
    return ServerPlace(base, account)


def _warn_of_orphans(home: Path) -> None:
    """Log the databases of an earlier home of this name, whose pointer was deleted; an operator decides whether to delete them."""
    for note in sorted(make_state_folder().glob("server-*/home")):
        if note.read_text() == str(home):
            _log.warning("embedded_database_orphaned", extra={"folder": str(note.parent)})


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner only, and never through a link."""
    part = path.with_name(f".{path.name}.{random_bytes(6).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_readable(path: Path, content: str) -> None:
    """Write a file without secrets, which the server's account can read but not change."""
    part = path.with_name(f".{path.name}.{random_bytes(6).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o644)
        file.write(content)
    part.replace(path)


def write_passwords(place: ServerPlace, passwords: Mapping[str, str]) -> None:
    """Store the generated passwords next to the data, readable by the user of the service only."""
    write_private(place.passwords, json.dumps(dict(passwords), indent=2).encode())


class FolderLock:
    """Held by the one service that may use a place; the kernel releases it when that process dies."""

    def __init__(self, base: Path) -> None:
        self._path = base / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise the fault `home_in_use` with the number of the process that has it.

        Waits two seconds for a service that is ending.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _is_locked(descriptor):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise Fault(
                    "home_in_use",
                    "Another cdp uses this folder",
                    f"Process {holder} holds {self._path}. Stop it first, use it over HTTP, or set CDP_HOME to "
                    "another folder.",
                    status=500,
                    extra={"pid": holder},
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock for the next service."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_locked(descriptor: int) -> bool:
    """Try to take the lock; False when another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_socket_folder(place: ServerPlace) -> Path:
    """An empty folder that only the server's account may enter, with a path short enough for a socket.

    A long path is replaced by a folder with an unguessable name in the temporary folder, which must be
    sticky or ours, so that no other user can move it. The folder of an earlier start is deleted.
    """
    note = place.base / "socket.path"
    drop_socket_folder(place)
    folder = place.base / "socket"
    if len(os.fsencode(folder)) + 1 + len(SOCKET_NAME) <= _SOCKET_PATH_MAX:
        if folder.is_symlink() or folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    else:
        folder = Path(tempfile.mkdtemp(prefix="cdp-", dir=_short_folder()))
        write_private(note, os.fsencode(folder))
    place.account.give(folder)
    return folder


def drop_socket_folder(place: ServerPlace) -> None:
    """Delete the socket folder outside the place, if an earlier start created one and it still belongs to this account."""
    note = place.base / "socket.path"
    if not note.exists():
        return
    folder = Path(os.fsdecode(note.read_bytes()))
    is_folder = folder.name.startswith("cdp-") and folder.is_dir() and not folder.is_symlink()
    if is_folder and folder.stat().st_uid in (os.geteuid(), place.account.uid):
        shutil.rmtree(folder, ignore_errors=True)
    note.unlink()


def _short_folder() -> Path:
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - the folder in it is private
        name = folder / "cdp-12345678" / SOCKET_NAME
        if len(os.fsencode(name)) > _SOCKET_PATH_MAX or not folder.is_dir() or not os.access(folder, os.W_OK):
            continue
        status = folder.stat()
        if not status.st_mode & 0o022 or status.st_mode & 0o1000:
            return folder
    raise Fault(
        "socket_path_too_long",
        "No folder is suitable for the database's socket",
        f"The path of CDP_HOME is too long (at most {_SOCKET_PATH_MAX} bytes), and no temporary folder is safe. "
        "Set CDP_HOME to a shorter path.",
        status=500,
    )
