"""How long other people's messages wait beside an adversary who keeps several requests of tangled identities waiting."""

import asyncio
import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks._shop import understood
from benchmarks._stage import median
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.sources.model import Source
from cdp.web.ingest.batcher import Batcher

_SECONDS, _PAUSE_SECONDS = 10.0, 0.02
_ADVERSARIES, _BATCH = 8, 50

Graph = Callable[[random.Random], dict[str, Any]]


def beside(context: Context, attacked: Source, honest: Source, graph: Graph) -> list[list[str]]:
    """Rows: nobody else, an adversary with another source's key, and one with the key of the same source."""
    return asyncio.run(_beside(context, attacked, honest, graph))


async def _beside(context: Context, attacked: Source, honest: Source, graph: Graph) -> list[list[str]]:
    batcher = Batcher(
        Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    )
    batcher.start()
    numbers, chance = count(), random.Random(11)
    rows = []
    for name, source, number in (
        ("nobody", attacked, 0),
        ("the key of another source", attacked, _ADVERSARIES),
        ("the same key", attacked, _ADVERSARIES),
    ):
        own = attacked if name == "the same key" else honest
        sent = [0]
        others = [asyncio.create_task(_adversary(batcher, source, graph, chance, sent)) for _ in range(number)]
        await asyncio.sleep(1)
        sent[0], begun = 0, time.perf_counter()
        waits = []
        while time.perf_counter() < begun + _SECONDS:
            call = {"type": "identify", "userId": f"guest-{next(numbers)}", "traits": {"name": "Guest"}}
            asked = time.perf_counter()
            await batcher.submit(understood([call], own), 300, address="192.0.2.1")
            waits.append(time.perf_counter() - asked)
            await asyncio.sleep(_PAUSE_SECONDS)
        per_second = sent[0] / (time.perf_counter() - begun)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        p99 = sorted(waits)[int(len(waits) * 0.99)]
        figures = (median(waits) * 1000, p99 * 1000, max(waits) * 1000, per_second)
        rows.append([name, *(f"{figure:.0f}" for figure in figures)])
    await batcher.close()
    return rows


async def _adversary(batcher: Batcher, source: Source, graph: Graph, chance: random.Random, sent: list[int]) -> None:
    while True:
        calls = [{"type": "identify", **graph(chance)} for _ in range(_BATCH)]
        await batcher.submit(understood(calls, source), _BATCH * 300, address="192.0.2.66")
        sent[0] += _BATCH
