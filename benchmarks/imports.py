"""`cdp import` of a CSV file beside the ingest pipeline on the same messages, on one durable PostgreSQL.

    python -m benchmarks.imports                     # 1M rows
    python -m benchmarks.imports --rows 30000 --rounds 3

Import: `import_file`, from the bytes of the file to the finished job, in chunks of 1,000 rows. Pipeline: `Ingest.process` on
messages that were read from a file of the same kind before the clock started, in batches of the same size. Both write to one store;
rounds alternate, everybody is known before, and no row occurs twice. Processor time is that of this process and its server process. Peak memory is that of the process of both, without the server.
"""

import argparse
import random
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks._stage import PERMIT_ALL, Spent, Stage, Stopwatch, backend_pid, machine, median, stage, table
from cdp.accounting.model import State
from cdp.flows.context import Context
from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.messages import CHUNK_ROWS, import_file, source_of
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.flows.imports.row import row_reader
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.wire.message import Invalid, Message

_GOAL: Final = 0.6
_MEMORY_GOAL_MB: Final = 250
_HEADER: Final = "order,customer,mail,at,total,shipping,tax,currency,country,items"
_MAPPING: Final = """
event: Order Completed
message_id: {template: "order-{order}"}
timestamp: {column: at, zone: Europe/Berlin}
identifiers: {user_id: customer, email: mail}
properties:
  order_id: order
  revenue: {column: total, type: number}
  shipping: {column: shipping, type: number}
  tax: {column: tax, type: number}
  items: {column: items, type: integer}
  currency: currency
  country: country
"""


def main() -> None:
    """Measure, and print a table."""
    options = _arguments().parse_args()
    with stage() as place:
        print(_measure(place, rows=options.rows, rounds=options.rounds, people=options.people, seed=options.seed))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows that are imported, in all rounds together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=50_000, help="customers whose orders the file has")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _measure(place: Stage, *, rows: int, rounds: int, people: int, seed: int) -> str:
    database = Database(place.url)
    context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
    (place.home / "mapping.yaml").write_text(_MAPPING, encoding="utf-8")
    mapping = load_mapping(place.home / "mapping.yaml")
    facts = machine(database) | {"rows": f"{rows:,}", "customers": f"{people:,}", "rounds": str(rounds)}
    drawn = random.Random(seed)
    _introduce(context, mapping, place.home / "people.csv", people=people)
    each = rows // rounds
    watched = backend_pid(database)
    imported: list[Spent] = []
    piped: list[Spent] = []
    for number in range(rounds):
        ours, theirs = place.home / f"import-{number}.csv", place.home / f"pipeline-{number}.csv"
        _write(ours, "i", number * each, each, people=people, drawn=drawn)
        _write(theirs, "p", number * each, each, people=people, drawn=drawn)
        imported.append(_import(context, ours, mapping, watched))
        piped.append(_pipe(context, theirs, mapping, watched))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != "darwin" else 1024 * 1024)
    database.close()
    share = median([theirs.wall / ours.wall for ours, theirs in zip(imported, piped, strict=True)])
    processor = median([theirs.processor / ours.processor for ours, theirs in zip(imported, piped, strict=True)])
    lines = [
        "## Imports",
        "",
        table(["fact", "value"], [[name, value] for name, value in facts.items()]),
        "",
        table(
            ["measured", "median", "goal"],
            [
                ["rows a second, import", f"{each / median([spent.wall for spent in imported]):,.0f}", ""],
                ["messages a second, pipeline alone", f"{each / median([spent.wall for spent in piped]):,.0f}", ""],
                ["import as a share of the pipeline", f"{share:.2f}", f"{_GOAL} {_verdict(share >= _GOAL)}"],
                ["the same in processor time", f"{processor:.2f}", ""],
                [
                    "peak memory of the process",
                    f"{peak} MB",
                    f"{_MEMORY_GOAL_MB} MB {_verdict(peak < _MEMORY_GOAL_MB)}",
                ],
            ],
        ),
    ]
    return "\n".join(lines)


def _verdict(is_met: bool) -> str:
    return "(met)" if is_met else "(missed)"


def _write(path: Path, prefix: str, first: int, count: int, *, people: int, drawn: random.Random) -> None:
    """A file of orders of the last year; the seed decides everything but the day of the run."""
    latest = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=2)
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER + "\n")
        for number in range(first, first + count):
            who = int(drawn.paretovariate(0.7)) % people
            at = latest - timedelta(minutes=drawn.randrange(300 * 24 * 60))
            total = drawn.randrange(500, 20_000) / 100
            file.write(
                f"{prefix}{number},c{who},c{who}@shop.example,{at},{total:.2f},4.90,{total * 0.19:.2f},EUR,DE,{number % 5 + 1}\n"
            )


def _introduce(context: Context, mapping: Mapping, path: Path, *, people: int) -> None:
    """One order of everybody, so that neither side pays for people whom the other then knows."""
    at = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=2)
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER + "\n")
        file.writelines(f"w{who},c{who},c{who}@shop.example,{at},5.00,4.90,0.95,EUR,DE,1\n" for who in range(people))
    _import(context, path, mapping, backend_pid(context.database))


def _import(context: Context, path: Path, mapping: Mapping, watched: int) -> Spent:
    watch = Stopwatch(watched)
    done = import_file(context, path, mapping)
    spent = watch.read()
    assert done.tally.states == {"stored": done.rows}, done.tally
    return spent


def _pipe(context: Context, path: Path, mapping: Mapping, watched: int) -> Spent:
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    spent = Spent(0.0, 0.0, 0.0)
    for batch in _batches(context, path, mapping):
        watch = Stopwatch(watched)
        outcomes = ingest.process(batch)
        read = watch.read()
        spent = Spent(spent.wall + read.wall, spent.here + read.here, spent.database + read.database)
        assert all(outcome.state is State.STORED for outcome in outcomes)
    return spent


def _batches(context: Context, path: Path, mapping: Mapping) -> Iterator[list[Message | Invalid]]:
    """The messages of a file, read outside of what is measured."""
    file = inspect_file(path, mapping)
    reader = row_reader(mapping, source_of(context, None), file.digest)
    with rows_of(file, mapping) as (rows, _):
        while batch := [reader(row, context.clock.now()) for row in islice(rows, CHUNK_ROWS)]:
            yield batch


if __name__ == "__main__":
    main()
