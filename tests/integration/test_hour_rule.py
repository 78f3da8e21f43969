"""A limit by hour of the week in Prometheus: the rule that promtool accepts holds the limit that the backtest used."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from quell.adapters.rules import RuleFolder, check_rules, place_file, write_rules
from quell.incidents.errors import InvalidInput
from quell.incidents.hours import HOURS, HourBand, limit_by_hour
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.limits import Limits
from quell.prevention.rule import rule_group
from quell.prevention.rule_cases import stand_in
from tasks.rule_proof import proof_cases

pytestmark = pytest.mark.integration

HOLD = timedelta(minutes=2)
SIGNAL = Signal(
    name="shop-latency", query="histogram_quantile(0.99, sum by (le, instance) (rate(x_bucket[1m])))",
    kind=SignalKind.LATENCY, direction=Direction.BOTH, unit="seconds", step=timedelta(minutes=1), service="storefront",
)  # fmt: skip
WORK = HourBand(days=(0, 1, 2, 3, 4), start=8, end=18, limit=0.5)
NIGHT = HourBand(days=(0, 1, 2, 3, 4), start=18, end=8, limit=0.2)
WEEKEND = HourBand(days=(5, 6), start=0, end=24, limit=0.1)
BY_HOUR = Limits(upper=0.5, upper_by_hour=(WORK, NIGHT, WEEKEND))
ODD_DAYS = (
    HourBand(days=(6, 0), start=22, end=3, limit=-0.25),
    HourBand(days=(6, 0), start=3, end=22, limit=7.0),
    HourBand(days=(1, 2, 3, 4, 5), start=0, end=5, limit=0.0),
    HourBand(days=(1, 2, 3, 4, 5), start=5, end=24, limit=1e-7),
)


@pytest.fixture
def folder(tmp_path: Path) -> RuleFolder:
    return RuleFolder(folder=tmp_path / "rules", prometheus="http://127.0.0.1:1")


def rules(limits: Limits, signal: Signal, hold: timedelta = HOLD) -> str:
    return write_rules(rule_group(stand_in(signal), threshold="stand-in", limits=limits, hold=hold, evidence={}))


@pytest.mark.parametrize("bands", [(WORK, NIGHT, WEEKEND), ODD_DAYS])
def test_prometheus_records_the_limit_of_every_hour_of_the_week(
    folder: RuleFolder, bands: tuple[HourBand, ...]
) -> None:
    levels = limit_by_hour(bands)
    expected = [
        {
            "expr": 'quell:limit:high{signal="shop-latency"}',
            "eval_time": f"{hour}h30m",
            "exp_samples": [
                {"labels": 'quell:limit:high{signal="shop-latency"}', "value": float(levels[(hour + 72) % HOURS])}
            ],
        }
        for hour in range(HOURS)
    ]
    tests = {
        "rule_files": ["week.rules.yml"],
        "evaluation_interval": "30m",
        "tests": [{"interval": "30m", "input_series": [], "promql_expr_test": expected}],
    }
    folder.prove("week", rules(Limits(upper=7.0, upper_by_hour=bands), SIGNAL), write_rules(tests))


def test_a_person_reads_one_line_for_each_band(tmp_path: Path) -> None:
    text = write_rules(rule_group(SIGNAL, threshold="THR-1", limits=BY_HOUR, hold=HOLD, evidence={}))
    place_file(tmp_path / "quell.yml", text)
    assert "2 rules found" in check_rules(tmp_path / "quell.yml")
    assert (
        "    expr: |-\n      vector(0.5) and (day_of_week() >= 1 <= 5) and (hour() >= 8 < 18)\n      or vector(0.2)"
        in text
    )
    alert = yaml.safe_load(text)["groups"][0]["rules"][1]
    assert alert["expr"].endswith('> on() group_left() quell:limit:high{signal="shop-latency"}')
    assert alert["annotations"]["summary"] == (
        "shop-latency is above its limit 0.5 seconds Mon-Fri 08-18, 0.2 seconds Mon-Fri 18-08, "
        "0.1 seconds Sat, Sun (UTC)"
    )


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (BY_HOUR, Limits(upper=0.5)),  # tighter at night
        (BY_HOUR, Limits(upper=0.3)),  # tighter at night, wider by day
        (BY_HOUR, Limits()),  # a side that is new
        (Limits(upper=0.5), BY_HOUR),  # back to one limit
        (Limits(lower=1e-7, lower_by_hour=ODD_DAYS, upper=9.0), Limits(upper=9.0)),
        (Limits(lower=0.01), BY_HOUR),  # a side that is given up
    ],
)
def test_the_old_rule_fails_where_the_new_one_passes(folder: RuleFolder, new: Limits, old: Limits) -> None:
    cases, tests = proof_cases(SIGNAL, new, old, HOLD, "THR-1.rules.yml")
    assert any(case.differs for case in cases)
    folder.prove("THR-1", rules(new, SIGNAL), write_rules(tests))
    assert folder.fails_on("THR-1", rules(old, SIGNAL))


@pytest.mark.parametrize(
    ("band", "wrong"),
    [(0, {"start": 9}), (0, {"end": 17}), (0, {"limit": 0.6}), (2, {"limit": 0.12})],
)
def test_a_rule_that_holds_other_hours_or_limits_fails_its_tests(
    folder: RuleFolder, band: int, wrong: dict[str, float]
) -> None:
    """The tests touch the first and the last hour of every band."""
    cases, tests = proof_cases(SIGNAL, BY_HOUR, Limits(upper=0.11), HOLD, "THR-1.rules.yml")
    assert len(cases) >= 11
    group = rule_group(stand_in(SIGNAL), threshold="stand-in", limits=BY_HOUR, hold=HOLD, evidence={})
    expr = str(group["groups"][0]["rules"][0]["expr"]).split("\n")
    for key, value in wrong.items():
        before, after = {
            "start": (">= 8", f">= {value:g}"),
            "end": ("< 18)", f"< {value:g})"),
            "limit": ("vector(0.", f"vector({value} + 0."),
        }[key]
        assert before in expr[band]
        expr[band] = expr[band].replace(before, after)
    group["groups"][0]["rules"][0]["expr"] = "\n".join(expr)
    with pytest.raises(InvalidInput, match="fails its own tests"):
        folder.prove("THR-1", write_rules(group), write_rules(tests))


def test_a_fine_step_and_a_coarse_one_are_tested_too(folder: RuleFolder) -> None:
    """Five seconds would be 120,960 evaluations of a week, an hour leaves no room for three cases in one hour."""
    for step in (timedelta(seconds=5), timedelta(minutes=15), timedelta(hours=1)):
        signal = Signal(
            name="s", query="q", kind=SignalKind.OTHER, direction=Direction.HIGH, unit="", step=step
        )  # fmt: skip
        cases, tests = proof_cases(signal, BY_HOUR, Limits(upper=0.5), 2 * step, "THR-1.rules.yml")
        assert any(case.differs for case in cases)
        folder.prove("THR-1", rules(BY_HOUR, signal, 2 * step), write_rules(tests))
        assert folder.fails_on("THR-1", rules(Limits(upper=0.5), signal, 2 * step))
