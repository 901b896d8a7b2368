"""Where tests keep what is gone when they end: in memory if there is room, because thousands of databases are created and dropped."""

import os
import shutil
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 4 * 1024**3


def _in_memory() -> str | None:
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
        return str(_MEMORY)
    return None


FOLDERS: Final = _in_memory()
"""The `dir` of temporary folders: a file system of memory with 4 GiB free, or None for the usual place, on disk."""
PREFIX: Final = "cdp-test-"
"""How the names of these folders begin."""
