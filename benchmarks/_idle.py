"""An honest client beside clients that hold connections and send nothing, or too slowly: how long its requests take."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Final

from benchmarks._overload import Connection, percentile
from tests.support.open_files import allow_open_files
from tests.support.slow_clients import slow_clients
from tests.support.waits import PATIENCE_SECONDS

_EVERY_SECONDS: Final = 0.1
_SETTLED_SECONDS: Final = 15.0
"""Once all are connected: until the first ones were closed for being idle, and are connected again."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long requests took, in milliseconds."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Waits":
        return cls(*(1e3 * percentile(seconds, share) for share in (0.5, 0.99, 1.0)))


async def honest(port: int, write_key: str, *, requests: int) -> Waits:
    """Ten messages a second, each on a connection of its own and stored; fails if one is not."""
    taken = []
    begun = time.perf_counter()
    for number in range(requests):
        due = begun + number * _EVERY_SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        connection = await Connection.opened(port, write_key)
        status = await connection.post("/v1/track", b'{"userId": "ada", "event": "Product Viewed"}')
        taken.append(time.perf_counter() - sent)
        connection.close()
        assert status == 200, f"an honest request was answered {status}"
    return Waits.of(taken)


@contextmanager
def held(port: int, write_key: str, connections: int) -> Iterator[None]:
    """So many connections of slow clients, from a process of their own."""
    spawning = multiprocessing.get_context("spawn")
    are_connected = spawning.Event()
    process = spawning.Process(target=_hold, args=(port, write_key, connections, are_connected))
    process.start()
    try:
        assert are_connected.wait(PATIENCE_SECONDS), "not all slow clients were connected"
        time.sleep(_SETTLED_SECONDS)
        yield
    finally:
        process.terminate()
        process.join()


def _hold(port: int, write_key: str, connections: int, are_connected: Event) -> None:
    allow_open_files(connections + 500)

    async def hold() -> None:
        async with slow_clients(port, write_key, connections) as connected:
            while len(connected) < connections:
                await asyncio.sleep(0.1)
            are_connected.set()
            await asyncio.Event().wait()

    asyncio.run(hold())
