"""A limit by hour of the week from proposal to force: stored with its bands, proven, in shadow, loaded, reverted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quell.adapters.rules import RuleFolder
from quell.adapters.store.sql import SqlStore
from quell.incidents.hours import hours_of_week
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.threshold import ThresholdState
from quell.ports import Store
from quell.prevention.limits import limits_in_words, limits_of
from tasks.resources import Resources
from tasks.shadow import watch_all, watch_markdown, watch_of
from tasks.thresholds import promote_threshold, recompute_of, revert_threshold
from tests.limit_life import approve, later, remember, resources_of, rules_in_force, version

pytestmark = pytest.mark.integration

STEP = timedelta(minutes=5)
BEGUN = datetime(2026, 9, 7, tzinfo=UTC)  # a Monday
NOW = BEGUN + timedelta(weeks=8)
NIGHTS = [BEGUN + timedelta(weeks=week, days=day, hours=3) for week in range(8) for day in (1, 3)]
LASTS = timedelta(minutes=40)
SIGNAL = Signal(
    name="queue", query="queue_length", kind=SignalKind.OTHER, direction=Direction.HIGH, unit="none", step=STEP,
    service="shop", history=timedelta(weeks=8),
)  # fmt: skip


class Queue:
    """10 at night and 40 in working hours; 25 for 40 minutes in each incident, and in the second night from NOW on."""

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        hour = hours_of_week(grid)
        busy = (hour < 120) & (hour % 24 >= 8) & (hour % 24 < 18)
        values = 10.0 + 30.0 * busy + np.abs(np.sin(np.floor(grid / 300) * 12.9898) * 43758.5453) % 1.0
        for onset in (*NIGHTS, NOW + timedelta(days=1, hours=3)):
            values[(grid >= onset.timestamp()) & (grid < (onset + LASTS).timestamp())] = 25.0
        values[grid < BEGUN.timestamp()] = np.nan
        return SeriesMatrix(timestamps=grid, values=values[:, np.newaxis], labels=({"instance": "shop-1"},))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
    yield opened
    opened.close()


@pytest.fixture
def res(store: Store, rule_prometheus: RuleFolder) -> Resources:
    made = resources_of(store, SIGNAL, Queue(), now=NOW, rules=rule_prometheus)
    remember(made, NIGHTS, lasting=LASTS)
    return made


def test_a_limit_by_hour_lives_like_any_other(res: Resources) -> None:
    recompute_of(res)
    proposal = version(res, "THR-1")
    assert [band.when for band in proposal.upper_by_hour] == ["Mon-Fri 08-18", "Mon-Fri 18-08", "Sat, Sun"]
    assert proposal.upper is not None and 40.0 < proposal.upper < 45.0
    assert "catches 16 of 16 incidents" in proposal.evidence["new limit"]
    assert "8 of 8 incidents are caught earlier" in proposal.evidence["basis"]
    assert "cases pass on the new rule" in proposal.evidence["rule tests"]
    night = proposal.upper_at(NOW + timedelta(hours=3))
    assert night is not None and night < 15.0 and proposal.upper_at(NOW + timedelta(hours=9)) == proposal.upper

    for days in (0.0, 0.5, 1.13, 2.0):
        watched = watch_all(later(res, days=days))
    with res.store.reading() as tx:
        seen = watch_of(tx, "THR-1")
    assert seen is not None and seen.count == seen.false == 1
    assert limits_in_words("none", limits_of(proposal)) in watch_markdown(res, watched)

    approve(res, "THR-1")
    promote_threshold(res, "THR-1", "carol")
    assert [rule["type"] for rule in rules_in_force(res)] == ["recording", "alerting"]
    recompute_of(res)
    with res.store.reading() as tx:
        assert [v.id for v in tx.thresholds.find()] == ["THR-1"], "what is in force is not proposed again"
    assert revert_threshold(res, "THR-1", "carol", "too eager").state is ThresholdState.REVERTED
