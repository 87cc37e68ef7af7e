"""The simulator's own metrics, read from what it holds at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from boton.simulator.network import Network
from boton.simulator.public import MAX_LISTED

__all__ = ["CONTENT_TYPE", "to_exposition"]


class _Gauges(Collector):
    def __init__(self, network: Network) -> None:
        self._network = network

    def collect(self) -> Iterator[Metric]:
        sessions = self._network.sessions.list_all(MAX_LISTED)
        deliveries = self._network.post.messages.deliveries
        yield CounterMetricFamily(
            "boton_simulator_deliveries", "Messages that reached a customer's phone.", value=deliveries
        )
        yield GaugeMetricFamily(
            "boton_simulator_open_sessions",
            "Business phones with an open session.",
            sum(each.open for each in sessions),
        )
        yield GaugeMetricFamily(
            "boton_simulator_under_way", "Messages that wait out the latency.", value=self._network.under_way
        )


def to_exposition(network: Network) -> bytes:
    """Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gauges(network))
    return generate_latest(registry)
