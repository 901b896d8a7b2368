"""Live membership: from the commit of a batch to the change of a membership that somebody else can read.

The whole worker runs beside a service that takes batches at a steady pace; in each batch, some people buy for the first
time. A third connection looks for their changes.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks._crowd import NOW, ORDER, PURPOSE, VIEW
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import PolicyWatcher, open_configured
from cdp.flows.segments import definitions as segments
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.config import read_config
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.schema.ids import SourceId
from cdp.segments.model import Draft, SegmentKey
from cdp.sources.model import Source, SourceKind
from cdp.sources.store.sources import add_source
from cdp.wire.message import Message
from cdp.worker.tasks import create_worker

SHOP = Source(SourceId(1), "shop", SourceKind.SERVER, frozenset({"ingest"}), "eu", 512_000)
FIRST = "first_order"
BATCH, BUYERS, PAUSE_SECONDS = 100, 10, 0.25


@dataclass(frozen=True, slots=True)
class Live:
    """Seconds from commit to change, one for each person; how many segments there were, and messages a second."""

    seconds: list[float]
    segments: int
    per_second: float


def follow(database: Database, home: Path, questions: Mapping[str, str], batches: int) -> Live:
    """Define the questions as segments, let people come in, and measure how soon their first order counts."""
    home.mkdir(exist_ok=True)
    config = read_config(
        {"CDP_HOME": str(home), "CDP_POLICIES": "policies", "CDP_NOW": NOW.isoformat(), "CDP_ALLOW_TEST_CLOCK": "1"}
    )
    context = open_configured(config, database, load_policy(Path("policies")))
    for key, where in {**questions, FIRST: f'did("{ORDER}", within 30 minutes)'}.items():
        draft = Draft(SegmentKey(key), key, PURPOSE, "benchmark")
        segments.define(context, draft, where, is_new=True, actor="operator")
    people = batches * BUYERS
    ingest = arrive(context, people)
    worker = create_worker(PolicyWatcher(context))
    worker.start()
    try:
        _wait_for_calm(database)
        committed, changed, lasted = _trade(context, ingest, batches, Watch(database, people))
    finally:
        worker.stop()
    seconds = [seen - done for done, seen in zip(committed, changed, strict=True)]
    return Live(seconds, len(segments.list_segments(context)), batches * BATCH / lasted)


def _wait_for_calm(database: Database) -> None:
    """Let the worker end what ended before the clock starts: a fiftieth of the permissions, and what follows from it."""
    left = 1
    while left:
        time.sleep(1)
        with database.transaction(read_only=True) as tx:
            left = tx.execute(
                "SELECT (SELECT count(*) FROM consent.permitted WHERE until <= %(now)s) "
                "+ (SELECT count(*) FROM consent.withdrawal) + (SELECT count(*) FROM segments.stale)",
                {"now": NOW},
            )[0][0]


class Watch:
    """Notes when it first could read the changes of the segment, in the order in which they were written."""

    def __init__(self, database: Database, people: int) -> None:
        self.seen_at: list[float] = []
        self._database, self._people = database, people
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise SystemExit(f"Only {len(self.seen_at)} of {self._people} changes came within {seconds:.0f} seconds.")

    def _run(self) -> None:
        while len(self.seen_at) < self._people:
            with self._database.transaction(read_only=True) as tx:
                rows = tx.execute(
                    "SELECT count(*) FROM segments.membership_change WHERE key = %(key)s AND changed_at >= %(now)s "
                    "AND profile_id > 100000000",
                    {"key": FIRST, "now": NOW},
                )
            at = time.perf_counter()
            self.seen_at += [at] * (rows[0][0] - len(self.seen_at))
            time.sleep(0.005)


def _trade(context: Context, ingest: Ingest, batches: int, watch: Watch) -> tuple[list[float], list[float], float]:
    """Send batches at a steady pace; when each buyer's batch was committed, when each change was seen, and how long it took."""
    watch.start()
    begun, committed = time.perf_counter(), []
    for number in range(batches):
        buyers = range(number * BUYERS, (number + 1) * BUYERS)
        bodies = [track(ORDER, f"buyer-{buyer}", {"revenue": 20}) for buyer in buyers]
        bodies += [
            track(VIEW, f"buyer-{(number * 7 + at) % (batches * BUYERS)}", {"price": at})
            for at in range(BATCH - BUYERS)
        ]
        outcomes = ingest.process([message_of(context, body, f"live-{number}-{at}") for at, body in enumerate(bodies)])
        assert {outcome.state.value for outcome in outcomes} == {"stored"}, outcomes
        committed += [time.perf_counter()] * BUYERS
        time.sleep(max(0.0, begun + (number + 1) * PAUSE_SECONDS - time.perf_counter()))
    lasted = time.perf_counter() - begun
    watch.wait(120)
    return committed, watch.seen_at, lasted


def arrive(context: Context, people: int) -> Ingest:
    """Everybody is known, and permits, before the clock starts."""
    with context.database.transaction() as tx:
        add_source(tx, SHOP, sha256(b"shop"), now=NOW - timedelta(days=1))
    signal = context.policy.purposes[PURPOSE].signals.segment[0]
    consent = {"context": {"consent": {"categoryPreferences": {signal: True}}}}
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    bodies = [{"type": "identify", "userId": f"buyer-{number}", **consent} for number in range(people)]
    for at in range(0, people, 500):
        some = bodies[at : at + 500]
        ingest.process([message_of(context, body, f"arrive-{at + place}") for place, body in enumerate(some)])
    return ingest


def track(event: str, user: str, properties: dict[str, Any]) -> dict[str, Any]:
    """An event of a person."""
    return {"type": "track", "event": event, "userId": user, "properties": properties}


def message_of(context: Context, body: dict[str, Any], message_id: str) -> Message:
    """A message of the shop that happens now."""
    fields = {**body, "messageId": message_id}
    now = context.clock.now()
    return Message(SHOP, fields["type"], message_id, now, now, fields, sha256(canonical_json(fields)))
