"""What one identifier that thousands name costs: a refusal about it, a repetition, one more user, a server that contradicts."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._beside import beside
from benchmarks._shop import understood
from benchmarks._stage import PERMIT_ALL, ROOT, Stopwatch, backend_pid, median, stage
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import Source, SourceKind

_BATCH = 250
_TABLET = {"anonymousId": "tablet"}
_ADDRESS = {"traits": {"email": "ada@tablet.example"}}
_REFUSES = {"type": "page", **_TABLET, "context": {"consent": {"categoryPreferences": {"C0004": False}}}}


@dataclass(frozen=True, slots=True)
class _Store:
    """A store with a server and a browser source, and the server process of its connection."""

    context: Context
    server: Source
    browser: Source
    ingest: Ingest
    backend: int

    def sent(self, source: Source, *bodies: dict[str, Any]) -> float:
        """Store one batch; the seconds of the processor."""
        messages = understood([{"type": "identify", **body} for body in bodies], source)
        watch = Stopwatch(self.backend)
        self.ingest.process(messages)
        return watch.read().processor

    def crowd(self, source: Source, people: int, named: dict[str, Any]) -> None:
        """So many user ids, each named once with the same identifier."""
        for start in range(0, people, _BATCH):
            self.sent(source, *({"userId": f"u{n}", **named} for n in range(start, start + _BATCH)))


def crowd_rows(people: int) -> list[list[str]]:
    """Milliseconds of the processor: what a message or act costs where so many profiles share an identifier, and one with few."""
    return [[str(people), *(f"{seconds * 1000:.0f}" for seconds in (*_refusals(people), *_contradictions(people)))]]


def waiting_rows(people: int) -> list[list[str]]:
    """How long others wait beside somebody who repeats a refusal on a tablet of so many customers."""
    with _store(ROOT / "policies") as store:
        store.crowd(store.server, people, _TABLET)
        return beside(store.context, store.browser, store.server, lambda _: _REFUSES)


def _refusals(people: int) -> tuple[float, ...]:
    """A message of a new person, the first refusal on the tablet, a repetition, and a withdrawal by the API."""
    with _store(ROOT / "policies") as store:
        store.crowd(store.server, people, _TABLET)
        new = [store.sent(store.server, {"userId": f"new-{random.random()}"}) for _ in range(9)]
        first = store.sent(store.browser, _REFUSES)
        again = [store.sent(store.browser, _REFUSES) for _ in range(5)]
        statement = ConsentStatement(("anonymous_id", "tablet"), "analytics", "withdraw", jurisdiction="us-ca")
        watch = Stopwatch(store.backend)
        record(store.context, statement)
        return median(new), first, median(again), watch.read().processor


def _contradictions(people: int) -> tuple[float, ...]:
    """One more user on a tablet that a server gave to somebody, and a server that names an address that all claimed."""
    with _store(PERMIT_ALL) as store:
        store.sent(store.server, {"userId": "ada", **_TABLET})
        store.crowd(store.browser, people, _TABLET)
        one_more = [store.sent(store.browser, {"userId": f"one-more-{n}", **_TABLET}) for n in range(5)]
    with _store(PERMIT_ALL) as store:
        store.crowd(store.browser, people, _ADDRESS)
        return median(one_more), store.sent(store.server, {"userId": "ada", **_ADDRESS})


@contextmanager
def _store(policy: Path) -> Iterator[_Store]:
    with stage() as place:
        database = Database(place.url)
        context = open_context(database, load_policy(policy), SystemClock(), home=place.home)
        server = create_source(context, "server", kind=SourceKind.SERVER, jurisdiction="us-ca").entry.source
        browser = create_source(context, "browser", kind=SourceKind.BROWSER, jurisdiction="us-ca").entry.source
        ingest = Ingest(database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        try:
            yield _Store(context, server, browser, ingest, backend_pid(database))
        finally:
            database.close()
