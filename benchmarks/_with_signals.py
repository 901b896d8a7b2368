"""Ingest of messages that carry consent signals, beside the same messages without any."""

from typing import Any

from benchmarks._shop import Shop, understood
from benchmarks._stage import PERMIT_ALL, Stopwatch, backend_pid, median, stage, table
from cdp.accounting.model import State
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import Source, SourceKind

_GOAL = 1.10
_BATCH = 500
_GRANTED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"), "granted")
SIGNALS: dict[str, dict[str, Any]] = {
    "Segment's categories": {"categoryPreferences": {"C0002": True, "C0003": True, "C0004": True}},
    "Consent Mode": {"google": {"default": dict.fromkeys(_GRANTED, "denied"), "update": _GRANTED}},
    "a GPP string": {"gpp": "DBABLA~BVVqAAEABgA.QA"},
}


def with_signals(people: int, messages: int, rounds: int) -> str:
    """A table: for each kind of signal, the processor time of a message with it as a multiple of one without."""
    spent: dict[str, list[float]] = {}
    with stage() as place:
        database = Database(place.url)
        context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
        source = create_source(context, "bench", kind=SourceKind.BROWSER, jurisdiction="us-ca").entry.source
        shop = Shop(people, newcomers=0.0)
        ingest = Ingest(database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        pid = backend_pid(database)
        _processor(ingest, source, list(shop.everybody()), {}, pid=pid)
        kinds = {"nothing": {}, **SIGNALS}
        for consent in kinds.values():  # the first message of a device records its consent, every later one repeats it
            _processor(ingest, source, list(shop.everybody()), consent, pid=pid)
        for _ in range(rounds):
            for kind, consent in kinds.items():
                used = _processor(ingest, source, shop.calls(messages), consent, pid=pid)
                spent.setdefault(kind, []).append(used / messages)
        database.close()
    alone = median(spent["nothing"])
    rows = [
        (kind, f"{median(times) * 1e6:.0f}", f"{median(times) / alone:.2f}", f"{_GOAL:.2f}")
        for kind, times in spent.items()
    ]
    return table(("every message carries", "processor µs a message", "of one without", "goal"), rows)


def _processor(
    ingest: Ingest, source: Source, calls: list[dict[str, Any]], consent: dict[str, Any], *, pid: int
) -> float:
    """Seconds of processor time, in this process and in the server's, from the bytes of the messages to their commit."""
    for call in calls:
        call["context"] = {**call["context"], **({"consent": consent} if consent else {})}
    watch = Stopwatch(pid)
    sent = understood(calls, source)
    for at in range(0, len(sent), _BATCH):
        outcomes = ingest.process(sent[at : at + _BATCH])
        assert all(outcome.state is State.STORED for outcome in outcomes), outcomes
    return watch.read().processor
