"""Burn-rate alerts recomputed: proposed with proof, in shadow, in force for sweep and Prometheus, reverted."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from quell.adapters.rules import RuleFolder
from quell.adapters.store.sql import SqlStore
from quell.config.burn_windows import burn_windows
from quell.incidents.errors import InvalidInput
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.slo import Slo
from quell.incidents.threshold import ThresholdState
from quell.incidents.verdict import VerdictKind
from quell.ports import MetricSource, Store
from tasks.burn import recompute_burns, study_burns
from tasks.burn_proof import prove_burn
from tasks.resources import Resources
from tasks.shadow import watch_all, watch_of
from tasks.slo import judge_slo, windows_in_force
from tasks.thresholds import promote_threshold, revert_threshold
from tests.limit_life import approve, later, remember, resources_of, rules_in_force, version

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BEGUN = NOW - timedelta(days=28)
STEP = timedelta(minutes=1)
LATE = timedelta(days=20)  # of the clock of the shadow
SLO = Slo(objective=0.999, period=timedelta(days=30))
ERRORS = Signal(
    name="shop-errors",
    query='sum(rate(requests_total{code="500"}[1m])) / sum(rate(requests_total[1m]))',
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=STEP,
    service="shop",
    slo=SLO,
)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
INCIDENTS = [BEGUN + timedelta(days=day, hours=3) for day in (5, 12, 19, 24)]
SLOW = timedelta(hours=8)


class Ratios:
    """1 % of errors for eight hours in each incident, and again two days from NOW on; the mean over any window."""

    def __init__(self) -> None:
        self._start = BEGUN.timestamp()
        minutes = np.arange(self._start, (NOW + LATE).timestamp(), 60.0)
        errors = np.random.default_rng(2).uniform(0.0, 0.0004, len(minutes))
        for onset in (*INCIDENTS, NOW + timedelta(days=2)):
            first = round((onset.timestamp() - self._start) / 60)
            errors[first : first + 480] = 0.01
        self._sums = np.append(0.0, np.cumsum(errors))

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        return SeriesMatrix(
            timestamps=grid, values=self._means(query, grid)[:, np.newaxis], labels=({"service": "shop"},)
        )

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert at is not None
        return self.range(query, start=at, end=at, step=STEP)

    def _means(self, query: str, grid: np.ndarray) -> np.ndarray:
        found = re.search(r"\[(\d+)([smhd])\]", query)
        assert found is not None
        span = int(found[1]) * UNITS[found[2]]
        last = np.floor((grid - self._start) / 60).astype(int)
        first = np.maximum(last - max(1, span // 60), 0)
        known = last > 0
        sums = self._sums[np.clip(last, 0, len(self._sums) - 1)] - self._sums[np.clip(first, 0, len(self._sums) - 1)]
        return np.where(known, sums / np.maximum(last - first, 1), np.nan)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
    yield opened
    opened.close()


@pytest.fixture
def res(store: Store, rule_prometheus: RuleFolder) -> Resources:
    made = resources_of(store, ERRORS, Ratios(), now=NOW, rules=rule_prometheus)
    remember(made, INCIDENTS, lasting=SLOW)
    return made


def in_force(res: Resources) -> list[str]:
    return [rule["query"] for rule in rules_in_force(res) if rule["type"] == "alerting"]


def test_windows_that_catch_past_incidents_earlier_are_proposed_with_proof(res: Resources) -> None:
    assert recompute_burns(res) == ["THR-1"]
    proposal = version(res, "THR-1")
    assert proposal.state is ThresholdState.PROPOSED and proposal.signal == "shop-errors:burn"
    assert len(proposal.burn) == 3 and proposal.burn != burn_windows()
    assert "catches 4 of 4 incidents" in proposal.evidence["old limit"]
    assert "false alarms 0 per week" in proposal.evidence["new limit"]
    assert proposal.evidence["catches"].count("earlier than today") == 4
    assert re.match(r"1[2-5] cases pass on the new rule, and the old rule fails [1-9]", proposal.evidence["rule tests"])
    assert in_force(res) == [], "nothing is in force before a person approves it"
    assert recompute_burns(res) == [], "the same is not proposed again"


def test_in_shadow_it_records_and_in_force_the_sweep_and_prometheus_judge_by_it(res: Resources) -> None:
    recompute_burns(res)
    for days in (0.0, 1.0, 2.01, 2.5, 3.0, 7.5):
        [(shadow, _)] = watch_all(later(res, days=days))
    assert shadow.state is ThresholdState.SHADOW
    with res.store.reading() as tx:
        seen = watch_of(tx, "THR-1")
    assert seen is not None and seen.count == seen.false == 1 and seen.weeks == pytest.approx(7.5 / 7, rel=0.01)

    early = NOW + timedelta(days=2, minutes=25)
    assert [v.kind for v in judge_slo(later(res, days=2), ERRORS, SLO, early)[0]] == [VerdictKind.NORMAL]
    approve(res, "THR-1")
    promote_threshold(res, "THR-1", "carol")
    assert windows_in_force(res, ERRORS) == version(res, "THR-1").burn
    assert [v.kind for v in judge_slo(later(res, days=2), ERRORS, SLO, early)[0]] == [VerdictKind.ANOMALOUS]
    assert len(in_force(res)) == 3 and all("quell:slo_errors:ratio_rate" in query for query in in_force(res))
    assert study_burns(res, ERRORS) is not None and recompute_burns(res) == [], "it found what is in force"

    revert_threshold(res, "THR-1", "carol", "too eager")
    assert windows_in_force(res, ERRORS) == burn_windows() and in_force(res) == []


def test_a_refused_proposal_leaves_no_file(res: Resources) -> None:
    recompute_burns(res)
    folder = res.config.connections.prometheus_rules.parent / "proposed"  # type: ignore[union-attr]
    assert [path.name for path in folder.glob("*.yml")] == ["THR-1-shop-errors.burn.yml"]
    revert_threshold(res, "THR-1", "carol", "not now")
    assert list(folder.glob("*.yml")) == [] and list((folder / "tests").iterdir()) == []


def test_a_rule_with_another_factor_fails_the_tests(res: Resources, rule_prometheus: RuleFolder) -> None:
    """The proof is of the factor: 13 in place of 14.4 is found out."""
    new = burn_windows()
    wrong = (replace(new[0], budget_share=0.018), *new[1:])
    proof = prove_burn(rule_prometheus, "THR-9", ERRORS, new, wrong)
    assert proof.said.endswith("and the old rule fails 1 of them")
    silent = (replace(new[0], budget_share=0.03), *new[1:])
    assert prove_burn(rule_prometheus, "THR-9", ERRORS, new, silent).said.endswith("the old rule fails 1 of them")
    assert "old rule" not in prove_burn(rule_prometheus, "THR-9", ERRORS, new, new).said


def test_signals_without_an_slo_or_without_history_are_left(res: Resources) -> None:
    assert study_burns(res, replace(ERRORS, slo=None)) is None

    class Gone:
        def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
            raise InvalidInput("parse error")

    assert recompute_burns(replace(res, metrics=cast(MetricSource, Gone()))) == []
