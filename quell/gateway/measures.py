"""What the gateway measures about itself. Names of metrics live here and nowhere else."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from quell.incidents.errors import Unavailable
from quell.incidents.incident import ACTIVE_STATES
from quell.ports import Store

EVENTS = "quell_gateway_events"
REQUEST_SECONDS = "quell_gateway_request_seconds"
INBOX_WAITING = "quell_inbox_waiting"
INCIDENTS_ACTIVE = "quell_incidents_active"


class Measures:
    """The registry of one gateway; `events` counts by kind and result (taken, rejected)."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            EVENTS, "Events that came in, by kind and result.", ["kind", "result"], registry=self.registry
        )
        self.request_seconds = Histogram(
            REQUEST_SECONDS, "Time to answer, by route and status.", ["route", "status"], registry=self.registry
        )
        self.registry.register(_StoreCollector(store))


class _StoreCollector(Collector):
    """Read from the store at each scrape; left out while it does not answer, so that nobody takes it for zero."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._store.reading() as tx:
                waiting = tx.inbox.count({"processed_at": None})
                active = tx.incidents.count({"state": tuple(ACTIVE_STATES)})
        except Unavailable:
            return
        yield GaugeMetricFamily(INBOX_WAITING, "Events in the inbox that triage has not dealt with.", value=waiting)
        yield GaugeMetricFamily(INCIDENTS_ACTIVE, "Incidents that are not resolved.", value=active)
