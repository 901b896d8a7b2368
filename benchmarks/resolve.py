"""Identity resolution: its share of ingest by batch size, a link table compared with scipy, the latency of an unmerge.

    python -m benchmarks.resolve                     # some minutes
    python -m benchmarks.resolve --full              # one million edges

Resolution is the elapsed time, including the database, of finding identifiers, anchors and groups, resolving them, and writing the
mapping and its evidence; the whole ingest is shown alongside, including the fixed cost of a transaction. The link table is imported
from strings in memory into an empty, durable PostgreSQL: identifiers are normalized, hashed and sealed under keys of their own, every
row is recorded with its evidence, and profiles and verdicts are written. scipy writes nothing; it is measured from numbers in arrays,
from numbered pairs, and from the same strings.
"""

import argparse
import time

from benchmarks._links import Import, beside_ingest, compared, draw, rows_of
from benchmarks._phases import resolution
from benchmarks._shop import Shop, understood
from benchmarks._stage import PERMIT_ALL, Stage, Stopwatch, backend_pid, machine, median, stage, table
from cdp.accounting.model import State
from cdp.flows.context import Context
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.identity.model import Identifier
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import Source, SourceKind

_BATCHES = (100, 1_000, 10_000)


def main() -> None:
    arguments = _arguments().parse_args()
    with stage() as place:
        database = Database(place.url)
        print(table(("machine", ""), list(machine(database).items())), end="\n\n")
        context, source = _opened(place, database)
        print(_batches(context, source, arguments.messages, arguments.rounds, arguments.seed), end="\n\n")
        print(_unmerges(context, source, arguments.people, arguments.events), end="\n\n")
        database.close()
    drawn = draw(1_000_000 if arguments.full else arguments.edges, arguments.seed)
    imports = []
    for _ in range(arguments.rounds):
        with stage() as place:
            database = Database(place.url)
            imports.append(Import(*_opened(place, database), rows_of(drawn)))
            database.close()
    print(compared(imports, drawn), end="\n\n")
    with stage() as place:
        database = Database(place.url)
        print(beside_ingest(*_opened(place, database), rows_of(draw(min(len(drawn), 200_000), arguments.seed))))
        database.close()


def _opened(place: Stage, database: Database) -> tuple[Context, Source]:
    context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
    return context, create_source(context, "bench", kind=SourceKind.SERVER, jurisdiction="eu").entry.source


def _batches(context: Context, source: Source, messages: int, rounds: int, seed: int) -> str:
    """Time per message at each batch size, alternating between sizes: of the whole ingest, and of resolution alone."""
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    shop = Shop(5_000, seed=seed)
    ingest.process(understood(list(shop.everybody()), source))
    pid = backend_pid(context.database)
    wall: dict[int, list[float]] = {size: [] for size in _BATCHES}
    processor: dict[int, list[float]] = {size: [] for size in _BATCHES}
    resolving: dict[int, list[float]] = {size: [] for size in _BATCHES}
    for _ in range(rounds):
        for size in _BATCHES:
            sent = understood(shop.calls(messages), source)
            with resolution() as parts:
                watch = Stopwatch(pid)
                for at in range(0, len(sent), size):
                    outcomes = ingest.process(sent[at : at + size])
                    assert all(outcome.state is State.STORED for outcome in outcomes)
                spent = watch.read()
            wall[size].append(spent.wall / messages * 1e6)
            processor[size].append(spent.processor / messages * 1e6)
            resolving[size].append(parts[0] / messages * 1e6)
    rows = [
        (
            f"{size:,}",
            f"{median(wall[size]):.0f}",
            f"{median(processor[size]):.0f}",
            f"{median(resolving[size]):.1f}",
            f"{median([one / whole for one, whole in zip(resolving[size], wall[size], strict=True)]):.0%}",
        )
        for size in _BATCHES
    ]
    heads = ("batch", "µs per message", "processor µs", "µs of resolution", "share")
    least, most = _BATCHES[0], _BATCHES[-1]
    summary = (
        f"{messages:,} messages per round, {rounds} rounds. In batches of {least:,} instead of {most:,}, a message takes "
        f"{median(resolving[least]) / median(resolving[most]):.2f} times as long for resolution and "
        f"{median(wall[least]) / median(wall[most]):.2f} times as long in all; independent of the batch size would be 1."
    )
    return f"{summary}\n\n{table(heads, rows)}"


def _unmerges(context: Context, source: Source, people: int, events: int) -> str:
    """Unmerge a user id and a device that are linked in the middle of their events."""
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    dry_runs: list[float] = []
    done: list[float] = []
    for number in range(people):
        name, device = f"merged-{number}", f"merged-device-{number}"
        calls = Shop(1, seed=10_000 + number).calls(events)
        for at, call in enumerate(calls):
            call |= {"userId": name, "anonymousId": device, "messageId": f"{name}-{at}"}
            if at != events // 2:
                del call["userId" if at % 2 else "anonymousId"]
        for at in range(0, events, 500):
            outcomes = ingest.process(understood(calls[at : at + 500], source))
            assert all(outcome.state is State.STORED for outcome in outcomes)
        pair = Identifier("user_id", name), Identifier("anonymous_id", device)
        for is_dry_run, spent in ((True, dry_runs), (False, done)):
            started = time.perf_counter()
            result = unmerge(context, *pair, dry_run=is_dry_run)
            spent.append((time.perf_counter() - started) * 1e3)
            assert result.keep is not None
            assert result.sever is not None
    rows = [
        (command, f"{median(spent):.0f}", f"{max(spent):.0f}")
        for command, spent in (("unmerge --dry-run", dry_runs), ("unmerge", done))
    ]
    return f"{people} people of {events:,} events each\n\n{table(('', 'median ms', 'worst ms'), rows)}"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="one million edges")
    parser.add_argument("--edges", type=int, default=200_000)
    parser.add_argument("--messages", type=int, default=10_000, help="per round, at each batch size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=5, help="how many people are merged and unmerged")
    parser.add_argument("--events", type=int, default=1_000, help="per person")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
