"""Which incident an alert belongs to, case by case in plain words."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id, merge_alerts
from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import fingerprint
from quell.incidents.matcher import parse_matchers
from quell.incidents.report import Report
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.tally import Tally
from quell.triage.kinship import Kinship
from quell.triage.placement import Candidate, Placement, place_alert, place_report
from quell.triage.relation import relate
from quell.triage.rules import Flapping, OpenAfter, Rules

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW = T0 + timedelta(minutes=1)
NO_RULES = Rules()
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


@dataclass(frozen=True)
class Known:
    """An incident with the alerts in it."""

    incident: Incident
    alerts: tuple[Alert, ...]


def incident(*alerts: Alert, id: str = "INC-1", state: IncidentState = IncidentState.TRIAGED) -> Known:
    onset = min(a.starts_at for a in alerts)
    tally = Tally()
    for one in alerts:
        tally = tally.entered(one, KINSHIP.service_of(one))
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
        tally=tally,
    )
    return Known(incident=record, alerts=tuple(replace(a, incident=record.id) for a in alerts))


KINSHIP = Kinship(SHOP, after_change=timedelta(minutes=10))


def candidates(news: Alert, known: tuple[Known, ...]) -> list[Candidate]:
    """What the footprints say: an incident stepped wherever its alerts did."""
    found: list[Candidate] = []
    for one in known:
        links = [link for other in one.alerts if (link := KINSHIP.relation(news, other))]
        link = min(links, key=lambda link: link.hops, default=None)
        is_alike = any(KINSHIP.alike(news) == KINSHIP.alike(other) for other in one.alerts)
        found.append(Candidate(incident=one.incident, link=link, is_alike=is_alike))
    return found


def place(
    news: Alert,
    *known: Known,
    now: datetime = NOW,
    rules: Rules = NO_RULES,
    waiting: tuple[Alert, ...] = (),
    episodes: tuple[Alert, ...] = (),
) -> Placement:
    same = [a for one in known for a in one.alerts if a.fingerprint == news.fingerprint]
    return place_alert(
        news,
        candidates=candidates(news, known),
        episodes=[*same, *episodes],
        waiting=waiting,
        kinship=KINSHIP,
        rules=rules,
        window=timedelta(minutes=10),
        reopen=timedelta(minutes=5),
        now=now,
    )


@dataclass(frozen=True)
class Case:
    told: str
    news: Alert
    active: tuple[Known, ...]
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
    assert place(again, ended).reopens
    assert place(other, ended).outcome is AlertOutcome.OPENED


def test_another_signal_of_the_sweep_does_not_reopen_though_the_alerts_share_a_name() -> None:
    known = alert("Anomaly", signal="errors", service="checkout", ends=20)
    ended = incident(known, state=IncidentState.RESOLVED)
    assert place(alert("Anomaly", signal="errors", service="checkout", at=60), ended).reopens
    assert not place(alert("Anomaly", signal="traffic", service="checkout", at=60), ended).reopens


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
    placed = place_report(
        report(service), active=[k.incident for k in active], catalog=SHOP, window=timedelta(minutes=10), now=NOW
    )
    assert placed.incident == joins
    assert placed.reason


SEVERAL = Rules(
    open_after=(
        OpenAfter(
            name="slow ones",
            matchers=parse_matchers("alertname=Slow"),
            count=3,
            within=timedelta(minutes=5),
            lasting=timedelta(minutes=8),
            where="routing.yaml:12",
        ),
    )
)


def test_an_alert_waits_until_enough_related_ones_came_and_says_when_it_would_open() -> None:
    news = alert("Slow", service="checkout", instance="checkout-1", at=20)
    one = alert("Slow", service="checkout", instance="checkout-2")
    stranger = alert("Slow", service="warehouse")
    placed = place(news, rules=SEVERAL, waiting=(one, stranger))
    assert (placed.outcome, placed.incident) == (AlertOutcome.WAITING, None)
    assert placed.reason == (
        'opening threshold "slow ones": 2 of 3 alerts within 5 min; opens at 12:08:20 UTC if it still fires then'
    )
    assert (placed.rule_at, placed.due_at) == ("routing.yaml:12", T0 + timedelta(minutes=8, seconds=20))
    caller = alert("Slow", service="storefront", at=30)
    assert place(news, rules=SEVERAL, waiting=(one, caller)).outcome is AlertOutcome.OPENED
    long_before = alert("Slow", service="checkout", at=-600)
    assert place(news, rules=SEVERAL, waiting=(one, long_before)).outcome is AlertOutcome.WAITING


def test_the_threshold_opens_by_the_clock_and_delays_no_other_alert() -> None:
    slow, other = alert("Slow", service="checkout"), alert("Errors", service="checkout")
    assert place(slow, rules=SEVERAL, now=T0 + timedelta(minutes=8)).outcome is AlertOutcome.OPENED
    assert place(other, rules=SEVERAL).outcome is AlertOutcome.OPENED
    assert place(slow, incident(other), rules=SEVERAL).outcome is AlertOutcome.JOINED


def test_what_was_over_before_the_threshold_opens_nothing_and_says_so() -> None:
    placed = place(replace(alert("Slow", service="checkout", ends=50), heard_firing=True), rules=SEVERAL)
    assert placed.outcome is AlertOutcome.WAITING
    assert placed.reason == 'opening threshold "slow ones": it was over after 50 s, before 8 min'


FLAPS = tuple(alert(service="checkout", at=at, ends=at + 10) for at in (0, 20, 40, 60))
LESS = Rules(flapping=Flapping(changes=6, within=timedelta(minutes=10)))


def test_a_flapping_alert_joins_and_is_called_so() -> None:
    placed = place(alert(service="checkout", at=80), incident(*FLAPS), rules=LESS, now=T0 + timedelta(seconds=80))
    assert (placed.outcome, placed.rule, placed.is_flapping) == (AlertOutcome.JOINED, "flapping", True)
    assert "it flaps: 9 changes of state within 10 min" in placed.reason
    assert not place(alert(service="checkout", at=60), incident(*FLAPS[:2]), rules=LESS).is_flapping


def test_a_flapping_alert_does_not_reopen_but_is_placed_when_it_holds() -> None:
    ended = incident(*FLAPS, state=IncidentState.RESOLVED)
    news = alert(service="checkout", at=80)
    placed = place(news, ended, rules=LESS, now=T0 + timedelta(seconds=80))
    assert (placed.outcome, placed.reopens) == (AlertOutcome.WAITING, False)
    assert placed.due_at == T0 + timedelta(seconds=80) + timedelta(minutes=10)
    assert placed.due_at is not None
    assert place(news, ended, rules=LESS, now=placed.due_at).outcome is AlertOutcome.OPENED


def test_two_services_that_one_commit_changed_belong_together() -> None:
    """Neither calls the other: only the change tells that it is one trouble."""
    both = [
        Change(
            id=f"c-{name}", kind=ChangeKind.CONFIG, service=name, at=T0, summary="s", commit="abc1234", received_at=T0
        )
        for name in ("payment", "warehouse")
    ]
    kinship = Kinship(SHOP, both, after_change=timedelta(minutes=10))
    one, other = alert(service="payment", at=60), alert(service="warehouse", at=90)
    link = kinship.relation(one, other)
    assert link is not None
    assert (link.rule, link.words) == (
        "shared change", "both began right after change abc1234 of payment and warehouse"
    )  # fmt: skip
    assert KINSHIP.relation(one, other) is None
    assert kinship.relation(one, alert(service="warehouse", at=3600)) is None
    # callers of what was changed count too: nothing but the change relates them
    assert kinship.relation(alert(service="storefront", at=5), other) is not None


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
