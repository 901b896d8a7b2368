"""How long a withdrawal takes while messages come: alone, and beside half of the messages that the service can store."""

import asyncio
import json
import time
from typing import Final

from benchmarks._overload import Connection, percentile
from benchmarks._served import served
from benchmarks._shop import Shop
from benchmarks._stage import table

_BATCH: Final = 100
_CONNECTIONS: Final = 8
_CALIBRATION_SECONDS: Final = 15
_PER_SECOND: Final = 10
_PURPOSE: Final = "personalization"


def withdrawals(people: int, acts: int) -> str:
    """A table: p50 and p99 of a withdrawal by the API, from its request to the answer, and the messages stored meanwhile."""
    with served("consent") as (_, service, key):
        port = int(service.url.rpartition(":")[2])
        shop = Shop(seed=5, people=people)
        asyncio.run(_known(port, key, shop, 2 * acts))
        rate, _ = asyncio.run(_beside(port, key, shop, per_second=None, acts=range(0)))
        rows = []
        for share, first in ((0.0, 0), (0.5, acts)):
            asyncio.run(_decided(port, key, range(first, first + acts), "grant"))
            stored, taken = asyncio.run(
                _beside(port, key, shop, per_second=rate * share, acts=range(first, first + acts))
            )
            milliseconds = [1e3 * percentile(taken, part) for part in (0.5, 0.99)]
            rows.append(
                [f"{share:.0%} of {rate:,.0f}", f"{stored:,.0f}", *(f"{one:.0f}" for one in milliseconds), "50"]
            )
    return table(["messages a second offered", "stored/s", "p50 ms", "p99 ms", "goal p99"], rows)


async def _known(port: int, key: str, shop: Shop, people: int) -> None:
    connection = await Connection.opened(port, key)
    calls = [call for call, _ in zip(shop.everybody(), range(max(people, shop.people)), strict=False)]
    for start in range(0, len(calls), _BATCH):
        assert await _post(connection, calls[start : start + _BATCH]) == 200
    connection.close()


async def _decided(port: int, key: str, people: range, act: str) -> list[float]:
    """Record one act for each person, ten a second; the seconds that each took from the moment at which it was due."""
    connection, taken = await Connection.opened(port, key), []
    begun = time.perf_counter()
    for number, person in enumerate(people):
        due = begun + number / _PER_SECOND if act == "withdraw" else time.perf_counter()
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        identifier = {"type": "user_id", "value": f"customer-{person}"}
        body = {"identifier": identifier, "purpose": _PURPOSE, "act": act, "authority": "authenticated"}
        assert await connection.post("/api/v1/consents", json.dumps(body).encode()) == 201
        taken.append(time.perf_counter() - due)
    connection.close()
    return taken


async def _beside(
    port: int, key: str, shop: Shop, *, per_second: float | None, acts: range
) -> tuple[float, list[float]]:
    """Withdraw while messages come at a rate, as fast as they are stored if None; messages stored a second, seconds of each act."""
    ended = asyncio.Event()
    stored = 0
    begun = time.perf_counter()

    async def send(number: int) -> None:
        nonlocal stored
        connection = await Connection.opened(port, key)
        due = begun + (0.0 if per_second is None else number * _BATCH / per_second)  # evenly, not all at once
        while not ended.is_set():
            if per_second is not None:
                due += _BATCH * _CONNECTIONS / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if await _post(connection, shop.calls(_BATCH)) == 200:
                stored += _BATCH
        connection.close()

    senders = [asyncio.create_task(send(number)) for number in range(_CONNECTIONS if per_second != 0 else 0)]
    if acts:
        taken = await _decided(port, key, acts, "withdraw")
    else:
        taken = []
        await asyncio.sleep(_CALIBRATION_SECONDS)
    seconds = time.perf_counter() - begun
    ended.set()
    await asyncio.gather(*senders)
    return stored / seconds, taken


async def _post(connection: Connection, calls: list[dict[str, object]]) -> int:
    return await connection.post("/v1/batch", json.dumps({"batch": calls}).encode())
