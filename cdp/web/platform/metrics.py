"""Metrics in the Prometheus text format. Labels are states, codes and routes, never personal data."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cdp.access.model import Role
from cdp.accounting.model import Outcome
from cdp.audit.store.lag import Backlog, backlog
from cdp.consent.store import deferred as deferred_store
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
_MAP_COUNTS_SECONDS: Final = 60.0
_DEFERRED_OVERDUE: Final = timedelta(minutes=1)


class ProcessMetrics:
    """Counters of this process since it started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.requests = Histogram(
            "cdp_request_seconds",
            "Time to respond to a request of the API, by route and status",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
        )
        self.transactions = Histogram(
            "cdp_ingest_transaction_seconds",
            "Duration of the transactions that store messages",
            registry=self.registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )

    def note_request(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count one response; undefined methods count as `other`."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self.requests.labels(known, route, str(status)).observe(seconds)


@dataclass(slots=True)
class TimedBatchProcessor:
    """A batch processor that records how long its transactions take and the outcome of every message."""

    ingest: BatchProcessor
    process_metrics: ProcessMetrics

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        """As the batch processor that it wraps."""
        started_at = time.monotonic()
        outcomes = self.ingest.process(messages)
        self.process_metrics.transactions.observe(time.monotonic() - started_at)
        self.process_metrics.messages.update((outcome.state.value, outcome.reason) for outcome in outcomes)
        return outcomes

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        """As the batch processor that it wraps."""
        self.ingest.check(messages)


class StoreCollector(Collector):
    """Reads process_metrics from the database and the batcher at each scrape."""

    def __init__(
        self,
        watcher: PolicyWatcher,
        batcher: Batcher,
        process_metrics: ProcessMetrics,
        *,
        answers: Callable[[], Mapping[int, int]],
        failures: Callable[[], Mapping[str, int]],
    ) -> None:
        self._watcher = watcher
        self._answers = answers
        self._failures = failures
        self._batcher = batcher
        self._process_metrics = process_metrics
        self._map: MapCounts | None = None
        self._map_read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """No metric is described before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Every metric, or those of this process alone while the database is not available."""
        messages = CounterMetricFamily(
            "cdp_messages", "Messages by final state, since the start", labels=["state", "reason"]
        )
        for (state, reason), count in sorted(self._process_metrics.messages.items()):
            messages.add_metric([state, reason], count)
        yield messages
        answers = CounterMetricFamily(
            "cdp_ingest_answers", "Responses of the ingest endpoint by HTTP status, since the start", labels=["status"]
        )
        for status, count in sorted(self._answers().items()):
            answers.add_metric([str(status)], count)
        yield answers
        failures = CounterMetricFamily(
            "cdp_task_failures", "Failed runs of the worker's tasks, since the start", labels=["task"]
        )
        for task, count in sorted(self._failures().items()):
            failures.add_metric([task], count)
        yield failures
        yield GaugeMetricFamily(
            "cdp_waiting_messages", "Messages that wait to be stored", self._batcher.waiting_messages
        )
        yield GaugeMetricFamily(
            "cdp_waiting_bytes", "Bytes of requests that wait to be stored", self._batcher.waiting_bytes
        )
        yield from self._of_database()

    def _of_database(self) -> Iterable[Metric]:
        context = self._watcher.context
        now = context.clock.now()
        try:
            with context.database.transaction(read_only=True) as tx:
                waiting = backlog(tx)
                deferred = deferred_store.counts(tx, now - _DEFERRED_OVERDUE)
                if self._map is None or time.monotonic() - self._map_read_at > _MAP_COUNTS_SECONDS:
                    self._map, self._map_read_at = map_counts(tx), time.monotonic()
        except Fault:
            yield GaugeMetricFamily("cdp_database_up", "Whether the database is available", 0)
            return
        yield GaugeMetricFamily("cdp_database_up", "Whether the database is available", 1)
        yield GaugeMetricFamily("cdp_audit_waiting_leaves", "Entries that are not signed yet", waiting.leaves)
        yield GaugeMetricFamily("cdp_audit_lag_seconds", "Age of the oldest entry not signed yet", lag(waiting, now))
        yield GaugeMetricFamily(
            "cdp_deferred_messages", "Messages that wait, sealed, for an answer of their device", deferred.messages
        )
        yield GaugeMetricFamily(
            "cdp_deferred_overdue", "Deferred messages a minute past their term or their grant", deferred.overdue
        )
        yield GaugeMetricFamily("cdp_profiles", "Profiles", self._map.profiles)
        yield GaugeMetricFamily("cdp_profiles_quarantined", "Profiles in quarantine", self._map.quarantined)
        yield GaugeMetricFamily("cdp_identifiers_shared", "Identifiers shared by several people", self._map.shared)


def lag(waiting: Backlog, now: datetime) -> float:
    """Seconds since the oldest unsigned entry was recorded; 0 when there is none."""
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
    process_metrics: ProcessMetrics = request.app.state.process_metrics
    return Response(generate_latest(process_metrics.registry), media_type=_TEXT)
