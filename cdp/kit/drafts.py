"""Drafts: a file is written under a name of its own, and takes its place as a whole when it is on disk.

The writer holds a lock of the operating system on its draft, which ends with the process. So a draft that nobody holds was
left by a process that was killed: it is overwritten and deleted.
"""

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cdp.kit.ids import random_bytes

_NAME: Final = re.compile(r"\..+\.[0-9a-f]{16}")
_RANDOM_BYTES: Final = 8


@contextmanager
def written_draft(path: Path, content: bytes) -> Iterator[Path]:
    """A draft with this content beside `path`, on disk, for the block to put in its place; it is deleted otherwise."""
    draft, descriptor = _created(path)
    with os.fdopen(descriptor, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def is_draft(name: str) -> bool:
    """Whether this is the name of a draft."""
    return _NAME.fullmatch(name) is not None


def delete_abandoned(paths: Iterable[Path]) -> int:
    """Overwrite and delete those of these files that are drafts which no living process writes; returns how many."""
    return sum(_delete(path) for path in paths if is_draft(path.name))


def sync_folder(folder: Path) -> None:
    """Make the names of new, replaced and deleted files of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _created(path: Path) -> tuple[Path, int]:
    while True:
        draft = path.with_name(f".{path.name}.{random_bytes(_RANDOM_BYTES).hex()}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with suppress(OSError):  # a file system without locks: then nobody can take it for abandoned either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)  # it was taken for abandoned before it was locked


def _delete(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            named = path.stat(follow_symlinks=False)
        except OSError:  # it is being written, or took its place in the meantime
            return False
        found = os.fstat(descriptor)
        if (named.st_dev, named.st_ino) != (found.st_dev, found.st_ino):
            return False
        if found.st_nlink == 1:  # otherwise the same bytes are a finished file
            file.write(b"\0" * found.st_size)
            file.flush()
            os.fsync(descriptor)
        path.unlink()
    sync_folder(path.parent)
    return True
