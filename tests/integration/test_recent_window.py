"""The kept window against a real Prometheus: asked piece by piece, it is what one whole range would give."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.metrics.recent_window import RecentWindows
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.series import SeriesMatrix

pytestmark = pytest.mark.integration

STEP = timedelta(seconds=5)
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
END = START + timedelta(minutes=20)
POINTS = 11
QUERY = "last_over_time(level[5s])"  # no lookback of five minutes: what vanishes is gone at once


def history() -> str:
    """Levels every 5 s: one steady, one that appears, one that vanishes, one with gaps, one of NaN, one that blinks."""
    rng = np.random.default_rng(3)
    lines = ["# TYPE level gauge"]
    there: dict[str, Callable[[float], bool]] = {
        "steady": lambda _: True,
        "appears": lambda minute: minute >= 5,
        "vanishes": lambda minute: minute < 8,
        "gaps": lambda minute: int(minute * 12) % 7 > 2,
        "never a number": lambda _: True,
        "sometimes a number": lambda _: True,
        "blinks": lambda minute: int(minute * 12) % 40 == 0,
        "grün": lambda _: True,
    }
    for name, is_there in there.items():
        for second in range(0, int((END - START).total_seconds()), 5):
            value = f"{rng.normal():.6f}"
            if name == "never a number" or (name == "sometimes a number" and second % 50 < 30):
                value = "NaN"
            if is_there(second / 60):
                lines.append(f'level{{instance="{name}"}} {value} {int(START.timestamp()) + second}')
    return "\n".join([*lines, "# EOF", ""])


@dataclass
class Counting:
    """Passes questions on and remembers them as (first row, last row)."""

    source: PrometheusSource
    asked: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        self.asked.append((start, end))
        return self.source.range(query, start=start, end=end, step=step)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert at is not None
        self.asked.append((at, at))
        return self.source.instant(query, at=at)


@pytest.fixture(scope="module")
def prometheus(backfilled_prometheus: Callable[[str], str]) -> Iterator[PrometheusSource]:
    source = PrometheusSource(backfilled_prometheus(history()), timeout=timedelta(seconds=10))
    yield source
    source.close()


@pytest.fixture
def source(prometheus: PrometheusSource) -> Counting:
    return Counting(prometheus)


def window(windows: RecentWindows, source: Counting, at: datetime, points: int = POINTS) -> SeriesMatrix:
    return windows.window(source, QUERY, at=at, step=STEP, points=points)


def whole(source: Counting, at: datetime, points: int = POINTS) -> SeriesMatrix:
    return window(RecentWindows(), Counting(source.source), at, points)


def assert_same(found: SeriesMatrix, expected: SeriesMatrix) -> None:
    assert found.labels == expected.labels
    assert found.timestamps.tolist() == expected.timestamps.tolist()
    assert np.array_equal(found.values, expected.values, equal_nan=True)
    assert found.fingerprints.tolist() == expected.fingerprints.tolist()


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_windows_asked_in_pieces_are_those_asked_whole(source: Counting, tmp_path: Path, rows: int) -> None:
    seen: set[str] = set()
    for at in (START + timedelta(minutes=3) + n * rows * STEP for n in range(150 // rows)):
        found = window(RecentWindows(tmp_path), source, at)  # a process of its own each time
        assert_same(found, whole(source, at))
        seen |= {labels["instance"] for labels in found.labels}
    assert seen == {"steady", "appears", "vanishes", "gaps", "sometimes a number", "blinks", "grün"}
    assert [end - start for start, end in source.asked[1:]] == [(rows - 1) * STEP] * (len(source.asked) - 1)


def test_the_grid_lies_on_multiples_of_the_step_wherever_the_sweep_falls(source: Counting, tmp_path: Path) -> None:
    at = START + timedelta(minutes=6)
    first = window(RecentWindows(tmp_path), source, at + timedelta(seconds=2.4))
    assert first.timestamps[-1] == at.timestamp()
    again = window(RecentWindows(tmp_path), source, at + timedelta(seconds=4.9))
    assert_same(again, first)
    assert len(source.asked) == 1  # no new row, no question


def test_a_gap_as_long_as_the_window_is_asked_whole(source: Counting, tmp_path: Path) -> None:
    at = START + timedelta(minutes=6)
    for moment in (at, at + (POINTS - 1) * STEP, at + (2 * POINTS - 1) * STEP):
        assert_same(window(RecentWindows(tmp_path), source, moment), whole(source, moment))
    lengths = [int((end - start) / STEP) + 1 for start, end in source.asked]
    assert lengths == [POINTS, POINTS - 1, POINTS]


def test_an_earlier_moment_is_asked_whole_and_leaves_what_is_kept(source: Counting, tmp_path: Path) -> None:
    at = START + timedelta(minutes=6)
    window(RecentWindows(tmp_path), source, at)
    assert_same(window(RecentWindows(tmp_path), source, at - STEP), whole(source, at - STEP))
    assert_same(window(RecentWindows(tmp_path), source, at + STEP), whole(source, at + STEP))
    assert source.asked[-1] == (at + STEP, at + STEP)


def test_a_longer_window_than_is_kept_is_asked_whole(source: Counting, tmp_path: Path) -> None:
    at = START + timedelta(minutes=6)
    window(RecentWindows(tmp_path), source, at)
    assert_same(window(RecentWindows(tmp_path), source, at + STEP, 30), whole(source, at + STEP, 30))
    assert_same(window(RecentWindows(tmp_path), source, at + 2 * STEP, 5), whole(source, at + 2 * STEP, 5))
    assert len(source.asked) == 3 and source.asked[2] == (at + 2 * STEP, at + 2 * STEP)


def kept_files(folder: Path, ending: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(ending)]


@pytest.mark.parametrize("ending", ["head.json", "rows.npy", "prints.npy", "labels.json", ".npy"])
@pytest.mark.parametrize("damage", ["gone", "cut", "torn"])
def test_damaged_files_cost_a_question_and_never_a_wrong_window(
    source: Counting, tmp_path: Path, ending: str, damage: str
) -> None:
    at = START + timedelta(minutes=8)  # `vanishes` is in the window and gone from the next rows
    window(RecentWindows(tmp_path), source, at)
    for path in kept_files(tmp_path, ending):
        content = path.read_bytes()
        match damage:
            case "gone":
                path.unlink()
            case "cut":
                path.write_bytes(content[: len(content) // 2])
            case _:
                path.write_bytes(content[:130] + b"\0" * 8 + content[138:])
    for n in (1, 2):
        assert_same(window(RecentWindows(tmp_path), source, at + n * STEP), whole(source, at + n * STEP))


def test_a_folder_that_cannot_be_written_costs_time_and_no_sweep(
    source: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    at = START + timedelta(minutes=6)
    assert_same(window(RecentWindows(tmp_path / "taken"), source, at), whole(source, at))
    assert "cannot be kept in" in caplog.text


def test_windows_that_nobody_asks_for_are_removed_after_a_day(source: Counting, tmp_path: Path) -> None:
    windows, at = RecentWindows(tmp_path), START + timedelta(minutes=6)
    window(windows, source, at)
    [old] = tmp_path.iterdir()
    for path in old.iterdir():
        os.utime(path, (0, 0))
    windows.window(source, f"1 + {QUERY}", at=at, step=STEP, points=POINTS)
    [new] = tmp_path.iterdir()
    assert new != old
    assert_same(window(windows, source, at), whole(source, at))


def test_half_an_answer_is_used_and_asked_again(source: Counting, tmp_path: Path) -> None:
    """A store behind the server is away: what is missing must not stay missing once it is back."""

    class Half(Counting):
        def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
            found = super().instant(query, at=at)
            return replace(found, values=found.values * np.nan, warnings=("store eu-1 did not answer",))

    at = START + timedelta(minutes=6)
    window(RecentWindows(tmp_path), source, at)
    half = window(RecentWindows(tmp_path), Half(source.source), at + STEP)
    assert half.warnings == ("store eu-1 did not answer",)
    assert np.isnan(half.values[-1]).all() and not np.isnan(half.values[-2]).all()
    assert_same(window(RecentWindows(tmp_path), source, at + 2 * STEP), whole(source, at + 2 * STEP))


def test_rows_that_fill_late_are_asked_until_most_series_are_there(source: Counting, tmp_path: Path) -> None:
    """Samples that come by remote write may be 20 s old when they arrive: their rows must not stay empty for ever."""

    @dataclass
    class Late(Counting):
        now: datetime = START

        def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
            found = super().range(query, start=start, end=end, step=step)
            there = found.timestamps[:, np.newaxis] <= (self.now - 4 * STEP).timestamp()
            return replace(found, values=np.where(there, found.values, np.nan))

        def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
            assert at is not None
            return self.range(query, start=at, end=at, step=STEP)

    late = Late(source.source)
    for n in range(30):
        late.now = START + timedelta(minutes=6) + n * STEP
        found = window(RecentWindows(tmp_path), late, late.now)
        assert np.isnan(found.values[-4:]).all()
        settled = whole(source, late.now).values[:-4]
        assert np.array_equal(np.isnan(found.values[:-4]).all(axis=1), np.isnan(settled).all(axis=1))
        assert np.nansum(found.values[:-4]) == pytest.approx(np.nansum(settled))
    lengths = {int((end - start) / STEP) + 1 for start, end in late.asked[1:]}
    assert lengths == {5}  # the four that are late, and the new one


def test_what_the_source_says_of_a_failure_is_passed_on(source: Counting, tmp_path: Path) -> None:
    window(RecentWindows(tmp_path), source, START + timedelta(minutes=6))
    dead = PrometheusSource("http://127.0.0.1:9", timeout=timedelta(seconds=1), attempts=1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        window(RecentWindows(tmp_path), Counting(dead), START + timedelta(minutes=6) + STEP)
    dead.close()
    with pytest.raises(InvalidInput, match="both must be above 0"):
        window(RecentWindows(tmp_path), source, START, points=0)


def test_another_query_or_step_has_a_window_of_its_own(source: Counting, tmp_path: Path) -> None:
    windows, at = RecentWindows(tmp_path), START + timedelta(minutes=6)
    window(windows, source, at)
    other = windows.window(source, f"1 + {QUERY}", at=at, step=STEP, points=POINTS)
    coarse = windows.window(source, QUERY, at=at, step=2 * STEP, points=POINTS)
    assert_same(window(windows, source, at), whole(source, at))
    assert not np.array_equal(other.values, window(windows, source, at).values, equal_nan=True)
    assert np.diff(coarse.timestamps).tolist() == [10.0] * (POINTS - 1)
