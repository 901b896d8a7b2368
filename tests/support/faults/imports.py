"""Imports beside the clients: a file of orders by `cdp import`, which is killed at times and then resumed."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from tests.support.commands import ROOT
from tests.support.faults.deployment import Deployment
from tests.support.faults.generator import IMPORT_ROWS
from tests.support.faults.history import Act, History, Kind, Outcome
from tests.support.waits import PATIENCE_SECONDS

SOURCE: Final = "import"
_ATTEMPTS: Final = 4
_NOTHING_TO_RESUME: Final = 3
"""The exit code of `--resume` where the killed import had not begun, or was finished."""
_FINISHED: Final = "Its import is finished"
_MAPPING = """\
type: track
event: Product Viewed
message_id: number
identifiers: {user_id: person}
properties: {price: {column: price, type: number}}
"""


@dataclass(slots=True)
class Import:
    """The import of one round."""

    deployment: Deployment
    round: int
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def messages(self) -> tuple[str, ...]:
        """The message ids of its rows."""
        return tuple(f"i{self.round}-{row}" for row in range(IMPORT_ROWS))

    def start(self) -> None:
        """Begin, and do not wait."""
        folder = self.deployment.folder / "imports"
        folder.mkdir(exist_ok=True)
        (folder / "mapping.yaml").write_text(_MAPPING)
        lines = [f"{name},imported-{row % 40},{row}" for row, name in enumerate(self.messages)]
        (folder / f"{self.round}.csv").write_text("\n".join(["number,person,price", *lines, ""]))
        self._process = self._spawned()

    def kill(self) -> None:
        """End it by `kill -9`, if it still runs."""
        if self._process is not None:
            self._process.kill()

    def finish(self, history: History) -> None:
        """Wait for it, resume it until it is done, and record it."""
        assert self._process is not None
        number = history.begin()
        code = self._process.wait(PATIENCE_SECONDS)
        for _ in range(_ATTEMPTS):
            if code:
                self._process = self._spawned(*([] if code == _NOTHING_TO_RESUME else ["--resume"]))
                code = self._process.wait(PATIENCE_SECONDS)
            if code == _NOTHING_TO_RESUME and _FINISHED in self._log():
                code = 0  # it was killed after its last commit
        assert code == 0, f"the import ended with {code}:\n{self._log()}"
        history.record(
            Act(
                number, self.round, Kind.IMPORT, "imported", Outcome.ACKNOWLEDGED, source=SOURCE, messages=self.messages
            )
        )

    def _log(self) -> str:
        return (self.deployment.folder / "imports" / f"{self.round}.log").read_text()

    def _spawned(self, *more: str) -> "subprocess.Popen[bytes]":
        folder = self.deployment.folder / "imports"
        arguments = [f"{self.round}.csv", "--mapping", "mapping.yaml", *more]
        with (folder / f"{self.round}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cdp", "import", *arguments],
                cwd=folder,
                env={**self.deployment.importer.environment(), "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
