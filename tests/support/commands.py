"""The command `cdp`, in its own process and with its own home folder."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx

from cdp.cli.command import run
from cdp.cli.main import cdp
from cdp.postgres.place import find_place
from tests.support.folders import PREFIX
from tests.support.waits import PATIENCE_SECONDS, until

ROOT = Path(__file__).resolve().parents[2]
_READY: Final = "cdp is ready at "
_COMPILED: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""What is compiled is kept: otherwise a third of the processor time of the start of each command compiles the same modules."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code of a command, and what it printed."""

    code: int
    stdout: str
    stderr: str

    def expected(self, code: int) -> Self:
        """The result itself; fails the test unless the exit code is `code`."""
        assert self.code == code, f"{self.code}\n{self.stdout}\n{self.stderr}"
        return self


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands with a home folder and settings; `identity` is passed to `Popen` to run them as another account."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CDP_")}
        ours = {"CDP_HOME": str(self.home), "CDP_POLICIES": str(ROOT / "policies"), **_COMPILED}
        return {**kept, **ours, **self.settings}

    def spawn(self, *arguments: str, code: int = 0) -> CommandResult:
        """Run a command in a new process; fails unless it exits with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "cdp", *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            **self.identity,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr).expected(code)

    def run(self, *arguments: str, code: int = 0) -> CommandResult:
        """Run a command in this process, which saves a second of loading; otherwise like `spawn`."""
        return self.result(*arguments).expected(code)

    def result(self, *arguments: str) -> CommandResult:
        """Run a command in this process, whatever its exit code."""
        out, err = io.StringIO(), io.StringIO()
        before, log = dict(os.environ), logging.getLogger()
        handlers, level = log.handlers[:], log.level
        os.environ.clear()
        os.environ.update(self.environment())
        try:
            with redirect_stdout(out), redirect_stderr(err):
                run(cdp, list(arguments))
        except SystemExit as end:
            ended = end.code
        finally:
            os.environ.clear()
            os.environ.update(before)
            log.handlers[:], log.level = handlers, level
        return CommandResult(int(ended or 0), out.getvalue(), err.getvalue())

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The JSON that a command prints with `--json`."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    @contextmanager
    def serving(self) -> Iterator["Service"]:
        """`cdp serve` on a free port, until the block ends."""
        log = self.home.parent / f"{self.home.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cdp", "serve", "--port", "0", "--no-demo"],
                cwd=ROOT,
                env=self.environment(),
                stdout=output,
                stderr=output,
                **self.identity,
            )
        with serving(process, log, log.stat().st_size) as service:
            yield service


@dataclass(slots=True)
class Service:
    """A running `cdp serve`."""

    process: "subprocess.Popen[bytes]"
    log: Path
    offset: int
    url: str = ""

    @property
    def output(self) -> str:
        """What the service has printed since it was started."""
        return self.log.read_bytes()[self.offset :].decode()

    def await_ready(self) -> None:
        """Wait until the service prints its address; fails the test if it ends first."""
        until(lambda: self._address() or self.process.poll() is not None, "the address of the service")
        self.url = self._address()
        assert self.url, self.output

    def _address(self) -> str:
        lines = [line for line in self.output.split("\n")[:-1] if line.startswith(_READY)]
        return lines[0].removeprefix(_READY) if lines else ""

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The response to a request, however long it takes."""
        return httpx.request(method, self.url + path, timeout=PATIENCE_SECONDS, **more)


@contextmanager
def serving(process: "subprocess.Popen[bytes]", log: Path, offset: int = 0) -> Iterator[Service]:
    """A process that runs `cdp serve` and writes its log from `offset`: wait until it is ready, stop it in the end."""
    service = Service(process, log, offset)
    try:
        service.await_ready()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)


@contextmanager
def temporary_home(parent: str | None = None) -> Iterator[Path]:
    """A home that does not exist yet, on disk by default; PostgreSQL's account can reach it even when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as folder:
        if os.geteuid() == 0:
            Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@contextmanager
def outage(home: Path) -> Iterator[None]:
    """Kill the embedded database of a home with `kill -9`, and keep it from starting until the block ends."""
    place = find_place(home)
    assert place is not None
    version, hidden = place.data / "PG_VERSION", place.data / "PG_VERSION.hidden"
    version.rename(hidden)
    try:
        os.kill(int((place.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        yield
    finally:
        hidden.rename(version)
