"""The same messages through HTTP: a service in a process of its own, and a bounded load generator in this one."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks._shop import Shop, understood
from benchmarks._stage import PERMIT_ALL, ROOT, Stage, median, table
from cdp.sources.model import Source

_BATCH, _BATCH_CONNECTIONS, _BATCH_REQUESTS = 100, 32, 160
_SINGLE_CONNECTIONS, _SINGLE_REQUESTS = 64, 6_000
_READY_WITHIN_SECONDS = 120


class _Bench(Protocol):
    @property
    def shop(self) -> Shop: ...
    @property
    def source(self) -> Source: ...
    def process(self, messages: Sequence[Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive of the load generator: messages a second, latencies of requests in milliseconds, and the processor
    time of the service in microseconds a message."""

    rate: float
    p50: float
    p99: float
    processor: float


@dataclass(frozen=True, slots=True)
class HttpResult:
    """The throughput and latency of the same messages sent through HTTP."""

    alone: list[float]
    batches: list[Drive]
    singles: list[Drive]
    memory_mb: float

    def table_text(self) -> str:
        """The measurements as a table."""
        share = median([drive.rate / alone for drive, alone in zip(self.batches, self.alone, strict=True)])
        return table(
            ("through HTTP", "messages/s", "p50 ms", "p99 ms", "service µs", "share of the pipeline", "must", "goal"),
            (
                ("pipeline alone, same rounds", f"{median(self.alone):,.0f}", "", "", "", "", "", ""),
                (
                    f"batches of {_BATCH}, {_BATCH_CONNECTIONS} connections",
                    *_cells(self.batches),
                    f"{share:.0%}",
                    "60 %",
                    "85 %",
                ),
                (
                    f"single /v1/track, {_SINGLE_CONNECTIONS} connections",
                    *_cells(self.singles),
                    "",
                    "1,500/s, p99 < 150 ms",
                    "5,000/s, p99 < 50 ms",
                ),
                (f"memory of the service: {self.memory_mb:.0f} MB", "", "", "", "", "", "500 MB", "250 MB"),
            ),
        )


def measure(place: Stage, bench: _Bench, write_key: str, rounds: int) -> HttpResult:
    """Pipeline alone, batches and single calls, in turns, on the same database."""
    alone, batches, singles, memory_mb = [], [], [], 0.0
    with _serving(place) as (port, pid):
        service = _Service(port, pid, base64.b64encode(f"{write_key}:".encode()).decode())
        drive(service, "/v1/batch", [_batch(bench.shop) for _ in range(20)], 4)
        for _ in range(rounds):
            sent = understood(bench.shop.calls(_BATCH * _BATCH_REQUESTS), bench.source)
            begun = time.perf_counter()
            bench.process(sent)
            alone.append(len(sent) / (time.perf_counter() - begun))
            bodies = [_batch(bench.shop) for _ in range(_BATCH_REQUESTS)]
            batches.append(drive(service, "/v1/batch", bodies, _BATCH_CONNECTIONS, messages=_BATCH))
            bodies = [json.dumps(call).encode() for call in bench.shop.calls(_SINGLE_REQUESTS)]
            singles.append(drive(service, "/v1/track", bodies, _SINGLE_CONNECTIONS))
            memory_mb = max(memory_mb, _memory_mb(pid))
    return HttpResult(alone, batches, singles, memory_mb)


@dataclass(frozen=True, slots=True)
class _Service:
    port: int
    pid: int
    credentials: str

    def processor(self) -> float:
        """Seconds of processor time that the service has spent; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(service: _Service, path: str, bodies: Sequence[bytes], connections: int, *, messages: int = 1) -> Drive:
    """Send every body once over so many connections, each waiting for its answer before it sends again."""
    waiting = iter(
        b"POST %b HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic %b\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), service.credentials.encode(), len(body), body)
        for body in bodies
    )
    seconds: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        for request in waiting:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            seconds.append(time.perf_counter() - begun)
        writer.close()

    async def everything() -> float:
        begun = time.perf_counter()
        await asyncio.gather(*(connection() for _ in range(connections)))
        return time.perf_counter() - begun

    spent = service.processor()
    wall = asyncio.run(everything())
    spent = service.processor() - spent
    ordered = sorted(seconds)
    count = len(bodies) * messages
    return Drive(
        count / wall, 1e3 * ordered[len(ordered) // 2], 1e3 * ordered[int(len(ordered) * 0.99)], 1e6 * spent / count
    )


def _batch(shop: Shop) -> bytes:
    return json.dumps({"batch": shop.calls(_BATCH)}).encode()


def _cells(drives: Sequence[Drive]) -> tuple[str, str, str, str]:
    return (
        f"{median([each.rate for each in drives]):,.0f}",
        f"{median([each.p50 for each in drives]):.0f}",
        f"{median([each.p99 for each in drives]):.0f}",
        f"{median([each.processor for each in drives]):.0f}",
    )


@contextmanager
def _serving(place: Stage) -> Iterator[tuple[int, int]]:
    """The service on the same database, with the same keys; its port and process id."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CDP_")} | {
        "CDP_DATABASE_URL": place.url.replace("postgresql+psycopg", "postgresql"),
        "CDP_HOME": str(place.home),
        "CDP_POLICIES": str(PERMIT_ALL),
        "CDP_PORT": "0",
        "CDP_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "cdp.cli.main", "serve"]
    log = place.home / "service.log"
    with log.open("w") as output:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment, cwd=ROOT)
    try:
        yield _port(child, log), child.pid
    finally:
        child.terminate()
        child.wait(60)


def _port(child: "subprocess.Popen[str]", log: Path) -> int:
    assert child.stdout is not None
    begun = time.monotonic()
    for line in child.stdout:
        if " at http://" in line:
            return int(line.strip().rpartition(":")[2])
        if time.monotonic() - begun > _READY_WITHIN_SECONDS:
            break
    raise SystemExit(f"the service did not start: {log.read_text()[-2000:]}")


def _memory_mb(pid: int) -> float:
    """The resident memory of a process now; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
