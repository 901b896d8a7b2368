"""Ingest beside a bare COPY of the same rows, alone and through HTTP, on one durable PostgreSQL.

    python -m benchmarks.ingest                      # some minutes
    python -m benchmarks.ingest --full               # 200,000 people, 1M and then 20M stored events

Pipeline: `Ingest.process` on decoded messages, everything permitted, one writer. Baseline: binary COPY of the event rows that
the pipeline has just stored, under fresh event ids, into the same partitioned table with its keys. Both take `--batch`
rows a transaction and every commit waits for the disk. Rounds alternate; medians are shown. Processor time is that of
this process and of its server process together.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from psycopg.types.json import Jsonb

from benchmarks import _http
from benchmarks._phases import phases
from benchmarks._shop import Shop, understood
from benchmarks._stage import PERMIT_ALL, Spent, Stage, Stopwatch, backend_pid, machine, median, stage, table
from benchmarks._store import count_events, fill, vacuum
from cdp.accounting.model import State
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.kit.pg_binary import arrays
from cdp.policy.load import load_policy
from cdp.sources.model import Source, SourceKind
from cdp.wire.message import Invalid, Message

_COLUMNS = (
    "anchor_id", "occurred_at", "event_id", "retention_class", "received_at", "source_id", "name_id", "bits", "plain", "sealed",
)  # fmt: skip
_TYPES = ("int8", "timestamptz", "uuid", "text", "timestamptz", "int4", "int4", "int8", "jsonb", "bytea")
_MUST, _GOAL = 0.12, 0.33


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the pipeline, and of the COPY of its rows."""

    messages: int
    ours: Spent
    copy: Spent

    @property
    def share(self) -> float:
        """Our speed as a share of COPY's, on the wall."""
        return self.copy.wall / self.ours.wall

    @property
    def processor_share(self) -> float:
        """The same in processor time, which other programs on the machine disturb less."""
        return self.copy.processor / self.ours.processor


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and with what."""

    database: Database
    context: Context
    ingest: Ingest
    source: Source
    shop: Shop
    batch: int

    def process(self, messages: Sequence[Message | Invalid]) -> None:
        """The pipeline."""
        for at in range(0, len(messages), self.batch):
            outcomes = self.ingest.process(messages[at : at + self.batch])
            assert all(each.state is State.STORED for each in outcomes), outcomes

    def copy(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """The baseline."""
        for at in range(0, len(rows), self.batch):
            with self.database.transaction() as tx:
                tx.copy("behavior.event", _COLUMNS, _TYPES, rows=rows[at : at + self.batch])

    def rounds(self, rounds: int, messages: int) -> list[Round]:
        """Measure both in turns."""
        pid = backend_pid(self.database)
        done = []
        for _ in range(rounds):
            sent = understood(self.shop.calls(messages), self.source)
            watch = Stopwatch(pid)
            self.process(sent)
            ours = watch.read()
            rows = self._stored(sent)
            watch = Stopwatch(pid)
            self.copy(rows)
            done.append(Round(messages, ours, watch.read()))
        return done

    def _stored(self, sent: Sequence[Message | Invalid]) -> list[tuple[Any, ...]]:
        """The rows that these messages became, under fresh event ids."""
        ids = [each.message_id for each in sent if isinstance(each, Message)]
        with self.database.transaction(read_only=True) as tx:
            rows = tx.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM behavior.event WHERE event_id = ANY(%(ids)s::uuid[])",
                {"ids": arrays.uuids(self.context.vault.hashes.message_digests(int(self.source.source_id), ids))},
            )
        assert len(rows) == len(sent)
        return [(*row[:2], uuid4(), *row[3:8], None if row[8] is None else Jsonb(row[8]), row[9]) for row in rows]


def main() -> None:
    options = _arguments().parse_args()
    people, warm, stored = (200_000, 1_000_000, 20_000_000) if options.full else (options.people, 0, options.stored)
    with stage() as place:
        found = measure(place, options, people, warm, stored)
    print(found["text"])
    if options.json:
        Path(options.json).write_text(
            json.dumps({key: value for key, value in found.items() if key != "text"}, indent=2)
        )


def measure(place: Stage, options: argparse.Namespace, people: int, warm: int, stored: int) -> dict[str, Any]:
    """Everything, in one run on one database."""
    database = Database(place.url)
    context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
    made = create_source(context, "bench", kind=SourceKind.SERVER, jurisdiction="eu")
    shop = Shop(people, seed=options.seed, newcomers=options.newcomers)
    ingest = Ingest(database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    bench = Bench(database, context, ingest, made.entry.source, shop, options.batch)
    bench.process(understood(list(shop.everybody()), made.entry.source))
    if warm:
        fill(database, warm)
    vacuum(database)
    bench.process(understood(shop.calls(options.batch), made.entry.source))
    facts = machine(database) | {
        "people": f"{people:,}", "newcomers": f"{options.newcomers:.0%} of calls", "seed": str(options.seed),
        "messages a round": f"{options.messages:,}", "rounds": str(options.rounds), "messages a transaction": f"{options.batch:,}",
    }  # fmt: skip
    small = count_events(database)
    before = bench.rounds(options.rounds, options.messages)
    where = phases(bench.process, understood(shop.calls(5 * options.batch), made.entry.source))
    through = None if options.no_http else _http.measure(place, bench, made.write_key, options.rounds)
    after, large = [], 0
    if stored:
        fill(database, stored)
        bench.process(understood(shop.calls(options.batch), made.entry.source))
        large = count_events(database)
        after = bench.rounds(options.rounds, options.messages)
    database.close()
    return {
        "facts": facts,
        "pipeline": [asdict(each) for each in before],
        "pipeline_grown": [asdict(each) for each in after],
        "stored": [small, large],
        "http": None if through is None else asdict(through),
        "phases": where,
        "text": _report(facts, before, small, after, large, through, where),
    }


def _report(
    facts: dict[str, str], before: list[Round], small: int, after: list[Round], large: int,
    through: "_http.HttpResult | None", where: list[tuple[str, float]],
) -> str:  # fmt: skip
    lines = ["## Ingest", "", table(("", ""), list(facts.items())), ""]
    rows = [_row(f"{small:,} stored", before)]
    if after:
        rows.append(_row(f"{large:,} stored", after))
    heads = (
        "pipeline", "messages/s", "COPY rows/s", "share", "processor share", "here µs", "database µs", "must", "goal",
    )  # fmt: skip
    lines += [table(heads, rows), ""]
    if after:
        grown = median([_per_message(each) for each in after]) / median([_per_message(each) for each in before])
        lines += [f"Cost of a message with {large / small:.0f} times the events: {grown:.2f} (must at most 1.20).", ""]
    if through is not None:
        lines += [through.table_text(), ""]
    lines += ["Where the pipeline's time goes (by profiler, which slows Python down):", ""]
    lines += [table(("part", "share"), [(name, f"{share:.0%}") for name, share in where])]
    return "\n".join(lines)


def _row(name: str, rounds: list[Round]) -> tuple[str, ...]:
    return (
        name,
        f"{median([each.messages / each.ours.wall for each in rounds]):,.0f}",
        f"{median([each.messages / each.copy.wall for each in rounds]):,.0f}",
        f"{median([each.share for each in rounds]):.1%}",
        f"{median([each.processor_share for each in rounds]):.1%}",
        f"{median([each.ours.here / each.messages for each in rounds]) * 1e6:.0f}",
        f"{median([each.ours.database / each.messages for each in rounds]) * 1e6:.0f}",
        f"{_MUST:.0%}",
        f"{_GOAL:.0%}",
    )


def _per_message(each: Round) -> float:
    return each.ours.processor / each.messages


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000, help="known people, whose messages follow Zipf's law")
    parser.add_argument("--newcomers", type=float, default=0.05, help="share of calls by unknown people")
    parser.add_argument("--messages", type=int, default=10_000, help="messages a round")
    parser.add_argument("--batch", type=int, default=1_000, help="messages a transaction")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--stored", type=int, default=500_000, help="events to add before the second measurement; 0 for none"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--full", action="store_true", help="200,000 people, 1M stored events, then 20M more; takes long"
    )
    parser.add_argument("--no-http", action="store_true", help="skip the measurements through HTTP")
    parser.add_argument("--json", help="a file for the numbers")
    return parser


if __name__ == "__main__":
    main()
