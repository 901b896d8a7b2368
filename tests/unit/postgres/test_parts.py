"""The parts of the embedded server that need no server: files, faults, the environment and the launcher."""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdp.kit.errors import Fault
from cdp.postgres import launch
from cdp.postgres.cluster import last_error
from cdp.postgres.place import FolderLock, make_home, write_private, write_readable
from cdp.postgres.programs import Account, account_of, child_environment, find_programs, require_name


def test_a_private_file_is_its_owners_only_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", b"1")
        write_private(tmp_path / "secret", b"2")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").read_bytes() == b"2"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    writers: tuple[Callable[[Path], None], ...] = (
        lambda path: write_private(path, b"x"),
        lambda path: write_readable(path, "x"),
    )
    for write in writers:
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(victim)
        write(tmp_path / "link")
        assert victim.read_text() == "mine"
        assert not (tmp_path / "link").is_symlink()


def test_a_new_home_is_closed_to_the_eyes_of_others(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a" / "home")
    assert home.is_absolute()
    assert stat.S_IMODE(home.stat().st_mode) & 0o066 == 0


def test_a_home_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o750)
    make_home(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o750


def test_a_file_where_the_home_should_be_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(Fault) as raised:
        make_home(tmp_path / "home")
    assert raised.value.code == "home_not_usable"
    assert str(tmp_path / "home") in raised.value.detail


def test_a_lock_is_held_by_one_and_free_again_when_let_go(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(Fault) as raised:
        second.acquire()
    assert raised.value.code == "home_in_use"
    assert raised.value.extra == {"pid": str(os.getpid())}
    first.release()
    second.acquire()
    second.release()


def test_the_servers_environment_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_MASTER_KEY", "x")
    monkeypatch.setenv("PGHOST", "x")
    assert {name for name in child_environment() if name.startswith(("CDP_", "PG"))} == set()


def test_a_number_without_a_name_is_a_fault_that_says_what_to_do() -> None:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    free = next(uid for uid in range(51_234, 60_000) if uid not in taken)
    with pytest.raises(Fault) as raised:
        require_name(Account(free, free, (), is_own=False))
    assert raised.value.code == "account_without_name"
    assert str(free) in raised.value.detail
    require_name(account_of(0))


@pytest.mark.parametrize("version", ["18", "16"])
def test_the_wheel_brings_the_programs_of_both_versions(version: str) -> None:
    programs = find_programs("16" if version == "16" else "18", account_of(os.geteuid()))
    finished = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True)
    assert finished.stdout.startswith(f"postgres (PostgreSQL) {version}.")
    assert (programs / "initdb").exists()


def test_the_last_reason_in_the_log_is_found_and_chatter_is_not(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert last_error(log) == ""
    log.write_text('LOG:  starting\nFATAL:  could not write lock file "postmaster.pid": No space left\nLOG:  bye\n')
    assert last_error(log) == ' (FATAL:  could not write lock file "postmaster.pid": No space left)'


def test_the_launcher_becomes_the_program_only_for_a_living_parent() -> None:
    launcher = [sys.executable, "-I", "-S", launch.__file__]
    mine = subprocess.run(
        [*launcher, str(os.getpid()), "-", "/bin/sh", "-c", "umask; echo $$"], capture_output=True, text=True
    )
    assert mine.stdout.splitlines()[0].endswith("77")
    assert mine.returncode == 0
    if sys.platform == "linux":
        orphan = subprocess.run([*launcher, "1", "-", "/bin/echo", "started"], capture_output=True, text=True)
        assert (orphan.returncode, orphan.stdout) == (126, "")
