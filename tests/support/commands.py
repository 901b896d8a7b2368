"""`cdp` as a person runs it: in a process of its own, with a home of its own."""

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
from tests.support.waits import PATIENCE_SECONDS, until

ROOT = Path(__file__).resolve().parents[2]
_READY: Final = "cdp is ready at "


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    def expected(self, code: int) -> Self:
        assert self.code == code, f"{self.code}\n{self.stdout}\n{self.stderr}"
        return self


@dataclass(frozen=True, slots=True)
class Shell:
    """A home, and the settings under which commands run in it; `identity` runs them as somebody else."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CDP_")}
        ours = {"CDP_HOME": str(self.home), "CDP_POLICIES": str(ROOT / "policies"), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, **ours, **self.settings}

    def spawn(self, *arguments: str, code: int = 0) -> Done:
        """Run a command in a process of its own; the exit code must be the one expected."""
        done = subprocess.run(
            [sys.executable, "-m", "cdp", *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            **self.identity,
        )
        return Done(done.returncode, done.stdout, done.stderr).expected(code)

    def run(self, *arguments: str, code: int = 0) -> Done:
        """Run a command in this process, which spares a second of loading; otherwise as `spawn`."""
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
        return Done(int(ended or 0), out.getvalue(), err.getvalue()).expected(code)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command answers to a machine."""
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
        service = Service(process, log, log.stat().st_size)
        try:
            service.await_ready()
            yield service
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE_SECONDS)


@dataclass(slots=True)
class Service:
    """A running `cdp serve`; `said` is what it printed since it was started."""

    process: "subprocess.Popen[bytes]"
    log: Path
    offset: int
    url: str = ""

    @property
    def said(self) -> str:
        return self.log.read_bytes()[self.offset :].decode()

    def await_ready(self) -> None:
        until(lambda: self._address() or self.process.poll() is not None, "the service says where it answers")
        self.url = self._address()
        assert self.url, self.said

    def _address(self) -> str:
        lines = [line for line in self.said.split("\n")[:-1] if line.startswith(_READY)]
        return lines[0].removeprefix(_READY) if lines else ""

    def asked(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer to a request, however long it takes."""
        return httpx.request(method, self.url + path, timeout=PATIENCE_SECONDS, **more)


@contextmanager
def a_home() -> Iterator[Path]:
    """A home that does not exist yet, in a folder that the server's account can pass, also when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="cdp-test-") as folder:
        if os.geteuid() == 0:
            Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@contextmanager
def outage(home: Path) -> Iterator[None]:
    """The embedded database of a home is killed with `kill -9`, and cannot come back until the block ends."""
    place = find_place(home)
    assert place is not None
    version, hidden = place.data / "PG_VERSION", place.data / "PG_VERSION.hidden"
    version.rename(hidden)
    try:
        os.kill(int((place.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        yield
    finally:
        hidden.rename(version)
