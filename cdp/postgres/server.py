"""The embedded PostgreSQL server: one per home folder, started with the service and stopped with it.

Only the programs of the wheel are used. When the service ends in any way, `kill -9` included, the server ends too,
or the next start stops it first.
"""

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self
from urllib.parse import quote

from cdp.kit.errors import Fault
from cdp.postgres.cluster import (
    ADMIN,
    DATABASE,
    OWNER,
    ensure_cluster,
    last_error,
    settings_arguments,
    write_settings,
)
from cdp.postgres.place import (
    FolderLock,
    ServerPlace,
    drop_socket_folder,
    find_place,
    make_home,
    make_place,
    make_socket_folder,
)
from cdp.postgres.programs import Version, can_write, find_programs, launch

_READY_WITHIN_SECONDS: Final = 300.0
_FAST_STOP_SECONDS: Final = 60.0
_IMMEDIATE_STOP_SECONDS: Final = 10.0
_LOG_BYTES_MAX: Final = 10_000_000
_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """The server of one home folder.

    `start` returns the URL of the database `cdp` for the role `cdp`; a second service on the same home raises the fault
    `home_in_use`. `attach` returns the URL of a server that another process runs. With `durable=False` a crash of the
    machine may lose data: for tests only.
    """

    def __init__(self, home: Path, *, version: Version = "18", durable: bool = True) -> None:
        self._home = home
        self._version: Version = version
        self._durable = durable
        self._place: ServerPlace | None = None
        self._lock: FolderLock | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._programs: Path | None = None
        self._is_stopping = threading.Event()
        self._swapping = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._owner_pid = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The database for the service: role `cdp`, which owns it and is not a superuser."""
        return self.url_for(OWNER, DATABASE)

    @property
    def admin_url(self) -> str:
        """The same database for the superuser; for tests and repairs."""
        return self.url_for(ADMIN, DATABASE)

    def url_for(self, role: str, database: str) -> str:
        """A SQLAlchemy URL with the generated password of `role`, over the private socket."""
        if self._place is None or self._socket is None:
            raise Fault("database_not_started", "The embedded database is not running", "Start it first.", status=500)
        password = quote(self._place.read_passwords()[role], safe="")
        host = quote(str(self._socket), safe="/")
        # SCRAM proves the password without sending it, whichever process listens on the socket.
        return f"postgresql+psycopg://{role}:{password}@/{database}?host={host}&require_auth=scram-sha-256"

    def start(self) -> str:
        """Start the server, creating its database first if there is none, and return `url`."""
        if self._child is not None:
            return self.url
        place = make_place(make_home(self._home))
        lock = FolderLock(place.base)
        lock.acquire()
        try:
            self._programs = find_programs(self._version, place.account)
            _stop_leftover(place)
            _rotate(place.log)
            write_settings(place, self._version, durable=self._durable)
            ensure_cluster(place, self._programs, self._version, durable=self._durable)
            _check_reach(place)
            self._place, self._lock, self._owner_pid = place, lock, os.getpid()
            self._socket = make_socket_folder(place)
            self._is_stopping.clear()
            self._child = _patiently(lambda: self._launch(place), place)
        except BaseException:
            self._place = self._lock = None
            lock.release()
            raise
        atexit.register(self.stop)
        _turn_sigterm_into_exit()
        self._keeper = threading.Thread(target=self._keep_running, name="embedded-postgres", daemon=True)
        self._keeper.start()
        return self.url

    def attach(self) -> str | None:
        """The URL of the server that another process runs for this home; None when none runs."""
        place = find_place(self._home.absolute())
        status = _read_status(place.data) if place is not None else None
        if place is None or status is None or not status.is_ready or not _is_server(status.pid, place.data):
            return None
        self._place, self._socket = place, status.socket
        return self.url

    def stop(self) -> None:
        """Stop cleanly: open transactions are rolled back, committed ones are durable."""
        if self._child is None or self._owner_pid != os.getpid():
            return
        with self._swapping:
            self._is_stopping.set()
            child, self._child = self._child, None
        _end(child)
        if self._keeper is not None:  # it may be restarting the server, and ends what it started
            self._keeper.join()
        if self._place is not None:
            drop_socket_folder(self._place)
        if self._lock is not None:
            self._lock.release()
        self._lock = None
        atexit.unregister(self.stop)

    def _launch(self, place: ServerPlace) -> subprocess.Popen[bytes]:
        assert self._programs is not None
        command: list[str | Path] = [
            self._programs / "postgres",
            "-D",
            place.data,
            "-k",
            self._socket or place.base / "socket",
            *settings_arguments(place),
        ]
        with place.open_log() as log:
            child = launch(place.account, command, cwd=place.data, output=log)
        try:
            _await_ready(child, place)
        except BaseException:
            _end(child)
            raise
        return child

    def _keep_running(self) -> None:
        """Restart the server when it ends unexpectedly, with growing pauses."""
        pause = 1.0
        while not self._is_stopping.is_set():
            child, place = self._child, self._place
            if child is None or place is None:
                return
            child.wait()
            if self._is_stopping.wait(pause):
                return
            _log.error("embedded_database_ended", extra={"code": child.returncode})
            try:
                restarted = self._launch(place)
            except (Fault, OSError):
                pause = min(pause * 2, 30.0)
                continue
            with self._swapping:
                if not self._is_stopping.is_set():
                    self._child, pause = restarted, 1.0
                    continue
            _end(restarted)
            return


class _Status:
    """The state that the server wrote to `postmaster.pid`."""

    def __init__(self, lines: list[str]) -> None:
        self.pid = int(lines[0])
        self.socket = Path(lines[4])
        self.is_ready = len(lines) > 7 and lines[7].strip() == "ready"


def _read_status(data: Path) -> _Status | None:
    try:
        return _Status((data / "postmaster.pid").read_text().splitlines())
    except (OSError, ValueError, IndexError):
        return None


def _is_server(pid: int, data: Path) -> bool:
    """True when this process is a PostgreSQL server that uses this data folder."""
    try:
        if Path("/proc/self").exists():
            return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
        command = subprocess.run(["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, check=False)  # noqa: S603
        return str(data).encode() in command.stdout
    except OSError:
        return False


def _stop_leftover(place: ServerPlace) -> None:
    """Stop the server that a killed service left behind; this process holds the lock, so no service uses it."""
    status = _read_status(place.data)
    if status is None:
        return
    deadline = time.monotonic() + _FAST_STOP_SECONDS
    if not _is_server(status.pid, place.data):
        # The number may belong to another program by now, which would make PostgreSQL refuse to start.
        (place.data / "postmaster.pid").unlink(missing_ok=True)
        return
    _log.warning("embedded_database_left_behind", extra={"pid": status.pid})
    stop_with = signal.SIGINT
    with suppress(ProcessLookupError):
        while _is_server(status.pid, place.data):
            os.kill(status.pid, stop_with)
            if time.monotonic() > deadline:
                stop_with, deadline = signal.SIGQUIT, deadline + _IMMEDIATE_STOP_SECONDS
            time.sleep(0.1)


def _await_ready(child: subprocess.Popen[bytes], place: ServerPlace) -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        code = child.poll()
        status = _read_status(place.data)
        if code is None and status is not None and status.pid == child.pid and status.is_ready:
            return
        if code is not None:
            raise _not_started(place, f"PostgreSQL ended with code {code}")
        time.sleep(0.02)
    raise _not_started(place, f"PostgreSQL was not ready within {_READY_WITHIN_SECONDS:.0f} seconds")


def _patiently(launch_server: Callable[[], subprocess.Popen[bytes]], place: ServerPlace) -> subprocess.Popen[bytes]:
    """Launch as soon as the processes of a killed server have ended: until then, its shared memory is still in use."""
    deadline = time.monotonic() + _FAST_STOP_SECONDS
    while True:
        try:
            return launch_server()
        except Fault:
            if "still in use" not in last_error(place.log) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _not_started(place: ServerPlace, what: str) -> Fault:
    return Fault(
        "database_not_started",
        "The embedded database did not start",
        f"{what}{last_error(place.log)}. The log is {place.log}.",
        status=500,
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then immediate shutdown, then kill."""
    steps = ((signal.SIGINT, _FAST_STOP_SECONDS), (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS), (signal.SIGKILL, 10.0))
    for signal_sent, seconds in steps:
        with suppress(ProcessLookupError):
            child.send_signal(signal_sent)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            return


def _check_reach(place: ServerPlace) -> None:
    if not place.account.is_own and not can_write(place.account, place.data):
        raise Fault(
            "database_not_reachable",
            "The database's account cannot reach its folder",
            f"PostgreSQL runs as user number {place.account.uid}, which may not pass through the folders above {place.data}. "
            "Restore the permissions of those folders, or run cdp as the owner of CDP_HOME.",
            status=500,
        )


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))


def _turn_sigterm_into_exit() -> None:
    """Let SIGTERM end the process through its exit handlers, unless it has a handler already."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:

        def leave(number: int, _frame: FrameType | None) -> None:
            sys.exit(128 + number)

        signal.signal(signal.SIGTERM, leave)
