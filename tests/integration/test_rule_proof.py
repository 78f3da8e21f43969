"""Tests of a proposed rule, by the real promtool: the new rule passes, the old one fails where that is the point."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from quell.adapters.rules import RuleFolder, write_rules
from quell.incidents.errors import InvalidInput
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.limits import Limits
from quell.prevention.rule import rule_group
from quell.prevention.rule_cases import rule_cases, rule_tests, stand_in

pytestmark = pytest.mark.integration

SIGNAL = Signal(
    name="shop-latency",
    query='histogram_quantile(0.99, sum by (le) (rate(x_bucket{code="5xx"}[1m])))',
    kind=SignalKind.LATENCY,
    direction=Direction.BOTH,
    unit="seconds",
    step=timedelta(seconds=15),
    service="storefront",
)
HOLD = timedelta(seconds=30)


def rules(limits: Limits, hold: timedelta = HOLD) -> str:
    group = rule_group(stand_in(SIGNAL), threshold="stand-in", limits=limits, hold=hold, evidence={})
    return write_rules(group)


@pytest.fixture
def folder(tmp_path: Path) -> RuleFolder:
    return RuleFolder(folder=tmp_path / "rules", prometheus="http://127.0.0.1:1")


def proven(folder: RuleFolder, new: Limits, old: Limits | None, *, hold: timedelta = HOLD) -> bool:
    """Whether the old rule fails the tests that the new one passes."""
    cases = rule_cases(SIGNAL, new, old, hold)
    folder.prove("THR-1", rules(new, hold), write_rules(rule_tests(SIGNAL, cases, "THR-1.rules.yml")))
    return folder.fails_on("THR-1", rules(old or Limits(), hold))


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (Limits(upper=0.5), Limits(upper=0.9)),  # tighter
        (Limits(upper=0.9), Limits(upper=0.5)),  # wider
        (Limits(upper=0.9), Limits()),  # a side that is new
        (Limits(lower=2.0), Limits(lower=1.0)),
        (Limits(lower=1.0), Limits(lower=2.0)),
        (Limits(upper=-3.0), Limits(upper=-1.0)),
        (Limits(upper=0.0), Limits(upper=7.0)),
        (Limits(lower=1.0, upper=9.0), Limits(upper=8.0)),
        (Limits(upper=9.0), Limits(lower=1.0, upper=9.0)),  # a side that is given up
    ],
)
@pytest.mark.parametrize("hold", [timedelta(0), HOLD])
def test_the_old_rule_fails_where_the_new_one_passes(
    folder: RuleFolder, new: Limits, old: Limits, hold: timedelta
) -> None:
    assert any(case.differs for case in rule_cases(SIGNAL, new, old, hold))
    assert proven(folder, new, old, hold=hold)


def test_limits_that_are_the_same_have_no_case_that_differs(folder: RuleFolder) -> None:
    same = Limits(lower=1.0, upper=2.0)
    assert not any(case.differs for case in rule_cases(SIGNAL, same, same, HOLD))
    assert not proven(folder, same, same)


def test_a_rule_that_waits_too_long_or_not_at_all_fails_its_own_tests(folder: RuleFolder) -> None:
    """A limit that is right is not enough: the alert must need its holding time."""
    cases = rule_cases(SIGNAL, Limits(upper=0.5), None, HOLD)
    tests = write_rules(rule_tests(SIGNAL, cases, "THR-1.rules.yml"))
    with pytest.raises(InvalidInput, match="THR-1 fails its own tests"):
        folder.prove("THR-1", rules(Limits(upper=0.5), timedelta(seconds=45)), tests)
    with pytest.raises(InvalidInput, match="fails its own tests"):
        folder.prove("THR-1", rules(Limits(upper=0.5), timedelta(0)), tests)


def test_the_tests_stay_beside_the_proposal_until_it_is_decided(folder: RuleFolder) -> None:
    proven(folder, Limits(upper=0.5), Limits(upper=0.9))
    tests = yaml.safe_load((folder.proposed / "tests" / "THR-1.test.yml").read_text())
    assert [test["name"] for test in tests["tests"]] == [
        "high: beyond the new limit it fires", "high: inside it stays silent", "high: a shorter breach stays silent",
    ]  # fmt: skip
    folder.forget("THR-1")
    assert list((folder.proposed / "tests").iterdir()) == []
