"""What every benchmark uses: a server of its own, facts about the machine, medians and tables."""

import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.migrate import migrate

ROOT = Path(__file__).parent.parent
PERMIT_ALL = ROOT / "tests" / "data" / "policies" / "permit_all"


@dataclass(frozen=True, slots=True)
class Stage:
    """A durable server with an empty, migrated database, and a home folder beside it."""

    url: str
    home: Path


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage that is deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cdp-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "server", version="18", durable=True)
    try:
        server.start()
        url = server.url_for("cdp", "cdp")
        migrate(url)
        home = folder / "home"
        home.mkdir(mode=0o700)
        yield Stage(url, home)
    finally:
        server.stop()
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Spent:
    """What some work took: time on the wall, and time on a processor here and in the database."""

    wall: float
    here: float
    database: float

    @property
    def processor(self) -> float:
        return self.here + self.database


class Stopwatch:
    """Measures this process and one connection's server process; on other systems than Linux the latter reads 0."""

    def __init__(self, backend_pid: int) -> None:
        self._backend = Path(f"/proc/{backend_pid}/schedstat")
        self._wall, self._here, self._database = time.perf_counter(), time.process_time(), self._spent()

    def read(self) -> Spent:
        """What was spent since the start."""
        return Spent(time.perf_counter() - self._wall, time.process_time() - self._here, self._spent() - self._database)

    def _spent(self) -> float:
        try:
            return int(self._backend.read_text().split()[0]) / 1e9
        except OSError:
            return 0.0


def backend_pid(database: Database) -> int:
    """The server process of the pool's connection; a benchmark with one thread always gets the same one."""
    with database.transaction() as tx:
        return tx.raw.info.backend_pid


def machine(database: Database) -> dict[str, str]:
    """What a reader must know to compare."""
    with database.transaction() as tx:
        version = str(tx.scalar(text("SHOW server_version")))
    return {
        "processor cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "PostgreSQL": version,
    }


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (heads, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
