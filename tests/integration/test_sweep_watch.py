"""The sweep's own health in the store, the inbox and /metrics: stopped, lagging, vanished, overrun; never silent."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections, Detection, Intervals
from quell.gateway.measures import Measures
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.inbox import InboxItem
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import MetricSource, Store
from tasks.baselines import load_baseline, refresh_signal
from tasks.detection import close_sweep, judge_shard, plan_shards
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tasks.sweep_report import SweepReport, sweep_markdown
from tasks.watch import watch_sweeps

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 1, 11, 0, tzinfo=UTC)
CALM = START + timedelta(minutes=20)
GONE = CALM + timedelta(minutes=5)
STEP = timedelta(seconds=5)
INTERVAL = timedelta(seconds=30)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def signal(name: str) -> Signal:
    return Signal(
        name=name,
        query=name,
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=STEP,
        history=timedelta(hours=1),
    )


@dataclass
class Queues:
    """Two signals of three series each; `queues` loses all of them at GONE. Each question costs `costs`."""

    now: datetime = CALM
    costs: timedelta = timedelta(0)
    returns_at: datetime = NEVER
    asked: list[str] = field(default_factory=list[str])

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        self.asked.append(query)
        self.now += self.costs
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        there = grid >= START.timestamp()
        if query == "queues":
            there &= (grid < GONE.timestamp()) | (grid >= self.returns_at.timestamp())
        if not there.any():
            return SeriesMatrix(timestamps=grid, values=np.empty((len(grid), 0)), labels=())
        values = np.abs(np.sin(grid[:, None] * np.array([12.9898, 3.1, 7.7])) * 43758.5453) % 0.02
        values[~there] = np.nan
        labels = tuple({"service": "checkout", "instance": f"checkout-{n}"} for n in (1, 2, 3))
        return SeriesMatrix(timestamps=grid, values=values, labels=labels)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert at is not None
        return self.range(query, start=at, end=at, step=STEP)


def resources(store: Store, source: Queues) -> Resources:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
        intervals=Intervals(sweep=INTERVAL, stale_after=timedelta(minutes=2)),
        detection=Detection(minimum_samples=12),
        signals={name: signal(name) for name in ("errors", "queues")},
    )
    metrics = cast(MetricSource, source)
    return Resources(config=config, store=store, metrics=metrics, actuators={}, clock=lambda: source.now)


@pytest.fixture
def source() -> Queues:
    return Queues()


@pytest.fixture
def res(source: Queues) -> Resources:
    made = resources(MemoryStore(), source)
    for name in made.config.signals:
        assert refresh_signal(made, name).ready == 3
    return made


def sweep(res: Resources, source: Queues, moment: datetime) -> SweepReport:
    source.now = moment
    shards = [judge_shard(res, shard, moment) for shard in plan_shards(res, moment)]
    return close_sweep(res, moment, shards, seconds=0.2)


def inbox(res: Resources) -> list[InboxItem]:
    with res.store.reading() as tx:
        return tx.inbox.find()


def told(res: Resources) -> list[tuple[str, str]]:
    return [(i.payload["labels"]["alertname"], i.id.rsplit(":", 1)[1]) for i in inbox(res)]


def watch_at(res: Resources, source: Queues, moment: datetime, since: datetime = START) -> str | None:
    source.now = moment
    return watch_sweeps(res, since=since)


def test_stopped_sweeps_open_an_incident_once_and_their_return_resolves_the_alert(
    res: Resources, source: Queues
) -> None:
    sweep(res, source, CALM)
    assert watch_at(res, source, CALM + 3 * INTERVAL) is None
    for second in (91, 96, 101):
        reason = watch_at(res, source, CALM + timedelta(seconds=second))
    assert reason is not None and reason.startswith("no sweep has finished for 101 s, one is due every 30 s")
    assert told(res) == [("SweepsStopped", "firing")]
    assert drain_inbox(res) == ["INC-1"]
    with res.store.reading() as tx:
        incident = tx.incidents.get("INC-1")
    assert incident is not None and incident.service == "quell"

    back = CALM + timedelta(seconds=120)
    sweep(res, source, back)
    assert watch_at(res, source, back + timedelta(seconds=5)) is None
    assert told(res) == [("SweepsStopped", "firing")]
    assert watch_at(res, source, back + timedelta(seconds=10)) is None
    assert told(res) == [("SweepsStopped", "firing"), ("SweepsStopped", "resolved")]


def test_two_watchers_raise_one_alert(res: Resources, source: Queues) -> None:
    sweep(res, source, CALM)
    late = CALM + timedelta(minutes=5)
    for _ in range(2):
        watch_at(res, source, late)
    assert told(res) == [("SweepsStopped", "firing")]


def test_a_healthy_watch_writes_nothing(res: Resources, source: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(res, source, CALM)

    def writing() -> Any:
        raise AssertionError("the watch wrote")

    monkeypatch.setattr(res.store, "writing", writing)
    assert watch_at(res, source, CALM + INTERVAL) is None


def test_a_signal_that_vanishes_is_one_alert_in_the_artifact_and_never_forgotten(
    res: Resources, source: Queues
) -> None:
    report = sweep(res, source, GONE + timedelta(minutes=6))
    assert report.vanished == {"queues": 3}
    assert report.kinds["queues"] == {"no_data": 3}
    assert told(res) == [("SignalVanished", "firing")]
    assert "### Vanished" in sweep_markdown(report, {}) and "| queues | 3 |" in sweep_markdown(report, {})

    source.now = GONE + timedelta(days=2)  # a fit on nothing must not make it unknown
    assert refresh_signal(res, "queues").series == 3
    assert sweep(res, source, GONE + timedelta(days=2)).vanished == {"queues": 3}
    with res.store.reading() as tx:
        kept = load_baseline(tx, "queues")
    assert kept is not None and len(kept.labels) == 3

    source.returns_at = GONE + timedelta(days=2, minutes=1)
    for minute in (4, 5):
        sweep(res, source, GONE + timedelta(days=2, minutes=minute))
    assert told(res) == [("SignalVanished", "firing"), ("SignalVanished", "resolved")]


def test_a_sweep_that_cannot_ask_does_not_call_a_vanished_signal_back(res: Resources, source: Queues) -> None:
    sweep(res, source, GONE + timedelta(minutes=6))

    def away(query: str, **_: object) -> SeriesMatrix:
        raise Unavailable("prometheus cannot be reached")

    blind = replace(res, metrics=cast(MetricSource, type("Away", (), {"range": staticmethod(away)})()))
    for minute in (7, 8, 9):
        with pytest.raises(Unavailable):
            sweep(blind, source, GONE + timedelta(minutes=minute))
    assert ("SignalVanished", "resolved") not in told(res)


def test_a_sweep_that_overruns_leaves_the_rest_and_says_so(res: Resources, source: Queues) -> None:
    source.costs = timedelta(seconds=100)
    source.asked.clear()
    with pytest.raises(QuellError, match="left to the next sweep: the signals before it took 100 s, 90 s are allowed"):
        sweep(res, source, CALM)
    assert len(source.asked) == 1


def test_half_an_answer_is_judged_and_said_to_be_half(res: Resources, source: Queues) -> None:
    class Half(Queues):
        def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
            found = super().range(query, start=start, end=end, step=step)
            return replace(found, warnings=("store eu-1 did not answer",)) if query == "queues" else found

    half = replace(res, metrics=cast(MetricSource, Half(now=CALM)))
    report = sweep(half, source, CALM)
    assert report.partial == {"queues": "store eu-1 did not answer"}
    assert "### Answered in part" in sweep_markdown(report, {})
    assert "| queues | store eu-1 did not answer |" in sweep_markdown(report, {})
    assert values(res.store, res.clock)["quell_sweep_signals_partial"] == 1


def values(store: Store, clock: Callable[[], datetime]) -> dict[str, float]:
    text = generate_latest(Measures(store, clock).registry).decode()
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_of_the_sweep(res: Resources, source: Queues) -> None:
    before = values(res.store, res.clock)
    assert "quell_sweep_age_seconds" not in before  # unknown is not zero
    moment = GONE + timedelta(minutes=6)
    sweep(res, source, moment)
    found = values(res.store, lambda: moment + timedelta(seconds=42))
    assert found["quell_sweep_age_seconds"] == 42
    assert found["quell_sweep_lag_seconds"] == 0
    assert found["quell_sweep_duration_seconds"] == 0.2
    assert found["quell_sweep_series"] == 6
    assert (found["quell_sweep_verdicts/no_data"], found["quell_sweep_verdicts/anomalous"]) == (3, 0)
    assert found["quell_sweep_signals_vanished"] == 1
    assert found["quell_sweep_signals_failed"] == 0
    assert found["quell_sweep_signals_partial"] == 0
    assert {name for name in found if name.startswith("quell_sweep_stage")} == {
        f"quell_sweep_stage_seconds/{stage}" for stage in ("query", "load", "judge", "store")
    }


def test_the_artifact_tells_values_and_bands_in_the_signals_unit() -> None:
    """A band "up to 0.05" stood beside an alert that said 27 %."""
    bad = Verdict(
        id="v1", signal="errors", labels={"instance": "checkout-2"}, at=CALM, kind=VerdictKind.ANOMALOUS,
        value=0.2678, expected=0.0, lower=None, upper=0.05, score=1.0, samples=60, reason="it is high",
    )  # fmt: skip
    report = SweepReport(at=CALM, seconds=0.1, kinds={"errors": {"anomalous": 1}}, troubles=[bad], errors={})
    assert "| errors | checkout-2 | anomalous | 26.78 % | up to 5 % |" in sweep_markdown(report, {"errors": "ratio"})
