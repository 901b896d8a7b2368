"""What tangled identities cost, and whom: batches of 50 messages, and single messages of others beside them.

    python -m benchmarks.tangle                  # some minutes
    python -m benchmarks.tangle --graph 1        # one of the graphs
    python -m benchmarks.tangle --only people    # one identifier that many share

An adversary with a write key names random pairs out of a set of user ids and a set of addresses or devices, so that
ever more of them turn out to be shared. The baseline is a batch of people who are new and share nothing, in the same
run, on the same store. The times are those of the processor, of the program and its server process together; the waiting
times of the last table are those of the clock, and depend on the machine's other load.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from benchmarks._beside import beside
from benchmarks._shop import understood
from benchmarks._stage import PERMIT_ALL, Stopwatch, backend_pid, machine, median, stage, table
from benchmarks._tablet import crowd_rows, waiting_rows
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import Source, SourceKind

_BATCH = 50
_EMAIL = "tangled.example"

Graph = Callable[[random.Random], dict[str, Any]]


def _addresses(chance: random.Random) -> dict[str, Any]:
    return {"userId": f"u{chance.randrange(2_000)}", "traits": {"email": f"e{chance.randrange(1_500)}@{_EMAIL}"}}


def _devices(chance: random.Random) -> dict[str, Any]:
    return {"userId": f"u{chance.randrange(2_000)}", "anonymousId": f"d{chance.randrange(1_500)}"}


def _without_user(chance: random.Random) -> dict[str, Any]:
    return {"anonymousId": f"a{chance.randrange(2_000)}", "traits": {"email": f"f{chance.randrange(1_500)}@{_EMAIL}"}}


def _one_device(chance: random.Random) -> dict[str, Any]:
    return {"userId": f"k{chance.randrange(10**9)}", "anonymousId": "kiosk"}


def _one_user(chance: random.Random) -> dict[str, Any]:
    return {"userId": "everybody", "anonymousId": f"z{chance.randrange(10**9)}"}


def _shared_pairs(chance: random.Random) -> dict[str, Any]:
    return {"anonymousId": f"d{chance.randrange(1_500)}", "traits": {"email": f"e{chance.randrange(1_500)}@{_EMAIL}"}}


GRAPHS: dict[str, Graph] = {
    "2,000 users, 1,500 addresses": _addresses,
    "2,000 users, 1,500 devices": _devices,
    "2,000 devices, 1,500 addresses": _without_user,
    "one device, many users": _one_device,
    "one user, many devices": _one_user,
    "addresses and devices that are shared": _shared_pairs,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--messages", type=int, default=3_000, help="of the adversary, for each graph")
    arguments.add_argument("--people", type=int, nargs="+", default=[1_000, 8_000], help="who share one identifier")
    arguments.add_argument("--only", choices=("graphs", "people"), help="only one of the two parts")
    arguments.add_argument("--graph", type=int, choices=range(len(GRAPHS)), help="only the one with this number")
    options = arguments.parse_args()
    if options.only != "people":
        _graphs(options)
    if options.only != "graphs" and options.graph is None:
        _people(options.people)


def _people(sizes: list[int]) -> None:
    rows = [row for people in sizes for row in crowd_rows(people)]
    heads = [
        "ms; profiles",
        "new person",
        "first refusal",
        "repeated",
        "withdrawal by API",
        "one more user",
        "server names it",
    ]
    print("\n## One identifier that many share\n")
    print(table(heads, rows), end="\n\n", flush=True)
    waits = [[str(people), *row] for people in sizes[-1:] for row in waiting_rows(people)]
    print(table(["others wait, ms; profiles", "beside", "p50", "p99", "worst", "refusals/s"], waits))


def _graphs(options: argparse.Namespace) -> None:
    graphs = list(GRAPHS.items())
    rows: list[list[str]] = []
    waits: list[list[str]] = []
    for name, graph in graphs if options.graph is None else [graphs[options.graph]]:
        for kind in (SourceKind.SERVER, SourceKind.BROWSER):
            with stage() as place:
                database = Database(place.url)
                if not rows:
                    print("## Tangled identities\n")
                    print(table(["", ""], list(machine(database).items())), end="\n\n", flush=True)
                context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
                attacked = create_source(context, "attacked", kind=kind, jurisdiction="eu").entry.source
                honest = create_source(context, "honest", kind=SourceKind.SERVER, jurisdiction="eu").entry.source
                rows.append([name, kind.value, *_measured(context, attacked, honest, graph, options.messages)])
                if kind is SourceKind.BROWSER:
                    waits += [[name, *row] for row in beside(context, attacked, honest, graph)]
                print(f"{name}, {kind.value}: measured", file=sys.stderr, flush=True)
                database.close()
    heads = ["ms of a batch of 50", "words of", "new people", "first 10 %", "last 10 %", "worst", "new people, last"]
    print(table(heads, rows), end="\n\n")
    print(table(["others wait, ms", "beside", "p50", "p99", "worst", "adversary's messages/s"], waits))


def _measured(context: Context, attacked: Source, honest: Source, graph: Graph, messages: int) -> list[str]:
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    backend = backend_pid(context.database)
    chance, numbers = random.Random(7), count()
    batches = messages // _BATCH
    people = [_timed(ingest, honest, _new_people(numbers), backend=backend) for _ in range(20)][5:]
    tangled, others = [], []
    for number in range(batches):
        bodies = [{"type": "identify", **graph(chance)} for _ in range(_BATCH)]
        tangled.append(_timed(ingest, attacked, bodies, backend=backend))
        if number % 5 == 4:
            others.append(_timed(ingest, honest, _new_people(numbers), backend=backend))
    part = max(1, batches // 10)
    figures = (median(people), median(tangled[:part]), median(tangled[-part:]), max(tangled), median(others[-5:]))
    return [f"{figure * 1000:.0f}" for figure in figures]


def _new_people(numbers: Iterator[int]) -> list[dict[str, Any]]:
    return [
        {"type": "identify", "userId": f"new-{number}", "traits": {"email": f"new-{number}@honest.example"}}
        for number in (next(numbers) for _ in range(_BATCH))
    ]


def _timed(ingest: Ingest, source: Source, bodies: list[dict[str, Any]], *, backend: int) -> float:
    messages = understood(bodies, source)
    watch = Stopwatch(backend)
    ingest.process(messages)
    return watch.read().processor


if __name__ == "__main__":
    main()
