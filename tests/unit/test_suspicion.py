"""Suspects of a running incident: what the metrics around it add to what the alerts say, and when they must not."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.change import Change, ChangeKind
from quell.incidents.labels import Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import DIRECTION_OF_KIND, Signal, SignalKind
from quell.incidents.suspect import Suspect
from quell.triage.rootcause.vocabulary import Kind, read_metric
from quell.triage.surroundings import (
    Period,
    Surroundings,
    calls_between,
    metric_of,
    node_of,
    services_around,
    survey,
)
from quell.triage.suspects import ABSTAIN
from quell.triage.suspicion import merge_suspects, suspect_by_metrics, tell_difference

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
STEP = 10
ROWS, DURING = 360, 18


def service(name: str, *needs: str, instances: int = 2) -> Service:
    members = tuple(Instance(name=f"{name}-{n}", service=name) for n in range(1, instances + 1))
    return Service(name=name, team="shop", depends_on=needs, instances=members)


def catalog(*services: Service) -> Catalog:
    return Catalog(services={s.name: s for s in services})


SHOP = catalog(service("shop", "cart"), service("cart", "stock"), service("stock"), service("mail"))


def signal(name: str, kind: SignalKind, unit: str = "") -> Signal:
    return Signal(
        name=name, query=name, kind=kind, direction=DIRECTION_OF_KIND[kind], unit=unit, step=timedelta(seconds=STEP)
    )


ERRORS = signal("failing", SignalKind.ERROR_RATIO, "ratio")
LATENCY = signal("slowness", SignalKind.LATENCY, "seconds")
TRAFFIC = signal("volume", SignalKind.TRAFFIC, "req/s")
NODES = ("shop-1", "shop-2", "cart-1", "cart-2", "stock-1", "stock-2", "mail-1", "mail-2")


def deep_trouble(*, late: int = 0, traffic: float = 1.0) -> list[tuple[Signal, SeriesMatrix]]:
    """One instance of stock is slow, everybody above waits, and the shop gives up on some requests."""
    slow = {"stock-1": 1.0, "cart-1": 0.5, "cart-2": 0.5, "shop-1": 0.5, "shop-2": 0.5}
    return answers(slow=slow, failing={"shop-1": 0.3, "shop-2": 0.3}, late=late, traffic=traffic)


def answers(
    *,
    slow: Mapping[str, float] = {},
    failing: Mapping[str, float] = {},
    traffic: float = 1.0,
    late: int = 0,
) -> list[tuple[Signal, SeriesMatrix]]:
    """An hour before T0 and three minutes after; trouble begins `late` seconds before T0."""
    random = np.random.default_rng(4)
    times = T0.timestamp() + STEP * np.arange(-ROWS, DURING).astype(np.float64)
    on = (times >= T0.timestamp() - late).astype(float)

    def matrix(level: float, added: Mapping[str, float], factor: float = 1.0) -> SeriesMatrix:
        columns: list[FloatArray] = []
        for node in NODES:
            noise = np.exp(random.normal(0, 0.05, len(times)))
            values = (level * noise) * (1 + (factor - 1) * on) + added.get(node, 0.0) * on
            columns.append(values)
        labels: tuple[Labels, ...] = tuple({"service": node[:-2], "instance": node} for node in NODES)
        return SeriesMatrix(timestamps=times, values=np.column_stack(columns), labels=labels)

    return [
        (ERRORS, matrix(0.002, failing)),
        (LATENCY, matrix(0.05, slow)),
        (TRAFFIC, matrix(20.0, {}, traffic)),
    ]


def look(
    found: list[tuple[Signal, SeriesMatrix]],
    *,
    target: tuple[str, Signal] | None = ("shop-1", ERRORS),
    known: Catalog = SHOP,
    earlier: Sequence[Period] = (),
    changes: Sequence[Change] = (),
    involved: Sequence[str] = ("shop", "cart", "stock"),
) -> tuple[Suspect, ...]:
    services = services_around(involved, known)
    seen = survey(found, services=services, catalog=known, onset=T0, earlier=earlier)
    assert not seen.lacking
    column = (target[0], metric_of(target[1])) if target else None
    calls = calls_between(services, known)
    return suspect_by_metrics(seen, calls=calls, target=column, changes=changes, catalog=known)


def alerted(node: str, score: float = 0.75, *, change: str | None = None) -> Suspect:
    return Suspect(node=node, metric="failing", score=score, reason="30 % of requests fail", change=change)


def test_a_slow_callee_that_no_alert_names_comes_before_its_failing_caller() -> None:
    """The caller is where people notice it, the callee is where it has to be mended."""
    merged = merge_suspects([alerted("shop-1")], look(deep_trouble()), SHOP)
    assert merged[0].node == "stock-1"
    assert merged[0].reason.startswith("no alert names it, its metrics do")
    assert merged[0].metric == "slowness"


def test_an_onset_known_a_minute_late_changes_nothing_about_who_is_first() -> None:
    merged = merge_suspects([alerted("shop-1")], look(deep_trouble(late=60)), SHOP)
    assert merged[0].node == "stock-1"


def test_without_a_part_of_the_graph_the_callee_is_still_among_the_first_three() -> None:
    partly = catalog(service("shop", "cart"), service("cart"), service("stock"), service("mail"))
    measured = look(deep_trouble(), known=partly, target=("shop-1", LATENCY))
    assert "stock-1" in [s.node for s in merge_suspects([alerted("shop-1")], measured, partly)[:3]]


def test_twice_the_traffic_beside_the_fault_does_not_hide_it() -> None:
    merged = merge_suspects([alerted("shop-1")], look(deep_trouble(traffic=2.0)), SHOP)
    assert merged[0].node == "stock-1"


def test_traffic_that_changes_alone_names_nobody_beyond_the_alerts() -> None:
    alerts = [alerted("client:importer", 0.6), alerted("shop", 0.3)]
    merged = merge_suspects(alerts, look(answers(traffic=2.0), target=None), SHOP)
    assert [s.node for s in merged] == ["client:importer", "shop"]


def test_a_flooding_client_stays_first_though_the_services_behind_it_are_slow() -> None:
    alerts = [alerted("client:importer", 0.9)]
    slow = [alerted("cart-1", 0.78), alerted("stock-1", 0.7)]
    assert merge_suspects(alerts, slow, SHOP)[0].node == "client:importer"


def test_nobody_is_named_where_neither_alerts_nor_metrics_say_anything() -> None:
    assert merge_suspects((), look(answers(), target=None), SHOP) == ()


def test_a_service_that_the_target_does_not_need_is_left_out() -> None:
    found = answers(slow={"mail-1": 1.0}, failing={"shop-1": 0.3})
    assert "mail-1" not in [s.node for s in look(found, involved=["shop", "mail"])]
    assert "mail-1" in [s.node for s in look(found, involved=["shop", "mail"], target=None)]


def test_agreement_raises_a_suspect_above_what_its_alerts_say() -> None:
    merged = merge_suspects([alerted("cart-1", 0.6)], [alerted("cart-1", 0.5)], SHOP)
    assert merged[0].score == pytest.approx(0.7)
    assert "its metrics agree" in merged[0].reason


def test_silent_metrics_leave_the_ranking_of_the_alerts_as_it_is() -> None:
    alerts = (alerted("cart-1", 0.6, change="CHG-1"), alerted("shop", 0.4))
    assert merge_suspects(alerts, (), SHOP) == alerts


def test_metrics_that_accuse_a_stranger_take_nothing_from_an_alerted_suspect() -> None:
    merged = merge_suspects([alerted("cart-1", 0.6)], [alerted("mail-1", 0.5)], SHOP)
    assert (merged[0].node, merged[0].score) == ("cart-1", 0.6)


def test_a_suspect_with_a_change_that_fits_never_falls_below_the_bar_for_naming() -> None:
    merged = merge_suspects([alerted("shop", 0.25, change="CHG-1")], [alerted("stock-1", 0.9)], SHOP)
    assert {s.node: s.score for s in merged}["shop"] == ABSTAIN
    without = merge_suspects([alerted("shop", 0.25)], [alerted("stock-1", 0.9)], SHOP)
    assert {s.node: s.score for s in without}.get("shop", 0.0) < ABSTAIN


def test_a_change_that_only_the_metrics_accuse_is_kept() -> None:
    change = Change(
        id="CHG-1", kind=ChangeKind.DEPLOY, service="stock", instance="stock-1", at=T0 - timedelta(minutes=2),
        summary="new index", received_at=T0,
    )  # fmt: skip
    merged = merge_suspects([alerted("shop-1")], look(deep_trouble(), changes=[change]), SHOP)
    assert (merged[0].node, merged[0].change) == ("stock-1", "CHG-1")


def test_the_windows_leave_out_the_minute_before_the_onset_and_earlier_troubles() -> None:
    earlier = (T0 - timedelta(minutes=30), T0 - timedelta(minutes=20))
    seen = survey(answers(), services=["shop"], catalog=SHOP, onset=T0, earlier=[earlier])
    assert seen.abnormal.values.shape == (DURING, 6)
    assert len(seen.normal.values) == ROWS - 60 // STEP - (600 // STEP + 1)


def test_an_earlier_trouble_in_the_hour_before_does_not_pass_as_normal() -> None:
    found = deep_trouble()
    for _, matrix in found[:2]:
        matrix.values[ROWS - 300 : ROWS - 90] *= 30
    earlier = (T0 - timedelta(seconds=3000), T0 - timedelta(seconds=900))
    assert merge_suspects([alerted("shop-1")], look(found, earlier=[earlier]), SHOP)[0].node == "stock-1"


@pytest.mark.parametrize(
    ("onset", "early", "words"),
    [
        (T0 + timedelta(seconds=STEP * (DURING - 2)), True, "2 rows of metrics lie after the onset, 3 are needed"),
        (T0 - timedelta(seconds=STEP * (ROWS - 11)), False, "5 rows of metrics lie before the onset, 10 are needed"),
    ],
)
def test_too_few_rows_are_said(onset: datetime, early: bool, words: str) -> None:
    seen = survey(answers(), services=["shop"], catalog=SHOP, onset=onset)
    assert (seen.lacking, seen.is_early) == (words, early)


def test_services_that_nobody_measures_are_said() -> None:
    seen: Surroundings = survey(answers(), services=["billing"], catalog=SHOP, onset=T0)
    assert seen.lacking == "no signal measures these services"


def test_the_surroundings_are_callers_and_callees_and_stay_bounded() -> None:
    assert services_around(["cart"], SHOP) == ("cart", "stock", "shop")
    assert "mail" not in services_around(["shop"], SHOP)
    chain = catalog(*(service(f"s{n}", f"s{n + 1}") for n in range(200)))
    assert len(services_around(["s0"], chain)) == 33  # three nodes each
    assert services_around(["shop", "cart", "stock"], SHOP) == ("shop", "cart", "stock")


def test_callers_of_callees_are_not_around() -> None:
    """A database that everybody calls would bring in everybody."""
    known = catalog(service("shop", "base"), service("other", "base"), service("base"))
    assert services_around(["shop"], known) == ("shop", "base")


@pytest.mark.parametrize(
    ("name", "kind", "unit", "read"),
    [
        ("cpu-wait", SignalKind.LATENCY, "seconds", Kind.LATENCY),
        ("queue-errors", SignalKind.ERROR_RATIO, "ratio", Kind.ERRORS),
        ("volume", SignalKind.TRAFFIC, "req/s", Kind.REQUESTS),
        ("disk-full", SignalKind.SATURATION, "ratio", Kind.DISK),
        ("pressure", SignalKind.SATURATION, "ratio", Kind.SATURATION),
    ],
)
def test_a_metric_is_read_as_the_kind_that_its_signal_has(name: str, kind: SignalKind, unit: str, read: Kind) -> None:
    assert read_metric(metric_of(signal(name, kind, unit))).kind is read


def test_a_latency_keeps_its_percentile_and_takes_the_unit_along() -> None:
    meaning = read_metric(metric_of(signal("instance-latency-p99", SignalKind.LATENCY, "milliseconds")))
    assert (meaning.quantile, meaning.unit_seconds) == (0.99, 1e-3)


def test_clients_and_strangers_are_no_nodes() -> None:
    around = frozenset({"shop"})
    assert node_of({"instance": "shop-1"}, ERRORS, SHOP, around) == "shop-1"
    assert node_of({"service": "shop"}, ERRORS, SHOP, around) == "shop"
    assert node_of({"service": "shop", "client": "importer"}, TRAFFIC, SHOP, around) is None
    assert node_of({"instance": "mail-1"}, ERRORS, SHOP, around) is None


def test_the_timeline_says_who_was_first_before() -> None:
    text = tell_difference([alerted("shop")], [alerted("stock-1"), alerted("shop")])
    assert text == "metrics put stock-1 first instead of shop: 30 % of requests fail"
    assert tell_difference([alerted("shop", 0.5)], [alerted("shop", 0.6)]) == ""
