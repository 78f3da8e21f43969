"""Which incident an alert belongs to, case by case in plain words."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id, merge_alerts
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import fingerprint
from quell.incidents.report import Report
from quell.incidents.service import Catalog, Instance, Service
from quell.triage.placement import Candidate, Placement, place_alert, place_report
from quell.triage.relation import relate

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW = T0 + timedelta(minutes=1)
SHOP = Catalog(
    services={
        "storefront": Service(name="storefront", team="shop", depends_on=("checkout", "catalog"), is_user_facing=True),
        "checkout": Service(
            name="checkout",
            team="shop",
            depends_on=("payment",),
            instances=(
                Instance(name="checkout-1", service="checkout"),
                Instance(name="checkout-2", service="checkout"),
            ),
        ),
        "payment": Service(name="payment", team="money"),
        "catalog": Service(name="catalog", team="shop"),
        "warehouse": Service(name="warehouse", team="goods", depends_on=("warehouse",)),
    }
)


def alert(name: str = "Errors", *, at: float = 0, ends: float | None = None, **labels: str) -> Alert:
    named = {"alertname": name, **labels}
    mark, start = fingerprint(named), T0 + timedelta(seconds=at)
    end = None if ends is None else T0 + timedelta(seconds=ends)
    return Alert(
        id=alert_id(mark, start),
        fingerprint=mark,
        status=AlertStatus.FIRING if end is None else AlertStatus.RESOLVED,
        labels=named,
        annotations={},
        starts_at=start,
        ends_at=end,
        source="test",
        received_at=start,
        updated_at=end or start,
    )


def incident(*alerts: Alert, id: str = "INC-1", state: IncidentState = IncidentState.TRIAGED) -> Candidate:
    onset = min(a.starts_at for a in alerts)
    record = Incident(
        id=IncidentId(id),
        state=state,
        severity=Severity.MAJOR,
        title="",
        service=alerts[0].service or "unknown",
        onset_at=onset,
        opened_at=onset,
        updated_at=onset,
        opened_because="",
        opened_by="test",
        resolved_at=T0 + timedelta(seconds=30) if state is IncidentState.RESOLVED else None,
    )
    return Candidate(incident=record, alerts=alerts)


def place(news: Alert, *active: Candidate, ended: tuple[Candidate, ...] = (), now: datetime = NOW) -> Placement:
    return place_alert(
        news,
        active=active,
        ended=ended,
        catalog=SHOP,
        window=timedelta(minutes=10),
        reopen=timedelta(minutes=5),
        now=now,
    )


@dataclass(frozen=True)
class Case:
    told: str
    news: Alert
    active: tuple[Candidate, ...]
    outcome: AlertOutcome
    incident: str | None
    reason: str


CHECKOUT = incident(alert(service="checkout", instance="checkout-2"))
CASES = [
    Case(
        "nothing is active", alert(service="checkout"), (), AlertOutcome.OPENED, None, "no active incident of checkout"
    ),
    Case("same service", alert("Slow", service="checkout"), (CHECKOUT,), AlertOutcome.JOINED, "INC-1", "same service"),
    Case(
        "same instance, found without a service label",
        alert("Slow", instance="checkout-2"),
        (CHECKOUT,),
        AlertOutcome.JOINED,
        "INC-1",
        "same instance checkout-2",
    ),
    Case(
        "the instance tells the service",
        alert("Slow", instance="checkout-1"),
        (CHECKOUT,),
        AlertOutcome.JOINED,
        "INC-1",
        "same service checkout",
    ),
    Case(
        "a caller suffers",
        alert(service="storefront"),
        (CHECKOUT,),
        AlertOutcome.JOINED,
        "INC-1",
        "storefront calls checkout, within 10 min of INC-1",
    ),
    Case(
        "two calls away",
        alert(service="payment"),
        (incident(alert(service="storefront")),),
        AlertOutcome.JOINED,
        "INC-1",
        "storefront calls checkout, which calls payment",
    ),
    Case(
        "a stranger", alert(service="warehouse"), (CHECKOUT,), AlertOutcome.OPENED, None, "no active incident of wareh"
    ),
    Case("two callees of one caller", alert(service="catalog"), (CHECKOUT,), AlertOutcome.OPENED, None, "no active"),
    Case("no service at all", alert("Disk"), (CHECKOUT,), AlertOutcome.OPENED, None, "it names no service"),
    Case(
        "the same alert from a second sender, begun a second later",
        alert(service="checkout", instance="checkout-2", at=1),
        (CHECKOUT,),
        AlertOutcome.DUPLICATE,
        "INC-1",
        "the same alert, begun 12:00:00 UTC, is already in INC-1",
    ),
    Case(
        "the same alert after it had ended",
        alert(service="checkout", at=40),
        (incident(alert(service="checkout", ends=20)),),
        AlertOutcome.JOINED,
        "INC-1",
        "the same alert fires again",
    ),
    Case(
        "the nearer of two incidents",
        alert("Slow", service="payment"),
        (incident(alert(service="storefront"), id="INC-1"), incident(alert(service="payment"), id="INC-2")),
        AlertOutcome.JOINED,
        "INC-2",
        "same service payment",
    ),
    Case(
        "long after the incident went quiet",
        alert("Slow", service="checkout", at=3600),
        (incident(alert(service="checkout", ends=20)),),
        AlertOutcome.OPENED,
        None,
        "no active incident of checkout or of a service related to it within 10 min",
    ),
    Case(
        "long after the alerts fell silent, but the incident is contained",
        alert("Slow", service="checkout", at=3600),
        (incident(alert(service="checkout", ends=20), state=IncidentState.CONTAINED),),
        AlertOutcome.JOINED,
        "INC-1",
        "same service checkout",
    ),
    Case(
        "over before it was heard of", alert(service="checkout", ends=9), (), AlertOutcome.WAITING, None, "it was resol"
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.told for case in CASES])
def test_placement(case: Case) -> None:
    placement = place(case.news, *case.active, now=max(NOW, case.news.starts_at))
    assert (placement.outcome, placement.incident) == (case.outcome, case.incident)
    assert placement.reason.startswith(case.reason)


def test_trouble_of_another_name_does_not_reopen() -> None:
    ended = incident(alert(service="checkout", ends=20), state=IncidentState.RESOLVED)
    again, other = alert(service="checkout", at=60), alert("Slow", service="checkout", at=60)
    assert place(again, ended=(ended,)).reopens
    assert place(other, ended=(ended,)).outcome is AlertOutcome.OPENED


def test_another_signal_of_the_sweep_does_not_reopen_though_the_alerts_share_a_name() -> None:
    known = alert("Anomaly", signal="errors", service="checkout", ends=20)
    ended = incident(known, state=IncidentState.RESOLVED)
    assert place(alert("Anomaly", signal="errors", service="checkout", at=60), ended=(ended,)).reopens
    assert not place(alert("Anomaly", signal="traffic", service="checkout", at=60), ended=(ended,)).reopens


def report(service: str | None) -> Report:
    return Report(id="r", text="cannot pay", service=service, at=NOW)


@pytest.mark.parametrize(
    ("service", "incidents", "joins"),
    [
        ("storefront", 1, "INC-1"),
        ("checkout", 1, "INC-1"),
        ("warehouse", 1, None),
        (None, 1, "INC-1"),
        (None, 2, None),
        (None, 0, None),
    ],
)
def test_a_report_joins_what_it_can_be_about(service: str | None, incidents: int, joins: str | None) -> None:
    other = incident(alert(service="warehouse"), id="INC-2")
    active = (CHECKOUT, other)[:incidents]
    placed = place_report(report(service), active=active, catalog=SHOP, window=timedelta(minutes=10), now=NOW)
    assert placed.incident == joins
    assert placed.reason


NAMES = st.sampled_from([*SHOP.services, "unheard-of"])


@given(NAMES, NAMES)
def test_relation_is_symmetric_and_agrees_with_the_call_graph(one: str, other: str) -> None:
    relation = relate(one, other, SHOP)
    assert relation == relate(other, one, SHOP)
    assert (relation is not None) == SHOP.are_related(one, other)


NEWS = st.builds(
    lambda second, ends, words: replace(
        alert(service="checkout", ends=ends), updated_at=T0 + timedelta(seconds=second), annotations={"summary": words}
    ),
    st.integers(0, 50),
    st.none() | st.integers(1, 50),
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(NEWS, min_size=2, max_size=4, unique_by=lambda a: a.updated_at), st.randoms(use_true_random=False))
def test_news_of_one_episode_merge_to_the_same_in_any_order(news: list[Alert], random: object) -> None:
    def merged(order: list[Alert]) -> Alert:
        result = order[0]
        for other in order[1:]:
            result = merge_alerts(result, other)
        return result

    shuffled = [*news]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merged(news) == merged(shuffled) == merged([*news, *shuffled])
