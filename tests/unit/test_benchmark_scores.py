"""The two scoring rules on small made-up data, against the values of the benchmarks' reference scorers."""

import numpy as np
import pytest

from benchmarks.delay_score import LabelledSeries, best_f1, mean_of_own_best, score_at, without_largest
from benchmarks.nab_score import PROFILES, ScoredFile, lost_by_file, rank

pytestmark = pytest.mark.unit

WINDOW = ((40.0, 49.0),)


def hundred_rows(key: str, flags: dict[int, float]) -> ScoredFile:
    """100 rows, so that 15 are probation; one window over the rows 40 to 49."""
    score = np.zeros(100)
    for row, value in flags.items():
        score[row] = value
    return ScoredFile(key=key, timestamps=np.arange(100.0), windows=WINDOW, score=score)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([{40: 1.0}], (100.0, 100.0, 100.0)),
        ([{10: 1.0, 20: 0.9, 45: 0.9}, {}], (43.7448142, 40.9948142, 45.8298761)),
        ([{40: 1.0, 52: 1.0, 80: 1.0}], (90.7475602, 81.4951203, 93.8317068)),
    ],
    ids=[
        "the left edge is perfect",
        "probation is free, a missed window costs",
        "just after costs less than far after",
    ],
)
def test_nab_pays_early_flags_and_charges_false_ones(
    flags: list[dict[int, float]], expected: tuple[float, float, float]
) -> None:
    ranking = rank([hundred_rows(str(place), one) for place, one in enumerate(flags)])
    assert tuple(ranking.score(profile).score for profile in PROFILES.values()) == pytest.approx(expected)


def test_nab_above_every_score_is_a_detector_that_never_flags() -> None:
    ranking = rank([hundred_rows("a", {40: 1.0})])
    assert [ranking.score(profile, 2.0).score for profile in PROFILES.values()] == pytest.approx([0.0, 0.0, 0.0])


def made_up_files() -> list[ScoredFile]:
    random, files = np.random.default_rng(7), []
    for key, rows, windows in (
        ("a", 400, ((100, 139), (300, 320))),
        ("b", 6000, ((900, 1000), (5000, 5100))),
        ("c", 200, ()),
    ):
        score = np.round(random.random(rows) ** 4, 2)
        for first, last in windows:
            score[(first + last) // 2] = 0.97
        spans = tuple((float(first), float(last)) for first, last in windows)
        files.append(ScoredFile(key=key, timestamps=np.arange(float(rows)), windows=spans, score=score))
    return files


@pytest.mark.parametrize(
    ("threshold", "expected", "rows"),
    [
        (None, (34.527697134671, 0.0, 56.35179808978068), (7, 44)),
        (0.5, (-1143.954811368631, -2386.1898737491274, -729.3032075790874), (42, 914)),
        (0.9, (-94.41509966871841, -283.825759252653, -29.61006644581228), (11, 139)),
    ],
)
def test_nab_agrees_with_the_reference_on_noise(
    threshold: float | None, expected: tuple[float, float, float], rows: tuple[int, int]
) -> None:
    found = [rank(made_up_files()).score(profile, threshold) for profile in PROFILES.values()]
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-9)
    assert (found[0].rows_inside, found[0].rows_outside) == rows and found[0].windows_hit == 4


def test_points_lost_by_file_add_up_to_the_score() -> None:
    files = made_up_files()
    lost = sum(one[1] for one in lost_by_file(files, 0.9))
    standard = rank(files).score(PROFILES["standard"], 0.9).score
    assert 100.0 * (2 * 4 - lost) / (2 * 4) == pytest.approx(standard)


def test_nab_refuses_a_window_without_rows() -> None:
    late = ScoredFile(key="late", timestamps=np.arange(5.0), windows=((7.0, 9.0),), score=np.zeros(5))
    with pytest.raises(ValueError, match="late: window 0 holds no row"):
        rank([late])


def minutes(name: str, rows: int, labelled: set[int], flags: dict[int, float]) -> LabelledSeries:
    score = np.zeros(rows)
    for row, value in flags.items():
        score[row] = value
    labels = np.isin(np.arange(rows), sorted(labelled))
    return LabelledSeries(name=name, step_seconds=60.0, labels=labels, score=score)


@pytest.fixture
def two_series() -> list[LabelledSeries]:
    """Labels on the rows 5 to 9 and 15 to 16 of a, none in b."""
    return [
        minutes("a", 20, {5, 6, 7, 8, 9, 15, 16}, {2: 0.9, 6: 0.8, 15: 0.5, 17: 0.5}),
        minutes("b", 10, set(), {3: 0.85, 4: 0.85, 7: 0.85}),
    ]


def test_a_segment_caught_in_time_counts_whole(two_series: list[LabelledSeries]) -> None:
    assert best_f1(two_series, 1) == pytest.approx((14 / 19, 0.5))
    best = score_at(two_series, 0.5, 1)
    assert (best.precision, best.recall, best.mean_delay_rows) == pytest.approx((7 / 12, 1.0, 0.5))
    assert (best.segments_hit, best.false_rows, best.false_episodes) == (2, 5, 4)
    assert best.false_episodes_per_series_week == pytest.approx(1344.0)
    assert mean_of_own_best(two_series, 1) == pytest.approx(0.875)


def test_a_segment_caught_too_late_is_missed_whole(two_series: list[LabelledSeries]) -> None:
    late = score_at(two_series, 0.8, 0)
    assert (late.f1, late.segments_hit, late.mean_delay_rows) == (0.0, 0, None)
    assert best_f1(two_series, 0) == pytest.approx((14 / 37, 0.0))


def test_nothing_labelled_has_no_f1(two_series: list[LabelledSeries]) -> None:
    found = score_at(two_series[1:], 0.85)
    assert (found.f1, found.precision, found.false_episodes) == (None, 0.0, 2)
    assert best_f1(two_series[1:]) is None and mean_of_own_best(two_series[1:]) is None


def test_the_largest_segments_can_be_left_out(two_series: list[LabelledSeries]) -> None:
    rest = without_largest(two_series, 1)
    assert [len(one.labels) for one in rest] == [15, 10]
    assert score_at(rest, 0.5, 1).segments == 1 and score_at(rest, 0.5, 1).false_rows == 5


def noisy_series() -> list[LabelledSeries]:
    random, series = np.random.default_rng(11), []
    for name, rows, step in (("a", 500, 60.0), ("b", 300, 300.0), ("c", 100, 60.0)):
        labels = np.zeros(rows, dtype=np.bool_)
        for _ in range(0 if name == "c" else 6):
            start = int(random.integers(0, rows - 30))
            labels[start : start + int(random.integers(1, 25))] = True
        score = np.round(np.clip(random.random(rows) ** 3 + 0.25 * labels * random.random(rows), 0, 1), 2)
        series.append(LabelledSeries(name=name, step_seconds=step, labels=labels, score=score))
    return series


@pytest.mark.parametrize(
    ("delay", "best", "own", "at_08"),
    [
        (7, (0.6666666666666666, 0.8), 0.7336496802145658, (0.6666666666666666, 9, 54, 52, 2.111111111111111)),
        (2, (0.5020408163265306, 0.33), 0.571078431372549, (0.35807860262008734, 5, 54, 52, 0.6)),
    ],
)
def test_delay_f1_agrees_with_the_reference_on_noise(
    delay: int, best: tuple[float, float], own: float, at_08: tuple[float, int, int, int, float]
) -> None:
    series = noisy_series()
    assert best_f1(series, delay) == pytest.approx(best)
    assert mean_of_own_best(series, delay) == pytest.approx(own)
    found = score_at(series, 0.8, delay)
    shown = (found.f1, found.segments_hit, found.false_rows, found.false_episodes, found.mean_delay_rows)
    assert shown == pytest.approx(at_08) and found.segments == 12
