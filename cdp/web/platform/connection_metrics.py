"""Metrics of connections: how many are open, and what was refused, by reason."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.table import ConnectionTable


class ConnectionCollector(Collector):
    """Reads the table of connections at each scrape."""

    def __init__(self, connections: ConnectionTable | None, wrong_secrets: WrongSecrets) -> None:
        self._connections = connections
        self._wrong_secrets = wrong_secrets

    def describe(self) -> Iterable[Metric]:
        """No metric is described before the first scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The connections that are open, and the refused ones."""
        refused = CounterMetricFamily(
            "cdp_refused",
            "Connections and requests refused for their size, number, slowness or wrong secrets, since the start",
            labels=["reason"],
        )
        refused.add_metric(["too_many_wrong_secrets"], self._wrong_secrets.refused)
        if self._connections is not None:
            yield GaugeMetricFamily("cdp_connections", "Connections that are open", len(self._connections))
            for refusal, count in self._connections.refused.copy().items():
                refused.add_metric([refusal.code], count)
        yield refused
