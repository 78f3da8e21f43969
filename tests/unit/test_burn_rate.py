"""Burn rates by the numbers of the SRE workbook, and the query over another window."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from quell.config.burn_windows import burn_windows
from quell.detection.burn_rate import burns, describe_burn, judge_burn, reachable, windowed
from quell.detection.burn_rules import slo_rules
from quell.incidents.errors import InvalidInput
from quell.incidents.service import Catalog
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.slo import Slo
from quell.incidents.verdict import VerdictKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
SLO = Slo(objective=0.999, period=MONTH)
M5, M30, H1, H6, D3 = (timedelta(minutes=m) for m in (5, 30, 60, 360, 4320))
WINDOWS = burn_windows()


def signal(slo: Slo | None = SLO, query: str = "sum(rate(e[10s])) / sum(rate(t[10s]))") -> Signal:
    return Signal(
        name="shop-error-ratio",
        query=query,
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=5),
        service="storefront",
        is_user_facing=True,
        slo=slo,
    )


def test_the_windows_are_those_of_the_workbook() -> None:
    found = [(w.long, w.short, round(w.factor(MONTH), 9), str(w.urgency)) for w in WINDOWS]
    assert found == [(H1, M5, 14.4, "page"), (H6, M30, 6.0, "page"), (D3, H6, 1.0, "ticket")]
    assert all(w.short == w.long / 12 for w in WINDOWS)


def test_factors_follow_the_period() -> None:
    week = [w.factor(timedelta(days=7)) for w in WINDOWS]
    assert week == pytest.approx([3.36, 1.4, 0.7 / 3])


@pytest.mark.parametrize(
    ("ratios", "kind", "urgency"),
    [
        ({H1: 0.0145, M5: 0.0145, H6: 0.003, M30: 0.01, D3: 0.0}, VerdictKind.ANOMALOUS, "page"),
        ({H1: 0.0144, M5: 0.5, H6: 0.003, M30: 0.01, D3: 0.0}, VerdictKind.NORMAL, None),  # the limit itself is allowed
        ({H1: 0.5, M5: 0.0, H6: 0.003, M30: 0.003, D3: 0.0}, VerdictKind.NORMAL, None),  # it is over
        ({H1: 0.0, M5: 0.5, H6: 0.0, M30: 0.04, D3: 0.0}, VerdictKind.NORMAL, None),  # a blip
        ({H1: 0.008, M5: 0.008, H6: 0.0061, M30: 0.0061, D3: 0.0}, VerdictKind.ANOMALOUS, "page"),
        ({H1: 0.0, M5: 0.0, H6: 0.0011, M30: 0.0, D3: 0.0011}, VerdictKind.ANOMALOUS, "ticket"),
        ({H1: 0.02, M5: math.nan}, VerdictKind.NO_DATA, None),
        ({}, VerdictKind.NO_DATA, None),
    ],
)
def test_both_windows_must_burn(ratios: dict[timedelta, float], kind: VerdictKind, urgency: str | None) -> None:
    verdict, burn = judge_burn(signal(), WINDOWS, {"service": "storefront"}, ratios, now=NOW)
    assert verdict.kind is kind
    assert (burn.window.urgency if burn else None) == urgency


def test_the_verdict_explains_itself() -> None:
    verdict, burn = judge_burn(signal(), WINDOWS, {}, {H1: 0.02, M5: 0.03}, now=NOW)
    assert verdict.reason == (
        "the error budget of 30d burns 20 times as fast as allowed over 1h and 30 times over 5m, the limit is 14.4; "
        "at this rate a whole budget lasts 36 hours"
    )
    assert (verdict.value, verdict.upper, verdict.expected) == pytest.approx((0.02, 0.0144, 0.001))
    assert verdict.score == pytest.approx(20 / 14.4, abs=1e-4)
    assert burn is not None
    alert = describe_burn(verdict, burn, signal(), Catalog(services={}))
    assert alert.labels == {
        "alertname": "ErrorBudgetBurn",
        "signal": "shop-error-ratio",
        "service": "storefront",
        "severity": "critical",
    }
    assert alert.key == verdict.id and alert.key.endswith(":slo")


def test_total_failure_fires_and_no_failure_does_not() -> None:
    everything = dict.fromkeys((M5, M30, H1, H6, D3), 1.0)
    nothing = dict.fromkeys((M5, M30, H1, H6, D3), 0.0)
    assert all(burn.is_firing for burn in burns(SLO, WINDOWS, everything))
    assert not any(burn.is_firing for burn in burns(SLO, WINDOWS, nothing))


def test_a_limit_that_no_ratio_can_pass_is_left_out() -> None:
    """With an objective of 90 %, 14.4 times the budget would be 144 % of the requests."""
    assert [w.long for w in reachable(Slo(objective=0.9, period=MONTH), WINDOWS)] == [H6, D3]
    assert [w.long for w in reachable(Slo(objective=0.999, period=timedelta(days=1)), WINDOWS)] == [H1, H6]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('rate(e{path="/a[1]"}[10s])', 'rate(e{path="/a[1]"}[1h])'),
        ("rate(e[1m30s]) / rate(t[ 1m ])", "rate(e[1h]) / rate(t[1h])"),
        ("max_over_time(rate(e[1m])[5m:10s])", "avg_over_time((max_over_time(rate(e[1m])[5m:10s]))[1h:5s])"),
        ("ratio", "avg_over_time((ratio)[1h:5s])"),
    ],
)
def test_a_query_is_asked_over_another_window(query: str, expected: str) -> None:
    assert windowed(query, H1, timedelta(seconds=5)) == expected


def test_rules_record_each_window_once_and_alert_on_each_pair() -> None:
    groups = slo_rules(signal(), WINDOWS)["groups"]
    assert [r["record"] for r in groups[0]["rules"]] == [
        f"quell:slo_errors:ratio_rate{w}" for w in ("5m", "30m", "1h", "6h", "3d")
    ]
    assert groups[1]["rules"][0]["expr"] == (
        'quell:slo_errors:ratio_rate1h{signal="shop-error-ratio"} > (14.4 * 0.001) and '
        'quell:slo_errors:ratio_rate5m{signal="shop-error-ratio"} > (14.4 * 0.001)'
    )
    assert [r["labels"]["severity"] for r in groups[1]["rules"]] == ["critical", "critical", "minor"]


def test_rules_without_an_objective_or_with_a_hopeless_one_are_refused() -> None:
    with pytest.raises(InvalidInput, match="has no slo: give it one"):
        slo_rules(signal(None), WINDOWS)
    with pytest.raises(InvalidInput, match=r"an objective of 0\.5 over 30m is too low"):
        slo_rules(signal(Slo(objective=0.5, period=timedelta(minutes=30))), WINDOWS)
