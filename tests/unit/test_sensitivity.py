"""The limit on the detector's score: learned from labels, pooled as far as they bear it, inside the budget."""

from datetime import timedelta

import numpy as np
import pytest

from quell.incidents.series import FloatArray
from quell.prevention.sensitivity import LEVELS, LabelledScores, f1_of, learn_sensitivity, stretches, tally

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)
DAY = 1440


def history(
    rows: int, *, seed: int, incident: float, noise: float, every: int = 300, name: str = "s"
) -> LabelledScores:
    """Incidents of 20 rows at one score, and calm rows that reach up to another one."""
    random = np.random.default_rng(seed)
    score, is_trouble = random.random(rows) * noise, np.zeros(rows, dtype=np.bool_)
    for start in range(every // 2, rows - 20, every):
        score[start : start + 20], is_trouble[start : start + 20] = incident, True
    return LabelledScores(name=name, step=MINUTE, score=score, is_trouble=is_trouble)


def counted(one: LabelledScores, limit: float, delay: int) -> tuple[int, int, int, int]:
    """The same counts, row by row."""
    flagged, found = one.score >= limit, 0
    for start, end in stretches(one.is_trouble):
        found += (end - start) * bool(flagged[start : start + delay + 1][: end - start].any())
    false = flagged & ~one.is_trouble
    return found, int(false.sum()), int(one.is_trouble.sum()), len(stretches(false))


@pytest.mark.parametrize("delay", [0, 7])
def test_counts_at_every_level_are_those_of_a_plain_count(delay: int) -> None:
    random = np.random.default_rng(5)
    labels = np.repeat(random.random(200) < 0.2, 10)
    one = LabelledScores(name="s", step=MINUTE, score=random.random(2000), is_trouble=labels)
    table = tally(one, delay)
    for place in range(0, len(LEVELS), 20):
        assert tuple(table[:, place]) == counted(one, float(LEVELS[place]), delay)


def test_a_limit_lies_between_the_calm_rows_and_the_incidents_and_as_low_as_that_allows() -> None:
    """Of limits that are as good as each other the lowest one catches earliest."""
    learned = learn_sensitivity([history(10 * DAY, seed=1, incident=0.9, noise=0.4)])
    (limit,) = learned.limits
    assert 0.4 < limit < 0.43 and learned.incidents == 48


def test_an_incident_that_shows_too_late_is_a_missed_one() -> None:
    score, labels = np.full(500, 0.1), np.zeros(500, dtype=np.bool_)
    labels[100:130] = True
    score[108:130] = 0.9
    late = LabelledScores(name="s", step=MINUTE, score=score, is_trouble=labels)
    at = int(np.searchsorted(LEVELS, 0.5))
    assert tally(late, 7)[0, at] == 0 and tally(late, 8)[0, at] == 30


def test_too_few_incidents_give_no_limit_and_the_reason() -> None:
    learned = learn_sensitivity([history(1000, seed=1, incident=0.9, noise=0.4)])
    assert learned.limits == () and "hold 3 incidents, learning needs 5" in learned.reason


def test_histories_that_agree_are_pooled_and_help_one_without_incidents() -> None:
    alike = [history(5 * DAY, seed=n, incident=0.9, noise=0.4) for n in range(4)]
    silent = LabelledScores(
        name="t", step=MINUTE, score=alike[0].score * 0.5, is_trouble=np.zeros(5 * DAY, dtype=np.bool_)
    )
    learned = learn_sensitivity([*alike, silent])
    assert np.isinf(learned.share) and len(set(learned.limits)) == 1


def test_histories_that_differ_keep_limits_of_their_own() -> None:
    """One limit for all would drown the low incidents, or flag the noise of the others all day."""
    low = [history(5 * DAY, seed=n, incident=0.25, noise=0.2) for n in range(4)]
    high = [history(5 * DAY, seed=n, incident=0.9, noise=0.7) for n in range(4)]
    learned = learn_sensitivity([*low, *high])
    assert max(learned.limits[:4]) <= 0.25 and min(learned.limits[4:]) > 0.6
    assert learned.f1 is not None and learned.f1 > 0.95


def test_a_budget_of_false_alarms_raises_the_limit() -> None:
    """Flagging the noise finds more rows of trouble here, but wakes people every hour."""
    random = np.random.default_rng(2)
    one = history(14 * DAY, seed=2, incident=0.3, noise=0.2)
    noisy: FloatArray = one.score.copy()
    noisy[random.choice(14 * DAY, 300, replace=False)] = 0.4  # false, and above the incidents
    noisy = np.where(one.is_trouble, 0.3, noisy)
    noisy[one.is_trouble & (np.arange(14 * DAY) % 600 < 300)] = 0.6  # every other incident is plain
    both = LabelledScores(name="s", step=MINUTE, score=noisy, is_trouble=one.is_trouble)
    free, bound = learn_sensitivity([both]), learn_sensitivity([both], alarms_per_week=1.0)
    assert free.limits[0] < 0.31 and 0.4 < bound.limits[0] < 0.6
    place = int(np.searchsorted(LEVELS, bound.limits[0]))
    assert tally(both)[3, place] <= 2.0


def test_f1_of_nothing_is_nothing() -> None:
    assert f1_of(np.zeros((4, 3))).tolist() == [0.0, 0.0, 0.0]
