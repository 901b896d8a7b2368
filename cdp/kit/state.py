"""State that a restore of the database must not take back: wrapped keys, the replay file, the copy of the audit log.

It is kept outside the database, in a folder or in a PostgreSQL database of its own (`cdp.kit.state_database`). All
services of one database use one state store. What a method has written is durable when it returns.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from cdp.kit.errors import UNAVAILABLE, Fault
from cdp.kit.ids import random_bytes

_PROBE_BYTES: Final = 64 * 1024


class StateStore(Protocol):
    """Named files: appended to, replaced as a whole, or created once. Raises the fault `state_unavailable`."""

    @property
    def place(self) -> str:
        """Where it is, for messages; without secrets."""
        ...

    def within(self, folder: str) -> "StateStore":
        """The store of the files whose names begin with `folder/`."""
        ...

    def names(self) -> frozenset[str]:
        """The names of all files, those in folders with their path."""
        ...

    def read(self, name: str, begin: int = 0, end: int | None = None) -> bytes | None:
        """The bytes of a file from `begin` up to, but without, `end`; None if there is no such file."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file; False, without any change, if it exists."""
        ...

    def append(self, name: str, size: int, content: bytes) -> None:
        """Add bytes after the first `size` bytes of a file, and drop what followed them; creates the file."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Write the whole file, which holds the old or the new content whatever happens; creates it."""
        ...

    def destroy(self, name: str) -> None:
        """Overwrite and delete a file; does nothing if there is none."""
        ...

    def require_writable(self, name: str) -> None:
        """Try to write a file and beside it, without any change; the folder of the file must exist."""
        ...


class StateFolder:
    """A state store in a private folder of this machine, or of a file server that all services reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def place(self) -> str:
        return str(self.folder)

    def within(self, folder: str) -> "StateFolder":
        return StateFolder(self.folder / folder)

    def names(self) -> frozenset[str]:
        if not self.folder.is_dir():
            return frozenset()
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return frozenset(path.relative_to(self.folder).as_posix() for path in files)

    def read(self, name: str, begin: int = 0, end: int | None = None) -> bytes | None:
        content = None
        with self._as_fault(), suppress(FileNotFoundError), (self.folder / name).open("rb") as file:
            file.seek(begin)
            content = file.read() if end is None else file.read(max(0, end - begin))
        return content

    def create(self, name: str, content: bytes) -> bool:
        with self._as_fault():
            draft = self._draft(name, content)
            try:
                os.link(draft, self.folder / name)
            except FileExistsError:
                return False
            finally:
                draft.unlink()
            sync_folder(draft.parent)
        return True

    def append(self, name: str, size: int, content: bytes) -> None:
        with self._as_fault():
            path = self.folder / name
            is_new = not path.exists()
            if is_new:
                self._prepare(path.parent)
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.truncate(size)
                file.seek(size)
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:  # what may not be on disk must not be read, and never be followed by more
                    with suppress(OSError):
                        os.ftruncate(file.fileno(), size)
                    raise
            if is_new:
                sync_folder(path.parent)

    def replace(self, name: str, content: bytes) -> None:
        with self._as_fault():
            draft = self._draft(name, content)
            draft.replace(self.folder / name)
            sync_folder(draft.parent)

    def destroy(self, name: str) -> None:
        with self._as_fault():
            path = self.folder / name
            try:
                with path.open("r+b") as file:
                    file.write(b"\0" * path.stat().st_size)
                    file.flush()
                    os.fsync(file.fileno())
            except FileNotFoundError:
                return
            path.unlink()
            sync_folder(path.parent)

    def require_writable(self, name: str) -> None:
        with self._as_fault():
            path = self.folder / name
            with suppress(FileNotFoundError):
                os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
            if not path.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._draft(name, b"\0" * _PROBE_BYTES).unlink()

    def _draft(self, name: str, content: bytes) -> Path:
        """A new file with this content beside the one of this name, on disk."""
        path = self.folder / name
        self._prepare(path.parent)
        draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # such as a full disk, on which it would leave less for what is written next
            with suppress(OSError):
                draft.unlink()
            raise
        return draft

    def _prepare(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        for path in reversed(missing[: next(at for at, parent in enumerate(missing) if parent.is_dir())]):
            path.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent)

    @contextmanager
    def _as_fault(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Fault(
                "state_unavailable",
                "The state outside the database cannot be read or written",
                f"The folder in CDP_STATE_URL, or else CDP_HOME, cannot be used ({error.strerror}). Nothing that depends on it is "
                "stored until that is corrected.",
                status=503,
                retry_after_seconds=5,
                caller_detail=UNAVAILABLE,
            ) from error


def sync_folder(folder: Path) -> None:
    """Make the names of new, replaced and deleted files of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
