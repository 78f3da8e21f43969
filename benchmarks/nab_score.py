"""The scoring rule of the Numenta Anomaly Benchmark v1.1: early detection in a window pays, flags elsewhere cost.

Source: Lavin & Ahmad, Evaluating Real-Time Anomaly Detection Algorithms, ICMLA 2015 (arXiv:1510.03336). A flag is a row
whose score reaches the threshold; one threshold holds for all files; the first min(15 %, 750) rows of a file count for
nothing. 100 is every window caught at its first row without a false flag, 0 is a detector that never flags.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quell.detection.columns import IntArray
from quell.incidents.series import FloatArray

PROBATION_SHARE, PROBATION_ROWS = 0.15, 750
FULL_COST_AFTER = 3.0  # window lengths
OUTSIDE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a caught window earns, a missed one costs, and a false flag costs."""

    caught: float
    missed: float
    false: float


PROFILES = {
    "standard": Profile(caught=1.0, missed=1.0, false=0.11),
    "reward_low_FP_rate": Profile(caught=1.0, missed=1.0, false=0.22),
    "reward_low_FN_rate": Profile(caught=1.0, missed=2.0, false=0.11),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFile:
    """One file's rows; `windows` are (first, last) moments in the unit of `timestamps`."""

    key: str
    timestamps: FloatArray
    windows: tuple[tuple[float, float], ...]
    score: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileScore:
    score: float
    threshold: float | None
    windows_hit: int
    rows_inside: int
    rows_outside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All counted rows as the threshold falls: what is flagged so far at each distinct score, the highest first."""

    thresholds: FloatArray  # begins with infinity, where nothing is flagged
    earned: FloatArray
    caught: FloatArray
    cost: FloatArray
    inside: FloatArray
    outside: FloatArray
    windows: int

    def score(self, profile: Profile, threshold: float | None = None) -> ProfileScore:
        """At a threshold, or at the one with the highest score."""
        total = profile.caught * self.earned - profile.missed * (self.windows - self.caught) + profile.false * self.cost
        reached = np.flatnonzero(self.thresholds >= (-np.inf if threshold is None else threshold))
        place = int(np.argmax(total)) if threshold is None else int(reached[-1])
        used = float(self.thresholds[place]) if threshold is None else threshold
        perfect = (profile.caught + profile.missed) * self.windows
        return ProfileScore(
            score=float(100.0 * (total[place] + profile.missed * self.windows) / perfect)
            if self.windows
            else float("nan"),
            threshold=used if np.isfinite(used) else None,
            windows_hit=int(self.caught[place]),
            rows_inside=int(self.inside[place]),
            rows_outside=int(self.outside[place]),
        )


def rank(files: Sequence[ScoredFile]) -> Ranking:
    """Pool the rows of all files after their probation."""
    parts: list[tuple[FloatArray, FloatArray, IntArray]] = []
    windows = 0
    for file in files:
        worth, window = worth_of_rows(file)
        start = int(min(PROBATION_SHARE * len(worth), PROBATION_ROWS))
        parts.append(
            (file.score[start:], worth[start:], np.where(window == OUTSIDE, OUTSIDE, window + windows)[start:])
        )
        windows += len(file.windows)
    score, worth, window = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _ranked(score, worth, window, windows)


def _ranked(score: FloatArray, worth: FloatArray, window: IntArray, windows: int) -> Ranking:
    order = np.argsort(-score, kind="stable")
    score, worth, window = score[order], worth[order], window[order]
    earned, caught = np.zeros(len(score)), np.zeros(len(score))
    for number in range(windows):  # a window is worth its best flag, which is its earliest
        rows = np.flatnonzero(window == number)
        if len(rows):
            earned[rows] = np.diff(np.maximum.accumulate(worth[rows]), prepend=0.0)
            caught[rows[0]] = 1.0
    is_out = window == OUTSIDE
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)

    def so_far(values: FloatArray) -> FloatArray:
        return np.append(0.0, np.cumsum(values)[ends])

    return Ranking(
        thresholds=np.append(np.inf, score[ends]),
        earned=so_far(earned),
        caught=so_far(caught),
        cost=so_far(np.where(is_out, worth, 0.0)),
        inside=so_far((~is_out).astype(np.float64)),
        outside=so_far(is_out.astype(np.float64)),
        windows=windows,
    )


def worth_of_rows(file: ScoredFile) -> tuple[FloatArray, IntArray]:
    """What a flag at each row is worth (1 down to 0 inside a window, 0 down to -1 after it, -1 before the first one),
    and the number of the row's window. Raises ValueError where a window holds no row."""
    count = len(file.timestamps)
    worth, window, rows = np.full(count, -1.0), np.full(count, OUTSIDE, dtype=np.int64), np.arange(count)
    for number, (begin, end) in enumerate(file.windows):
        held = np.flatnonzero((file.timestamps >= begin) & (file.timestamps <= end))
        if not len(held):
            raise ValueError(f"{file.key}: window {number} holds no row")
        first, last = int(held[0]), int(held[-1])
        inside, after = slice(first, last + 1), slice(last + 1, None)
        length = last - first + 1
        worth[inside] = _decay((rows[inside] - last - 1) / length) / _decay(np.array(-1.0))
        worth[after] = _decay((rows[after] - last) / max(length - 1, 1))  # the next window overwrites its part
        window[inside] = number
    return worth, window


def _decay(place: FloatArray) -> FloatArray:
    """From nearly 1 a window's length before its right edge through 0 at it to -1 after it."""
    curve = 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, FULL_COST_AFTER))) - 1.0
    return np.where(place > FULL_COST_AFTER, -1.0, curve)


def lost_by_file(files: Sequence[ScoredFile], threshold: float) -> list[tuple[str, float, int, int, int]]:
    """(key, standard points below perfect, windows, windows caught, false rows), the worst first."""
    profile, found = PROFILES["standard"], []
    for file in files:
        worth, window = worth_of_rows(file)
        start = int(min(PROBATION_SHARE * len(worth), PROBATION_ROWS))
        flagged = (file.score >= threshold) & (np.arange(len(worth)) >= start)
        best = [worth[flagged & (window == n)].max(initial=0.0) for n in range(len(file.windows))]
        false = flagged & (window == OUTSIDE)
        hit = sum(int(one > 0.0) for one in best)
        got = profile.caught * sum(best) - profile.missed * (len(best) - hit) + profile.false * worth[false].sum()
        found.append((file.key, float(len(best) - got), len(best), hit, int(np.count_nonzero(false))))
    return sorted(found, key=lambda one: -one[1])
