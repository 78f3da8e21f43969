"""What the gateway measures about itself. Names of metrics live here and nowhere else."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from quell.detection.health import LAST_SWEEP, LastSweep, read_last_sweep
from quell.incidents.errors import Unavailable
from quell.incidents.inbox import Quarantine
from quell.incidents.incident import ACTIVE_STATES
from quell.incidents.notification import NotificationState
from quell.incidents.verdict import VerdictKind
from quell.ports import Clock, Store

EVENTS = "quell_gateway_events"
REQUEST_SECONDS = "quell_gateway_request_seconds"
QUARANTINED = "quell_gateway_quarantined"
INBOX_HELD = "quell_inbox_quarantined"
INBOX_WAITING = "quell_inbox_waiting"
INCIDENTS_ACTIVE = "quell_incidents_active"
ANOMALIES_WAITING = "quell_anomalies_waiting"
NOTIFICATIONS = "quell_notifications"
NOTIFICATIONS_UNACTIONABLE = "quell_notifications_unactionable"
SWEEP_AGE = "quell_sweep_age_seconds"
SWEEP_LAG = "quell_sweep_lag_seconds"
SWEEP_SECONDS = "quell_sweep_duration_seconds"
SWEEP_SERIES = "quell_sweep_series"
SWEEP_VERDICTS = "quell_sweep_verdicts"
SWEEP_FAILED = "quell_sweep_signals_failed"
SWEEP_VANISHED = "quell_sweep_signals_vanished"
SWEEP_PARTIAL = "quell_sweep_signals_partial"
SWEEP_STAGE = "quell_sweep_stage_seconds"


class Measures:
    """The registry of one gateway; `events` counts by kind and result (taken, rejected)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            EVENTS, "Events that came in, by kind and result.", ["kind", "result"], registry=self.registry
        )
        self.request_seconds = Histogram(
            REQUEST_SECONDS, "Time to answer, by route and status.", ["route", "status"], registry=self.registry
        )
        self.quarantined = Counter(
            QUARANTINED,
            "What could not be read, by result: held, or dropped for want of room.",
            ["result"],
            registry=self.registry,
        )
        self.registry.register(_StoreCollector(store, clock))


class _StoreCollector(Collector):
    """Read from the store at each scrape; left out while it does not answer, so that nobody takes it for zero."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._store.reading() as tx:
                waiting = tx.inbox.count({"processed_at": None})
                held = tx.inbox.count({"quarantine": Quarantine.HELD})
                active = tx.incidents.count({"state": tuple(ACTIVE_STATES)})
                anomalies = tx.anomalies.count({"label": None})
                told: dict[str, int] = {state: tx.notifications.count({"state": state}) for state in NotificationState}
                unactionable = tx.notifications.count({"state": NotificationState.HELD, "due_at": None})
                document = tx.documents.get(LAST_SWEEP)
        except Unavailable:
            return
        yield GaugeMetricFamily(
            INBOX_WAITING,
            "Items in the inbox that triage has not dealt with; one holds the alerts of a request.",
            value=waiting,
        )
        yield GaugeMetricFamily(INBOX_HELD, "Items that could not be read and wait for a person.", value=held)
        yield GaugeMetricFamily(INCIDENTS_ACTIVE, "Incidents that are not resolved.", value=active)
        yield GaugeMetricFamily(ANOMALIES_WAITING, "Anomalies that wait for a person's label.", value=anomalies)
        yield _notifications(told)
        text = "Notifications kept because nobody could act on them."
        yield GaugeMetricFamily(NOTIFICATIONS_UNACTIONABLE, text, value=unactionable)
        if document is not None:
            yield from _sweep(read_last_sweep(document.body, document.updated_at), self._clock())


def _notifications(told: Mapping[str, int]) -> GaugeMetricFamily:
    found = GaugeMetricFamily(NOTIFICATIONS, "Notifications by state; failed means given up.", labels=["state"])
    for state, count in told.items():
        found.add_metric([state], count)
    return found


def _sweep(last: LastSweep, now: datetime) -> Iterator[GaugeMetricFamily]:
    age = (now - last.finished_at).total_seconds()
    yield GaugeMetricFamily(SWEEP_AGE, "Time since the last sweep finished.", value=age)
    lag = last.lag.total_seconds()
    yield GaugeMetricFamily(SWEEP_LAG, "How old the judged moment was when the last sweep finished.", value=lag)
    yield GaugeMetricFamily(SWEEP_SECONDS, "How long the last sweep took.", value=last.seconds)
    yield GaugeMetricFamily(SWEEP_SERIES, "Series that the last sweep judged.", value=last.series)
    yield GaugeMetricFamily(SWEEP_FAILED, "Signals that the last sweep could not judge.", value=last.failed)
    yield GaugeMetricFamily(SWEEP_VANISHED, "Signals of which no series is left.", value=len(last.vanished))
    yield GaugeMetricFamily(SWEEP_PARTIAL, "Signals that were answered only in part.", value=len(last.partial))
    stages = GaugeMetricFamily(SWEEP_STAGE, "Time of the last sweep by stage, over all shards.", labels=["stage"])
    for stage, seconds in last.spent.items():
        stages.add_metric([stage], seconds)
    yield stages
    verdicts = GaugeMetricFamily(SWEEP_VERDICTS, "Verdicts of the last sweep by kind.", labels=["kind"])
    for kind in VerdictKind:
        verdicts.add_metric([kind], last.verdicts.get(kind, 0))
    yield verdicts
