"""Figures for a dashboard, in Prometheus's text form. Labels are states, codes and routes: never a value of a person."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cdp.access.model import Role
from cdp.accounting.model import Outcome
from cdp.audit.store.lag import Backlog, backlog
from cdp.flows.operations.startup import PolicyWatcher
from cdp.identity.store.counts import MapCounts, map_counts
from cdp.kit.errors import Fault
from cdp.web.ingest.batch_retry import BatchProcessor
from cdp.web.ingest.batcher import Batcher
from cdp.web.platform.auth import allow
from cdp.web.platform.deps import problems
from cdp.wire.message import Invalid, Message

router = APIRouter(tags=["health"])

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_MAP_SECONDS: Final = 60.0


class Figures:
    """What this process counted since it started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.requests = Histogram(
            "cdp_request_seconds",
            "Time to answer a request of the API, by route and status",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
        )
        self.transactions = Histogram(
            "cdp_ingest_transaction_seconds",
            "Duration of the transactions in which messages land",
            registry=self.registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )

    def note_request(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count one answer; methods that nobody defined are one."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self.requests.labels(known, route, str(status)).observe(seconds)


@dataclass(slots=True)
class Timed:
    """An ingest flow that is watched: how long its transactions take, and where messages end."""

    ingest: BatchProcessor
    figures: Figures

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        """As the flow that is watched."""
        started_at = time.monotonic()
        outcomes = self.ingest.process(messages)
        self.figures.transactions.observe(time.monotonic() - started_at)
        self.figures.messages.update((each.state.value, each.reason) for each in outcomes)
        return outcomes


class StoreCollector(Collector):
    """Reads what only the database and the batcher know, when somebody scrapes."""

    def __init__(
        self,
        watcher: PolicyWatcher,
        batcher: Batcher,
        figures: Figures,
        *,
        answers: Callable[[], Mapping[int, int]],
        failures: Callable[[], Mapping[str, int]],
    ) -> None:
        self._watcher = watcher
        self._answers = answers
        self._failures = failures
        self._batcher = batcher
        self._figures = figures
        self._map: MapCounts | None = None
        self._map_read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing is promised before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every figure, or those of this process alone when the database is away."""
        messages = CounterMetricFamily(
            "cdp_messages", "Messages by the state in which they ended, since the start", labels=["state", "reason"]
        )
        for (state, reason), count in sorted(self._figures.messages.items()):
            messages.add_metric([state, reason], count)
        yield messages
        answers = CounterMetricFamily(
            "cdp_ingest_answers", "Answers of the ingest door by HTTP status, since the start", labels=["status"]
        )
        for status, count in sorted(self._answers().items()):
            answers.add_metric([str(status)], count)
        yield answers
        failures = CounterMetricFamily(
            "cdp_task_failures", "Failed turns of the worker's tasks, since the start", labels=["task"]
        )
        for task, count in sorted(self._failures().items()):
            failures.add_metric([task], count)
        yield failures
        yield GaugeMetricFamily(
            "cdp_waiting_messages", "Messages that are not answered yet", self._batcher.waiting_messages
        )
        yield GaugeMetricFamily("cdp_waiting_bytes", "Bytes that are not answered yet", self._batcher.waiting_bytes)
        yield from self._of_database()

    def _of_database(self) -> Iterable[Metric]:
        context = self._watcher.context
        try:
            with context.database.transaction(read_only=True) as tx:
                waiting = backlog(tx)
                if self._map is None or time.monotonic() - self._map_read_at > _MAP_SECONDS:
                    self._map, self._map_read_at = map_counts(tx), time.monotonic()
        except Fault:
            yield GaugeMetricFamily("cdp_database_up", "Whether the database answers", 0)
            return
        yield GaugeMetricFamily("cdp_database_up", "Whether the database answers", 1)
        yield GaugeMetricFamily("cdp_audit_waiting_leaves", "Entries that are not signed yet", waiting.leaves)
        yield GaugeMetricFamily(
            "cdp_audit_lag_seconds", "Age of the oldest entry not signed yet", lag(waiting, context.clock.now())
        )
        yield GaugeMetricFamily("cdp_profiles", "Living profiles", self._map.profiles)
        yield GaugeMetricFamily("cdp_profiles_quarantined", "Profiles in quarantine", self._map.quarantined)
        yield GaugeMetricFamily("cdp_identifiers_shared", "Identifiers that several people share", self._map.shared)


def lag(waiting: Backlog, now: datetime) -> float:
    """Seconds since the oldest waiting entry was recorded; 0 when none waits."""
    return 0.0 if waiting.since is None else max(0.0, (now - waiting.since).total_seconds())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text", "content": {_TEXT.partition(";")[0]: {}}}, **problems()},
    dependencies=[Depends(allow(Role.ADMIN))],
    operation_id="metrics",
)
def metrics(request: Request) -> Response:
    """Counters and gauges for a dashboard."""
    figures: Figures = request.app.state.figures
    return Response(generate_latest(figures.registry), media_type=_TEXT)
