"""What cdp creates in its home is closed to other accounts, whatever the umask; a home that is open already is reported."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.commands import Shell, temporary_home
from tests.support.folders import FOLDERS

pytestmark = pytest.mark.slow
_PASSABLE = {0o700, 0o711} if os.geteuid() == 0 else {0o700}
"""Root's server runs as another account, which passes through folders that it cannot list."""


def open_to_others(home: Path) -> list[str]:
    """The folders and files below a home that other accounts can read, list or change.

    The server's data is its own; beside it are settings without secrets, which its account reads.
    """
    found = []
    for folder, names, files in os.walk(home):
        if Path(folder).name == "data":
            names.clear()
        mode = stat.S_IMODE(Path(folder).stat().st_mode)
        if mode not in _PASSABLE:
            found.append(f"{folder} {mode:o}")
        for name in files:
            status = (Path(folder) / name).lstat()
            closed = 0o033 if Path(folder).name == "postgres" else 0o077
            if stat.S_ISREG(status.st_mode) and status.st_mode & closed:
                found.append(f"{folder}/{name} {status.st_mode & 0o777:o}")
    return found


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_home_is_closed_to_others_whatever_the_umask(umask: int) -> None:
    with temporary_home(FOLDERS) as base:
        shell = Shell(base.parent / "made" / "home", identity={"umask": umask})
        (base.parent / "made").mkdir(mode=0o711)
        with shell.serving() as service:
            assert "can be read or changed by other accounts" not in service.output
            shell.spawn("source", "create", "shop")
            assert open_to_others(shell.home) == []
        backup = base.parent / "backup"
        shell.spawn("backup", str(backup / "one"), "--state", str(backup / "state"))
        assert open_to_others(backup / "one") == []
        assert open_to_others(backup / "state") == []


def test_a_home_that_is_open_is_reported_and_left_as_it_is() -> None:
    with temporary_home(FOLDERS) as home:
        home.mkdir()
        home.chmod(0o777)
        shell = Shell(home)
        with shell.serving() as service:
            assert f"{home} can be read or changed by other accounts of this machine" in service.output
            assert "chmod 7" in service.output
        assert stat.S_IMODE(home.stat().st_mode) == 0o777
        assert [each for each in open_to_others(home) if not each.startswith(f"{home} ")] == []
