"""Metrics of the checks of readiness, and of the pools of connections to the database."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cdp.flows.operations.pools import Pools
from cdp.operations.readiness import CheckState
from cdp.web.platform.readiness import Readiness


class ReadinessCollector(Collector):
    """Reads the findings of the last round of checks, and how many use each pool."""

    def __init__(self, readiness: Readiness, pools: Pools) -> None:
        self._readiness = readiness
        self._pools = pools

    def describe(self) -> Iterable[Metric]:
        """No metric is described before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The state of each check, and callers and size of each pool."""
        checks = GaugeMetricFamily(
            "cdp_check_state",
            "Whether a check of readiness has this state; as of the last /readyz",
            labels=["check", "state"],
        )
        for finding in self._readiness.latest:
            for state in CheckState:
                checks.add_metric([finding.check.value, state.value], finding.state is state)
        yield checks
        callers = GaugeMetricFamily(
            "cdp_pool_callers", "Transactions that have or wait for a connection to the database", labels=["pool"]
        )
        sizes = GaugeMetricFamily("cdp_pool_size", "Connections that a pool may open", labels=["pool"])
        for pool in ("api", "ingest", "worker", "health"):  # those of the parts share the connections of `api`
            database = getattr(self._pools, pool)
            callers.add_metric([pool], database.callers)
            sizes.add_metric([pool], database.pool_size)
        yield callers
        yield sizes
