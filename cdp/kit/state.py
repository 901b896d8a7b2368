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

from cdp.kit.drafts import delete_abandoned, sync_folder, written_draft
from cdp.kit.errors import UNAVAILABLE, Fault

KEYS: Final = "keys"
"""The folder of the wrapped keys in a state store."""

AUDIT_COPY: Final = "audit"
"""The folder of the copy of the audit log in a state store."""

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
        """Add bytes after the first `size` bytes of a file, and drop what followed them; creates the file for size 0.

        A file with fewer bytes is a fault, and is left as it is.
        """
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Write the whole file, which holds the old or the new content whatever happens; creates it."""
        ...

    def destroy(self, name: str) -> None:
        """Overwrite and delete a file, with what a killed writer left of it; does nothing if there is none."""
        ...

    def delete_drafts(self, *folders: str) -> int:
        """Overwrite and delete what killed writers left: of the files here, and of all in these folders; how many."""
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
        path = self.folder / name
        with self._as_fault():
            self._prepare(path.parent)
            with written_draft(path, content) as draft:
                try:
                    os.link(draft, path)
                except FileExistsError:
                    return False
            sync_folder(path.parent)
        return True

    def append(self, name: str, size: int, content: bytes) -> None:
        with self._as_fault():
            path = self.folder / name
            is_new = not path.exists()
            if is_new:
                self._prepare(path.parent)
            with os.fdopen(os.open(path, os.O_RDWR | (0 if size else os.O_CREAT), 0o600), "r+b") as file:
                if os.fstat(file.fileno()).st_size < size:  # bytes that were read before are gone
                    raise OSError(errno.EIO, f"{path.name} became shorter")
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
        path = self.folder / name
        with self._as_fault():
            self._prepare(path.parent)
            with written_draft(path, content) as draft:
                draft.replace(path)
            sync_folder(path.parent)

    def destroy(self, name: str) -> None:
        with self._as_fault():
            path = self.folder / name
            delete_abandoned(path.parent.glob(f".{path.name}.*"))
            try:
                with path.open("r+b") as file:
                    file.write(b"\0" * path.stat().st_size)
                    file.flush()
                    os.fsync(file.fileno())
            except FileNotFoundError:
                return
            path.unlink()
            sync_folder(path.parent)

    def delete_drafts(self, *folders: str) -> int:
        with self._as_fault():
            deleted = delete_abandoned(self.folder.glob(".*"))
            return deleted + sum(delete_abandoned((self.folder / name).rglob(".*")) for name in folders)

    def require_writable(self, name: str) -> None:
        with self._as_fault():
            path = self.folder / name
            with suppress(FileNotFoundError):
                os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
            if not path.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            with written_draft(path, b"\0" * _PROBE_BYTES):
                pass

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
