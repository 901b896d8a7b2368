"""Files that a person names on a command line, read whole but never without an end."""

import stat
from pathlib import Path
from typing import Final

from cdp.kit.errors import Fault

BYTES_MAX: Final = 64 * 1024 * 1024


def read_bounded(path: Path, *, bytes_max: int = BYTES_MAX) -> bytes:
    """The content of a regular file of at most `bytes_max` bytes.

    Raises OSError where it cannot be opened. Faults: `not_a_file` for a device, a pipe or a folder, `file_too_large`.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise Fault("file_too_large", "The file is too large", f"{path} has more than {bytes_max:,} bytes.", status=422)
    return content


def require_regular(path: Path) -> None:
    """Raises the fault `not_a_file` for what may never end or never begin: a device, a pipe, a socket; or a folder."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Fault(
            "not_a_file",
            "A regular file is needed",
            f"{path} is a device, a pipe or a folder. Write its content to a file, and name that.",
            status=422,
        )
