"""What deferred messages cost sources that do not defer, and those that do.

    python -m benchmarks.defer                     # a few minutes

Rounds alternate over the same store: ingest as it is, and with the look-up of what waits taken out. The messages of known browsers
come once without a consent signal, and once with one in each message, which is where a batch looks for what waits. Both come from a
source that does not defer. A last pair compares messages of visitors who have not answered: refused, and deferred.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks._stage import ROOT, Spent, Stopwatch, backend_pid, machine, median, stage, table
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import Source
from cdp.wire.message import Message

_numbers = count()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=40, help="pairs of batches")
    arguments.add_argument("--batch", type=int, default=500, help="messages of a batch")
    options = arguments.parse_args()
    with stage() as place:
        database = Database(place.url, pool_size=1)
        print("## Deferred messages\n")
        print(table(["", ""], list(machine(database).items())), flush=True)
        print(f"\n{_measured(database, place.home, options)}")
        database.close()


def _measured(database: Database, home: Path, options: argparse.Namespace) -> str:
    policy = load_policy(ROOT / "policies")
    clock = SystemClock()
    context = open_context(database, policy, clock, home=home)
    source = create_source(context, "web", jurisdiction="eu").entry.source
    ingest = Ingest(database, context.vault, policy, clock=clock, replay=context.replay)
    ingest.process([_message(source, f"known-{at}", consents=True) for at in range(options.batch)])
    rows = []
    for name, consents in (("no signal", False), ("a signal in each message", True)):
        pairs = []
        for at in range(options.rounds):
            messages = [[_message(source, f"known-{n}", consents=consents) for n in range(options.batch)] for _ in "ab"]
            pairs.append(_pair(database, ingest, messages, first_is_without=at % 2 == 0))
        rows.append(_row(f"does not defer, {name}", pairs))
    patient = replace(source, defer=True)
    pairs = []
    for _ in range(options.rounds // 4):
        without = _spent(database, ingest, [_message(source, f"new-{next(_numbers)}") for _ in range(options.batch)])
        pairs.append(
            (
                without,
                _spent(database, ingest, [_message(patient, f"new-{next(_numbers)}") for _ in range(options.batch)]),
            )
        )
    rows.append(_row("nobody answered: refused, deferred", pairs))
    heads = ["source", "without, ms a batch", "with, ms a batch", "ratio of processor time", "ratio on the wall"]
    return table(heads, rows)


def _pair(
    database: Database, ingest: Ingest, messages: Sequence[Sequence[Message]], *, first_is_without: bool
) -> tuple[Spent, Spent]:
    """What a batch took without and with the look-up."""
    spent = {}
    for is_without, some in zip((first_is_without, not first_is_without), messages, strict=True):
        with _without() if is_without else _as_it_is():
            spent[is_without] = _spent(database, ingest, some)
    return spent[True], spent[False]


@contextmanager
def _without() -> Iterator[None]:
    with patch("cdp.flows.ingest.process.load_deferrals", lambda *_given, **_named: None):
        yield


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _spent(database: Database, ingest: Ingest, messages: Sequence[Message]) -> Spent:
    watch = Stopwatch(backend_pid(database))
    ingest.process(messages)
    return watch.read()


def _row(name: str, pairs: Sequence[tuple[Spent, Spent]]) -> list[str]:
    return [
        name,
        f"{1000 * median([without.processor for without, _ in pairs]):.1f}",
        f"{1000 * median([found.processor for _, found in pairs]):.1f}",
        f"{median([found.processor / without.processor for without, found in pairs]):.3f}",
        f"{median([found.wall / without.wall for without, found in pairs]):.3f}",
    ]


def _message(source: Source, device: str, *, consents: bool = False) -> Message:
    now = SystemClock().now() - timedelta(seconds=1)
    name = f"m-{next(_numbers)}"
    body: dict[str, Any] = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": name,
        "anonymousId": device,
        "properties": {"product_id": "p-1", "price": 12.5},
    }
    if consents:
        body["context"] = {"consent": {"categoryPreferences": {"analytics": True, "personalization": True}}}
    return Message(source, "track", name, now, now, body, sha256(canonical_json(body)))


if __name__ == "__main__":
    main()
