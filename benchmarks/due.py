"""How late time alone moves people: from the end of a one-minute window to an exit that another connection can read.

    python -m benchmarks.due                     # 100,000 profiles, some four minutes

The whole worker runs beside a service that takes batches at a steady pace, so that marks arrive all the time. In each
batch some people view a product for the only time; a minute later their window ends. The baseline is the evaluation of
all profiles of the same segment in the same run, which is what found them before.
"""

import argparse
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks._crowd import NOW, ORDER, PURPOSE, VIEW, fill
from benchmarks._live import arrive, message_of, track
from benchmarks._questions import QUESTIONS
from benchmarks._stage import machine, stage, table
from cdp.flows.operations.startup import PolicyWatcher, open_context
from cdp.flows.segments import definitions, memberships
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.segments.model import Draft, SegmentKey
from cdp.worker.tasks import create_worker

_WINDOW = timedelta(minutes=1)
_KEY = "viewed_lately"
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _RunningClock:
    """The instant of the population when the benchmark starts, and as much later as time has passed since."""

    started_at: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=time.monotonic() - self.started_at)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--profiles", type=int, default=100_000)
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--batches", type=int, default=240, help="four a second")
    arguments.add_argument("--batch", type=int, default=250, help="messages of a batch")
    arguments.add_argument("--viewers", type=int, default=20, help="people of a batch whose window will end")
    options = arguments.parse_args()
    with stage() as place:
        database = Database(place.url)
        fill(database, options.profiles, options.events)
        print("## Due memberships\n")
        print(table(["", ""], list(machine(database).items())), flush=True)
        print(f"\n{_measured(database, place.home, options)}")
        database.close()


def _measured(database: Database, home: Path, options: argparse.Namespace) -> str:
    context = open_context(database, load_policy(Path("policies")), _RunningClock(), home=home)
    questions = {f"question_{at}": question.where for at, question in enumerate(QUESTIONS)}
    for key, where in {**questions, _KEY: f'did("{VIEW}", within 1 minute)'}.items():
        draft = Draft(SegmentKey(key), key, PURPOSE, "benchmark")
        definitions.define(context, draft, where, is_new=True, actor="operator")
    viewers = options.batches * options.viewers
    ingest = arrive(context, 2 * viewers)
    begun = time.perf_counter()
    memberships.refresh(context, _KEY)
    whole = time.perf_counter() - begun
    expected: list[datetime] = []
    exits: list[tuple[float, datetime]] = []
    watch = threading.Thread(target=_watch, args=(database, context.clock, exits, viewers), daemon=True)
    worker = create_worker(PolicyWatcher(context))
    worker.start()
    watch.start()
    started_at = time.perf_counter()
    try:
        for number in range(options.batches):
            some = range(number * options.viewers, (number + 1) * options.viewers)
            bodies = [track(VIEW, f"buyer-{viewer}", {"price": 5}) for viewer in some]
            bodies += [
                track(ORDER, f"buyer-{viewers + (number * 7 + at) % viewers}", {"revenue": at})
                for at in range(options.batch - options.viewers)
            ]
            messages = [message_of(context, body, f"due-{number}-{at}") for at, body in enumerate(bodies)]
            ingest.process(messages)
            expected += [message.occurred_at + _WINDOW for message in messages[: options.viewers]]
            time.sleep(max(0.0, started_at + (number + 1) * _PAUSE_SECONDS - time.perf_counter()))
        sent_for = time.perf_counter() - started_at
        watch.join(180)
    finally:
        worker.stop()
    late = sorted((seen - due).total_seconds() for due, (_, seen) in zip(expected, exits, strict=True))
    p50, p99 = (late[int(len(late) * share)] * 1000 for share in (0.5, 0.99))
    row = [
        f"{options.profiles:,}", f"{len(late):,}", f"{options.batches * options.batch / sent_for:,.0f}",
        f"{p50:.0f}", f"{p99:.0f}", f"{late[-1] * 1000:.0f}", "2,000 ms", f"{whole:.1f}",
    ]  # fmt: skip
    heads = ["profiles", "exits", "messages/s", "p50 ms", "p99 ms", "worst ms", "must (p99)", "all profiles once, s"]
    return table(heads, [row])


def _watch(database: Database, clock: _RunningClock, exits: list[tuple[float, datetime]], people: int) -> None:
    """Note when each exit could first be read."""
    while len(exits) < people:
        with database.transaction(read_only=True) as tx:
            ((count,),) = tx.execute(
                "SELECT count(*) FROM segments.membership_change WHERE key = %(key)s AND change = 'exited' "
                "AND profile_id > 100000000",
                {"key": _KEY},
            )
        exits += [(time.perf_counter(), clock.now())] * (count - len(exits))
        time.sleep(0.005)


if __name__ == "__main__":
    main()
