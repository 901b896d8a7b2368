"""What faults cost: rounds of faults under load, time to serve again after a kill, fuzzed requests, overload, idle connections, the
highest load.

    python -m benchmarks.faults                    # some minutes
    python -m benchmarks.faults --full             # 1,000 rounds, 1,000,000 fuzzed requests, 30 minutes of overload
    python -m benchmarks.faults --only fuzz --fuzz 100000

The rounds are those of `make test-faults`. The others run on one `cdp serve` with its embedded database, as `make run` starts it.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks._fuzz import fuzzed_requests, send_fuzzed
from benchmarks._idle import held, honest
from benchmarks._overload import at_rate, overloaded, percentile
from benchmarks._served import created, served
from benchmarks._shop import Shop
from benchmarks._stage import table
from cdp.postgres.place import find_place
from tests.support.commands import Shell
from tests.support.faults.checker import summary
from tests.support.faults.deployment import deployed
from tests.support.faults.history import READS
from tests.support.faults.rounds import Run

_PAUSE_SECONDS: Final = 0.01
_RATES: Final = (50, 100, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000)
_RATE_SECONDS: Final = 10
_HONEST_REQUESTS: Final = 300


@dataclass(frozen=True, slots=True)
class _Sizes:
    rounds: int
    kills: int
    fuzz: int
    overload_seconds: int
    idle: int
    seed: int


def main() -> None:
    """Measure, and print tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--kills", type=int, default=10, help="of the service, and as many of the database")
    arguments.add_argument("--fuzz", type=int, default=20_000, help="requests")
    arguments.add_argument("--overload", type=int, default=60, help="seconds")
    arguments.add_argument("--idle", type=int, default=2_000, help="idle and slow connections")
    arguments.add_argument(
        "--full", action="store_true", help="1,000 rounds, 100 kills, 1,000,000 requests, 1,800 seconds"
    )
    arguments.add_argument("--only", choices=_PARTS, action="append")
    arguments.add_argument("--seed", type=int, default=8)
    options = arguments.parse_args()
    sizes = _Sizes(options.rounds, options.kills, options.fuzz, options.overload, options.idle, options.seed)
    if options.full:
        sizes = _Sizes(1_000, 100, 1_000_000, 1_800, options.idle, options.seed)
    print("## Faults\n")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = [("processor cores", str(os.cpu_count())), ("memory", f"{memory:.0f} GiB")]
    print(table(["", ""], [*machine, ("load before", f"{os.getloadavg()[0]:.1f}")]), end="\n\n", flush=True)
    for part in options.only or _PARTS:
        print(table(["", ""], _PARTS[part](sizes)), end="\n\n", flush=True)


def _rounds(sizes: _Sizes) -> list[tuple[str, str]]:
    with deployed() as deployment:
        run = Run(deployment, sizes.seed)
        results = list(run.rounds(sizes.rounds))
    acts = [act for act in run.history.acts if act.kind not in READS]
    counts = summary(run.history.acts)
    return [
        ("rounds of faults under load", f"{len(results):,}"),
        ("acts acknowledged", f"{run.history.acknowledged():,}"),
        ("messages acknowledged", f"{counts.get('messages', 0):,}"),
        ("acts that failed or were not answered", f"{sum(act.outcome == 'unknown' for act in acts):,}"),
        ("lost, doubled, or otherwise wrong", f"{sum(len(result.wrong) for result in results)}"),
    ]


def _kills(sizes: _Sizes) -> list[tuple[str, str]]:
    with served() as (shell, service, key):
        _await_stored(service.url, key)
        database = [_seconds_after_kill_of_database(shell.home, service.url, key) for _ in range(sizes.kills)]
        service.process.kill()
        service.process.wait()
        services = [_seconds_after_kill(shell, key) for _ in range(sizes.kills)]
    rows = []
    for name, seconds in (
        ("`kill -9` of the service, its start included", services),
        ("`kill -9` of the database", database),
    ):
        text = f"p50 {percentile(seconds, 0.5):.1f} s, p99 {percentile(seconds, 0.99):.1f} s ({len(seconds)} kills)"
        rows.append((f"first message stored after {name}", text))
    return rows


def _seconds_after_kill(shell: Shell, key: str) -> float:
    """From the start of the service after a kill, with the database that the kill left behind, to the first message stored."""
    begun = time.perf_counter()
    with shell.serving() as service:
        _await_stored(service.url, key)
        seconds = time.perf_counter() - begun
        service.process.kill()
        service.process.wait()
    return seconds


def _seconds_after_kill_of_database(home: Path, url: str, key: str) -> float:
    place = find_place(home)
    assert place is not None
    os.kill(int((place.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    begun = time.perf_counter()
    _await_stored(url, key)
    return time.perf_counter() - begun


def _await_stored(url: str, key: str) -> None:
    body = {"userId": "bench", "event": "Product Viewed"}
    while httpx.post(f"{url}/v1/track", auth=(key, ""), json=body, timeout=60).status_code != 200:
        time.sleep(_PAUSE_SECONDS)


def _fuzz(sizes: _Sizes) -> list[tuple[str, str]]:
    with served() as (shell, service, key):
        token = created(shell, service, "tokens", {"name": "bench", "role": "privacy"})
        port = int(service.url.rpartition(":")[2])
        begun = time.perf_counter()
        requests = fuzzed_requests(sizes.seed, port, key, token)
        statuses, failed = asyncio.run(send_fuzzed(port, requests, sizes.fuzz))
        seconds = time.perf_counter() - begun
        _await_stored(service.url, key)
        for line in failed:
            print(line)
    return [
        ("fuzzed requests", f"{sizes.fuzz:,} in {seconds:.0f} s"),
        *((f"answered {digit}xx", _of_class(statuses, digit)) for digit in (1, 2, 3, 4, 5)),
        ("closed without an answer, because the bytes were not a request", f"{statuses[0]:,}"),
    ]


def _of_class(statuses: Mapping[int, int], digit: int) -> str:
    """How many answers a class of statuses has, and how many each of its statuses."""
    found = {status: count for status, count in sorted(statuses.items()) if status // 100 == digit}
    named = ", ".join(f"{count:,} × {status}" for status, count in found.items())
    return f"{sum(found.values()):,}" + (f" ({named})" if named else "")


def _overload(sizes: _Sizes) -> list[tuple[str, str]]:
    with served() as (_, service, key):
        port, process = int(service.url.rpartition(":")[2]), service.process.pid
        shop = Shop(seed=sizes.seed, people=20_000)
        found = asyncio.run(overloaded(port, key, shop, process=process, seconds=sizes.overload_seconds))
        _await_stored(service.url, key)
    statuses = ", ".join(f"{count:,} × {status or 'closed'}" for status, count in sorted(found.statuses.items()))
    parts = ", ".join(f"{found.of_memory(part, 4):.0f}" for part in range(4))
    return [
        ("overload", f"{sizes.overload_seconds} s, answers {statuses}"),
        ("memory of the service, most in each quarter of that", f"{parts} MB"),
    ]


def _idle(sizes: _Sizes) -> list[tuple[str, str]]:
    with served() as (_, service, key):
        port = int(service.url.rpartition(":")[2])
        asyncio.run(honest(port, key, requests=50))
        before = asyncio.run(honest(port, key, requests=_HONEST_REQUESTS))
        with held(port, key, sizes.idle):
            beside = asyncio.run(honest(port, key, requests=_HONEST_REQUESTS))
    rows = [("without other connections", before), (f"beside {sizes.idle:,} idle and slow connections", beside)]
    return [
        (
            f"{_HONEST_REQUESTS} messages of an honest client {name}",
            f"all stored: p50 {found.p50:.0f} ms, p99 {found.p99:.0f} ms, longest {found.longest:.0f} ms",
        )
        for name, found in rows
    ]


def _highest(sizes: _Sizes) -> list[tuple[str, str]]:
    rows = []
    highest = 0
    with served() as (_, service, key):
        port, shop = int(service.url.rpartition(":")[2]), Shop(seed=sizes.seed, people=20_000)
        asyncio.run(at_rate(port, key, shop, rate=50, seconds=5))
        for rate in _RATES:
            found = asyncio.run(at_rate(port, key, shop, rate=rate, seconds=_RATE_SECONDS))
            rows.append((f"{rate:,} messages a second offered", f"p50 {found.p50:.0f} ms, p99 {found.p99:.0f} ms"))
            if not found.is_within:
                break
            highest = rate
    return [*rows, ("highest of these with p99 < 100 ms", f"{highest:,} messages a second")]


_PARTS: Final[dict[str, Callable[[_Sizes], list[tuple[str, str]]]]] = {
    "rounds": _rounds,
    "kills": _kills,
    "fuzz": _fuzz,
    "overload": _overload,
    "idle": _idle,
    "highest": _highest,
}

if __name__ == "__main__":
    main()
