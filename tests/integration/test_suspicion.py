"""A running incident's metrics in a real Prometheus: who becomes suspect, and that nothing hurts when it is away."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from deployments.responder import Responder
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import DIRECTION_OF_KIND, Signal, SignalKind
from quell.ports import Store
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tasks.suspicion import WAIT_SECONDS, suspect_live
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

ONSET = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW = ONSET + timedelta(seconds=90)
STEP = 5
NODES = ("shop-1", "shop-2", "cart-1", "cart-2")


def service(name: str, *needs: str) -> Service:
    members = tuple(Instance(name=f"{name}-{n}", service=name) for n in (1, 2))
    return Service(name=name, team="shop", depends_on=needs, instances=members)


def signal(name: str, kind: SignalKind, unit: str) -> Signal:
    step = timedelta(seconds=STEP)
    return Signal(name=name, query=name, kind=kind, direction=DIRECTION_OF_KIND[kind], unit=unit, step=step)


SIGNALS = {
    one.name: one
    for one in (
        signal("error_ratio", SignalKind.ERROR_RATIO, "ratio"),
        signal("latency_p99", SignalKind.LATENCY, "seconds"),
        signal("requests", SignalKind.TRAFFIC, "req/s"),
    )
}


def history(until: datetime = NOW) -> str:
    """From the onset on `cart-2` is slow, its callers wait for it and give up on a third of the requests."""
    random = np.random.default_rng(7)
    times = np.arange(int(ONSET.timestamp()) - 3600, int(until.timestamp()) + 1, STEP)
    on = times >= ONSET.timestamp()
    slow = {"cart-2": 1.0, "shop-1": 0.5, "shop-2": 0.5}
    failing = {"shop-1": 0.3, "shop-2": 0.3}
    lines: list[str] = []
    for name, level, added in (("error_ratio", 0.002, failing), ("latency_p99", 0.05, slow), ("requests", 20.0, {})):
        lines.append(f"# TYPE {name} gauge")
        for node in NODES:
            values = level * np.exp(random.normal(0, 0.05, len(times))) + added.get(node, 0.0) * on
            labels = f'{{service="{node[:-2]}",instance="{node}"}}'
            lines += [f"{name}{labels} {v:.6f} {at}" for v, at in zip(values, times, strict=True)]
    return "\n".join([*lines, "# EOF", ""])


@dataclass(kw_only=True)
class Desk:
    res: Resources
    now: datetime = NOW

    def alert(self, name: str, **labels: str) -> None:
        payload = {"labels": {"alertname": name, **labels}, "startsAt": ONSET.isoformat()}
        id = json.dumps(payload, sort_keys=True)
        self.res.store.receive(
            [InboxItem(id=id, kind=InboxKind.ALERT, source="test", payload=payload, received_at=self.now)]
        )
        drain_inbox(self.res)

    @property
    def incident(self) -> Incident:
        with self.res.store.reading() as tx:
            return tx.incidents.find()[0]

    def told(self, kind: str) -> list[str]:
        with self.res.store.reading() as tx:
            return [event.text for event in tx.timeline.of(self.incident.id) if event.kind == kind]


def open_desk(store: Store, url: str) -> Desk:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=url),
        catalog=Catalog(services={s.name: s for s in (service("shop", "cart"), service("cart"))}),
        signals=SIGNALS,
    )
    source = PrometheusSource(url, timeout=timedelta(seconds=2), attempts=1)
    desk = Desk(res=Resources(config=config, store=store, metrics=source, actuators={}, clock=lambda: desk.now))
    return desk


@pytest.fixture(scope="module")
def prometheus(backfilled_prometheus: Callable[[str], str]) -> str:
    return backfilled_prometheus(history())


@pytest.fixture
def desk(every_store: Store, prometheus: str) -> Iterator[Desk]:
    found = open_desk(every_store, prometheus)
    yield found
    found.res.metrics.close()  # type: ignore[attr-defined]


def test_the_callee_that_no_alert_names_becomes_first_suspect(desk: Desk) -> None:
    """Alerts name the shop, whose requests fail; the cart's second instance is what is slow."""
    desk.alert("ShopFailing", service="shop", severity="critical")
    assert [s.node for s in desk.incident.suspects] == ["shop"]
    suspect_live(desk.res, desk.incident.id)
    first = desk.incident.suspects[0]
    assert (first.node, first.metric) == ("cart-2", "latency_p99")
    assert first.reason.startswith("no alert names it, its metrics do")
    assert desk.told("suspects ranked")[-1].startswith("metrics put cart-2 first instead of shop")


def test_a_second_look_at_the_same_metrics_writes_nothing(desk: Desk) -> None:
    desk.alert("ShopFailing", service="shop", severity="critical")
    suspect_live(desk.res, desk.incident.id)
    before, told = desk.incident, desk.told("suspects ranked")
    suspect_live(desk.res, desk.incident.id)
    assert (desk.incident, desk.told("suspects ranked")) == (before, told)


def test_a_further_alert_does_not_drop_what_the_metrics_said(desk: Desk) -> None:
    desk.alert("ShopFailing", service="shop", severity="critical")
    suspect_live(desk.res, desk.incident.id)
    desk.alert("ShopSlow", service="shop", instance="shop-1", severity="minor")
    assert desk.incident.suspects[0].node == "cart-2"


def test_an_incident_that_is_over_keeps_its_suspects(desk: Desk) -> None:
    desk.alert("ShopFailing", service="shop", severity="critical")
    with desk.res.store.writing() as tx:
        tx.incidents.put(replace(desk.incident, state=IncidentState.RESOLVED))
    assert suspect_live(desk.res, desk.incident.id) is None
    assert [s.node for s in desk.incident.suspects] == ["shop"]


def test_two_rows_after_the_onset_are_too_early_and_leave_no_trace(desk: Desk) -> None:
    desk.now = ONSET + timedelta(seconds=7)
    desk.alert("ShopFailing", service="shop", severity="critical")
    found = suspect_live(desk.res, desk.incident.id)
    assert found is not None and found.is_early
    assert desk.told("metrics missing") == []


def test_without_prometheus_the_alerts_ranking_stands_and_the_timeline_says_so_once() -> None:
    desk = open_desk(MemoryStore(), "http://127.0.0.1:9")
    desk.alert("ShopFailing", service="shop", severity="critical")
    before = desk.incident.suspects
    begun = time.monotonic()
    for _ in range(3):
        suspect_live(desk.res, desk.incident.id)
    assert time.monotonic() - begun < 3 * WAIT_SECONDS
    assert desk.incident.suspects == before
    (told,) = desk.told("metrics missing")
    assert told.startswith("the suspects rest on the alerts: ") and "cannot be reached" in told


class Silent:
    """A metric source that never answers, as one behind a firewall that drops packets."""

    def range(self, query: str, **_: object) -> object:
        time.sleep(WAIT_SECONDS + 2)
        raise AssertionError(query)


def test_a_server_that_does_not_answer_is_waited_for_four_seconds_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.suspicion.WAIT_SECONDS", 0.2)
    desk = open_desk(MemoryStore(), "http://127.0.0.1:9")
    desk.res = replace(desk.res, hasty_metrics=Silent())  # type: ignore[arg-type]
    desk.alert("ShopFailing", service="shop", severity="critical")
    begun = time.monotonic()
    suspect_live(desk.res, desk.incident.id)
    assert time.monotonic() - begun < 2
    assert "3 of 3 signals did not answer within 0.2 s" in desk.told("metrics missing")[0]


def test_the_responder_looks_when_an_incident_opens_and_not_again_before_it_grows(desk: Desk) -> None:
    """The second alert comes within half a minute: it has to wait its turn."""
    desk.alert("ShopFailing", service="shop", severity="critical")
    with ThreadPoolExecutor(1) as pool:
        responder = Responder(desk.res, pool)
        responder.suspect()
        wait_until("the suspect", lambda: desk.incident.suspects[0].node == "cart-2", every=0.02)
        responder.looking.shutdown(wait=True)  # whatever would be submitted now would raise
        responder.suspect()
        desk.alert("ShopSlow", service="shop", severity="minor")
        responder.suspect()
        responder.looks = {id: replace(look, again_at=0.0) for id, look in responder.looks.items()}
        with pytest.raises(RuntimeError, match="after shutdown"):
            responder.suspect()
