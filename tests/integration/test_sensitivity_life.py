"""A limit on the detector's score: learned from incidents, approved like any other, and baselines are fitted for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quell.adapters.store.sql import SqlStore
from quell.detection.calibration import expected_alarms_per_week
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.threshold import ThresholdState
from quell.ports import Store
from tasks.baselines import load_baseline, refresh_signal
from tasks.resources import Resources
from tasks.sensitivity import learn_of
from tasks.shadow import watch_all, watch_markdown, watch_of
from tasks.thresholds import promote_threshold, revert_threshold
from tests.limit_life import approve, later, remember, resources_of, version

pytestmark = pytest.mark.integration

STEP = timedelta(minutes=5)
BEGUN = datetime(2026, 10, 1, tzinfo=UTC)
NOW = BEGUN + timedelta(days=21)
ONSETS = [BEGUN + timedelta(days=4 + 2 * n, hours=3 * n) for n in range(8)]
UNSEEN = NOW + timedelta(hours=26)  # trouble that comes after the limit was learned
LASTS = timedelta(minutes=40)
QUEUE = Signal(
    name="queue",
    query="queue_length",
    kind=SignalKind.OTHER,
    direction=Direction.BOTH,
    unit="jobs",
    step=STEP,
    service="checkout",
    history=timedelta(days=21),
)


class Queue:
    """Noise about a daily wave, and plain trouble in each incident."""

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        wave = 100.0 + 20.0 * np.sin(2 * np.pi * grid / 86_400)
        values = wave + 10.0 * (np.abs(np.sin(np.floor(grid / 300) * 12.9898) * 43758.5453) % 1.0)
        for onset in (*ONSETS, UNSEEN):
            values[(grid >= onset.timestamp()) & (grid < (onset + LASTS).timestamp())] += 150.0
        values[grid < BEGUN.timestamp()] = np.nan
        return SeriesMatrix(timestamps=grid, values=values[:, np.newaxis], labels=({"instance": "checkout-1"},))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert at is not None
        return self.range(query, start=at, end=at, step=STEP)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
    yield opened
    opened.close()


@pytest.fixture
def res(store: Store) -> Resources:
    """It needs no folder of rules."""
    return resources_of(store, QUEUE, Queue(), now=NOW, rules=None, samples=100)


def fitted_for(res: Resources, *, hours: int) -> float:
    refresh_signal(later(res, hours=hours), QUEUE.name)
    with res.store.reading() as tx:
        baseline = load_baseline(tx, QUEUE.name)
    assert baseline is not None
    return baseline.false_alarms_per_week


def test_too_few_incidents_propose_nothing_and_say_so(res: Resources) -> None:
    remember(res, ONSETS[:3], lasting=LASTS)
    learned, proposed = learn_of(res)
    assert proposed == [] and "hold 3 incidents, learning needs 5" in learned.reason


def test_a_learned_limit_is_proposed_with_its_replay_and_then_judges(res: Resources) -> None:
    remember(res, ONSETS, lasting=LASTS)
    learned, [id] = learn_of(res)
    proposal = version(res, id)
    assert learned.incidents == 8 and proposal.signal == "queue:score" and proposal.score is not None
    assert "catches 8 of 8 incidents" in proposal.evidence["new limit"]
    assert learn_of(res)[1] == [], "the same limit is proposed once"
    assert fitted_for(res, hours=0) == 1.0, "nothing changes before a person approves it"
    approve(res, id)
    assert promote_threshold(res, id, "carol").state is ThresholdState.ACTIVE
    assert fitted_for(res, hours=1) == pytest.approx(expected_alarms_per_week(proposal.score, step=STEP))
    assert learn_of(res)[1] == [], "what is in force is not proposed again"
    revert_threshold(res, id, "carol", "too many")
    assert fitted_for(res, hours=2) == 1.0


def test_a_proposal_on_the_score_is_watched_in_shadow_and_needs_no_prometheus(res: Resources) -> None:
    remember(res, ONSETS, lasting=LASTS)
    _, [id] = learn_of(res)
    watch_all(res)
    assert version(res, id).state is ThresholdState.SHADOW
    watch_all(replace(res, clock=lambda: UNSEEN + timedelta(hours=1)))
    with res.store.reading() as tx:
        seen = watch_of(tx, id)
    assert seen is not None and any(UNSEEN <= alarm.at < UNSEEN + LASTS for alarm in seen.alarms)
    assert seen.weeks == pytest.approx(27 / 168, rel=0.02)
    [(watched, _)] = watch_all(res)
    assert "score 0." in watch_markdown(res, [(watched, seen)])
    assert revert_threshold(res, id, "carol", "no").state is ThresholdState.REVERTED
