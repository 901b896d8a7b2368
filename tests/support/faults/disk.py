"""Disks that fill up: a small file system of memory where that may be mounted, a limit on the size of files elsewhere."""

import os
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.waits import until

_SIZE: Final = "8g"
_WAL_SEGMENT_BYTES: Final = 16 * 1024 * 1024


class SmallDisk:
    """A file system of memory, mounted on a folder; full when its size is set to what is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_mounted = False

    def mount(self) -> bool:
        """Mount it where that is permitted; False elsewhere."""
        self.folder.mkdir(exist_ok=True)
        mode = f"size={_SIZE},mode=0711"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", mode, "tmpfs", self.folder], capture_output=True)
        self.is_mounted = done.returncode == 0
        return self.is_mounted

    def fill(self) -> None:
        """Leave no free block."""
        until(self._filled, "a size that is not below what is used by then")

    def free(self) -> None:
        """Give it all its space."""
        assert self._remounted(f"size={_SIZE}")

    def protect(self) -> None:
        """Let nothing be written. Where it is not mounted, the folder refuses new files, and files refuse to be changed."""
        if self.is_mounted:
            until(lambda: self._remounted("ro"), "a moment in which no file is being written")
            return
        for path in [self.folder, *self.folder.rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)

    def unprotect(self) -> None:
        """Let everything be written."""
        if self.is_mounted:
            assert self._remounted("rw")
            return
        self.folder.chmod(0o700)
        for path in self.folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)

    def unmount(self) -> None:
        """Unmount it, whatever still uses it."""
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", self.folder], check=True)
            self.is_mounted = False

    def _filled(self) -> bool:
        status = os.statvfs(self.folder)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize // 1024
        return self._remounted(f"size={max(used, 4)}k")

    def _remounted(self, option: str) -> bool:
        return subprocess.run(["mount", "-o", f"remount,{option}", self.folder], capture_output=True).returncode == 0


def limit_files(processes: Iterable[int], bytes_max: int | None) -> None:
    """Let no file of these processes grow beyond a size; None lifts the limit. For the owner of the processes, and root."""
    for process in processes:
        try:
            status = Path(f"/proc/{process}").stat()
        except OSError:  # it has ended
            continue
        if status.st_uid == os.geteuid():
            _limit(process, bytes_max)
            continue
        child = os.fork()
        if child == 0:  # root without the right to limit others becomes the owner
            try:
                os.setresgid(status.st_gid, status.st_gid, status.st_gid)
                os.setresuid(status.st_uid, status.st_uid, status.st_uid)
                _limit(process, bytes_max)
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, ended = os.waitpid(child, 0)
        assert ended == 0, f"the size of files of process {process} could not be limited"


def _limit(process: int, bytes_max: int | None) -> None:
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        soft = hard if bytes_max is None else bytes_max
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


BELOW_A_WAL_SEGMENT: Final = _WAL_SEGMENT_BYTES // 2
"""A limit at which PostgreSQL cannot create the next segment of its write-ahead log, and panics as on a full disk."""


def descendants(process: int) -> list[int]:
    """A process with all that it started, directly or not."""
    found, waiting = [], [process]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        try:
            tasks = Path(f"/proc/{parent}/task").iterdir()
            waiting += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found
