"""A limit's whole life: proposed with evidence, in shadow, approved and in force, reverted; with a real Prometheus."""

import html
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest
import yaml

from deployments.gateway import build_app, serving
from quell.adapters.rules import RuleFolder
from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Refused, Unavailable
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.ports import MetricSource, Store
from quell.prevention.rule_file import rule_diff
from tasks.resources import Resources
from tasks.shadow import watch_all, watch_of
from tasks.study_report import report_of
from tasks.thresholds import promote_threshold, recompute_of, revert_threshold
from tests.limit_life import approve, later, remember, resources_of, rules_in_force, version

pytestmark = pytest.mark.integration

STEP = timedelta(minutes=1)
BEGUN = datetime(2026, 10, 1, tzinfo=UTC)
NOW = BEGUN + timedelta(days=21)
LATENCY = Signal(
    name="latency",
    query="latency_seconds",
    kind=SignalKind.LATENCY,
    direction=Direction.HIGH,
    unit="seconds",
    step=STEP,
    service="checkout",
    history=timedelta(days=21),
)


class Latency:
    """Noise, and from NOW on a burst of ten minutes every 17 hours: ten a week."""

    is_away = False

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        if self.is_away:
            raise Unavailable("http://metrics cannot be reached: connection refused")
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = 0.2 + np.abs(np.sin(np.floor(grid / 60) * 12.9898) * 43758.5453) % 0.05
        late = grid - NOW.timestamp()
        values[(late > 0) & (late % 61_200 >= 3_600) & (late % 61_200 < 4_200)] = 0.6
        values[grid < BEGUN.timestamp()] = np.nan
        return SeriesMatrix(timestamps=grid, values=values[:, np.newaxis], labels=({"instance": "checkout-1"},))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
    yield opened
    opened.close()


@pytest.fixture
def res(store: Store, rule_prometheus: RuleFolder) -> Resources:
    """A limit of 0.9 s is in force."""
    rule = "groups: [{name: quell-latency, rules: [{alert: QuellLatencyHigh, expr: latency_seconds > 0.9}]}]\n"
    rule_prometheus.put("quell-latency.yml", rule)
    with store.writing() as tx:
        tx.next_number("THR")
        tx.thresholds.add(
            ThresholdVersion(
                id="THR-1", signal="latency", state=ThresholdState.ACTIVE, upper=0.9, lower=None,
                created_at=BEGUN, updated_at=BEGUN, rule=rule,
            )
        )  # fmt: skip
    return resources_of(store, LATENCY, Latency(), now=NOW, rules=rule_prometheus)


def whys(res: Resources, id: str) -> list[str]:
    with res.store.reading() as tx:
        return [entry.text for entry in tx.timeline.entries() if entry.subject == id]


def test_a_proposal_brings_its_evidence_and_tests_that_the_old_rule_fails(res: Resources) -> None:
    recompute_of(res)
    proposal = version(res, "THR-2")
    assert proposal.state is ThresholdState.PROPOSED and proposal.upper is not None and proposal.upper < 0.3
    assert proposal.evidence["rule tests"] == "3 cases pass on the new rule, and the old rule fails 1 of them"
    assert "no prediction: " in proposal.evidence["prediction"] and proposal.predicted["high"] < 5
    tests = yaml.safe_load(proposal.rule_tests)
    assert len(tests["tests"]) == 3
    proposed = res.config.connections.prometheus_rules.parent / "proposed"  # type: ignore[union-attr]
    assert sorted(path.name for path in (proposed / "tests").iterdir()) == [
        "THR-2-latency.yml.rules.yml", "THR-2-latency.yml.test.yml",
    ]  # fmt: skip
    assert rules_in_force(res)[0]["query"].endswith("> 0.9"), "nothing is in force before a person approves it"


def test_a_limit_in_shadow_only_records_and_shows_what_it_would_have_alerted(res: Resources) -> None:
    recompute_of(res)
    [(active, _), (shadow, _)] = watch_all(res)
    assert (active.id, shadow.id, shadow.state) == ("THR-1", "THR-2", ThresholdState.SHADOW)
    for days in (2, 2.001, 7, 14):  # watches come when they come
        watch_all(later(res, days=days))
    with res.store.reading() as tx:
        seen, old = watch_of(tx, "THR-2"), watch_of(tx, "THR-1")
    assert seen is not None and old is not None
    assert seen.count == 20 and seen.false == 20 and seen.weeks == pytest.approx(2.0, abs=0.01)
    assert old.count == 0 and rules_in_force(res)[0]["query"].endswith("> 0.9")


def test_the_change_is_a_diff_against_the_rule_in_force(res: Resources) -> None:
    """On the page, in the flow's artifact and on the command line it is the same one, and is bound to the approval."""
    studies = recompute_of(res)
    with res.store.reading() as tx:
        diff = rule_diff(tx.thresholds.get("THR-1"), version(res, "THR-2"))
    assert diff.startswith("--- a/quell-latency.yml\n+++ b/quell-latency.yml\n@@")
    removed = [line for line in diff.splitlines() if line.startswith("-") and "> 0.9" in line]
    added = [line for line in diff.splitlines() if line.startswith("+") and " > 0.2" in line]
    assert len(removed) == len(added) == 1, diff
    assert f"```diff\n{diff}```" in report_of(res, studies)
    with serving(build_app(res)) as url, httpx.Client(base_url=url, timeout=20) as client:
        page = html.unescape(client.get("/thresholds/THR-2").text)
    assert diff in page and "What approving it does to the file" in page


def test_promotion_shows_predicted_and_seen_and_one_command_brings_the_old_limit_back(res: Resources) -> None:
    recompute_of(res)
    watch_all(res)
    week = later(res, days=14)
    watch_all(week)
    with pytest.raises(Refused, match="THR-2 is not approved"):
        promote_threshold(week, "THR-2", "carol")
    approve(week, "THR-2")
    assert promote_threshold(week, "THR-2", "carol").state is ThresholdState.ACTIVE
    assert "seen 10 (20 in 2 weeks): more than predicted" in whys(res, "THR-2")[-1]
    assert (
        not rules_in_force(res)[0]["query"].endswith("> 0.9")
        and version(res, "THR-1").state is ThresholdState.SUPERSEDED
    )
    revert_threshold(week, "THR-2", "carol", "it wakes us ten times a week")
    assert rules_in_force(res)[0]["query"].endswith("> 0.9") and version(res, "THR-1").state is ThresholdState.ACTIVE


def test_the_pages_tell_who_when_and_why_and_show_predicted_beside_seen(res: Resources) -> None:
    recompute_of(res)
    watch_all(res)
    week = later(res, days=14)
    watch_all(week)
    approve(week, "THR-2")
    promote_threshold(week, "THR-2", "carol")
    revert_threshold(week, "THR-2", "dave", "it wakes us <b>ten times</b> a week")
    with serving(build_app(week)) as url, httpx.Client(base_url=url, timeout=20) as client:
        listed, one = client.get("/thresholds").text, client.get("/thresholds/THR-2").text
        assert "In force" in listed and "latency</a>: alert <strong>above 900 ms" in listed
        assert "it wakes us &lt;b&gt;ten times" in listed and "dave" in listed
        assert "alerts per week" in listed and "seen 10 (20 in 2 weeks): more than predicted" in listed
        happened = ["threshold reverted", "threshold active", "threshold shadow", "threshold proposed"]
        places = [one.index(f"<strong>{kind}</strong>") for kind in happened]
        assert places == sorted(places), "the newest comes first"
        assert "the old rule fails 1 of them" in one and "promtool test rules" in one
        assert "20 of them outside of incidents" in one and "instance" in one
        picture = client.get("/thresholds/THR-2/chart.svg")
        assert picture.headers["content-type"] == "image/svg+xml" and picture.text.count("qc-limit") >= 2
        assert client.get("/thresholds?signal=nothing").text.count("THR-") == 0
        missing = client.get("/thresholds/THR-99")
        assert missing.status_code == 404 and "THR-99" in missing.text


def test_a_metric_server_that_is_away_is_caught_up_with(res: Resources) -> None:
    recompute_of(res)
    watch_all(res)
    away = Latency()
    away.is_away = True
    assert watch_all(replace(later(res, days=3), metrics=cast(MetricSource, away))) == []
    watch_all(later(res, days=7))
    with res.store.reading() as tx:
        seen = watch_of(tx, "THR-2")
    assert seen is not None and seen.count == 10


def test_an_incident_that_only_the_new_limit_catches_is_named_in_the_evidence(res: Resources) -> None:
    onset = NOW + timedelta(hours=1)  # the first burst
    remember(res, [onset], lasting=timedelta(minutes=10))
    recompute_of(later(res, hours=12))
    evidence = version(res, "THR-2").evidence
    assert "INC-1 after 120 s (not today)" in evidence["catches"]
    assert "catches 1 of 1 incidents (3% to 100%)" in evidence["new limit"]
    assert "catches 0 of 1 incidents (0% to 98%)" in evidence["old limit"]
