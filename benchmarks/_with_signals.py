"""Ingest of messages that carry consent signals, beside the same messages without any."""

from datetime import UTC, datetime
from typing import Any

from benchmarks._shop import Shop, understood
from benchmarks._stage import ROOT, Stopwatch, backend_pid, median, stage, table
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
    "Segment's categories, granted": {"categoryPreferences": {"C0002": True, "C0003": True, "C0004": True}},
    "Consent Mode, granted": {"google": {"default": dict.fromkeys(_GRANTED, "denied"), "update": _GRANTED}},
    "a GPP string without an opt-out": {"gpp": "DBABLA~BVVqAAEABgA.QA"},
    "GPC, which refuses again": {"globalPrivacyControl": True},
}


def with_signals(people: int, messages: int, rounds: int) -> str:
    """A table: for each kind of signal, the processor time of a message with it as a multiple of one without.

    Each kind has people of its own, under the shipped policy and the law of California, where silence permits analytics.
    """
    kinds = {"nothing": {}, **SIGNALS}
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    with stage() as place:
        database = Database(place.url)
        context = open_context(database, load_policy(ROOT / "policies"), SystemClock(), home=place.home)
        source = create_source(context, "bench", kind=SourceKind.BROWSER, jurisdiction="us-ca").entry.source
        ingest = Ingest(database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        pid = backend_pid(database)
        shops = {kind: Shop(people, seed=seed, newcomers=0.0) for seed, kind in enumerate(kinds)}
        for kind, shop in shops.items():
            for _ in range(3):  # the first message records a consent, the second one repeats it and fills the cache
                _processor(ingest, source, list(shop.everybody()), kinds[kind], kind=kind, pid=pid)
        for number in range(rounds):
            for kind, shop in list(shops.items())[:: 1 if number % 2 else -1]:
                used = _processor(ingest, source, shop.calls(messages), kinds[kind], kind=kind, pid=pid)
                spent[kind].append(used / messages)
        database.close()
    alone = median(spent["nothing"])
    rows = [
        (kind, f"{median(times) * 1e6:.0f}", f"{median(times) / alone:.2f}", f"{_GOAL:.2f}")
        for kind, times in spent.items()
    ]
    return table(("every message carries", "processor µs a message", "of one without", "goal"), rows)


def _processor(
    ingest: Ingest, source: Source, calls: list[dict[str, Any]], consent: dict[str, Any], *, kind: str, pid: int
) -> float:
    """Seconds of processor time, in this process and in the server's, from the bytes of the messages to their commit."""
    for call in calls:
        call["userId"], call["anonymousId"] = f"{call['userId']} {kind}", f"{call['anonymousId']} {kind}"
        call["timestamp"] = datetime.now(UTC).isoformat()  # what a page states, it states now
        call["context"] = {**call["context"], **({"consent": consent} if consent else {})}
    watch = Stopwatch(pid)
    sent = understood(calls, source)
    for at in range(0, len(sent), _BATCH):
        outcomes = ingest.process(sent[at : at + _BATCH])
        assert all(outcome.state is State.STORED for outcome in outcomes), outcomes
    return watch.read().processor
