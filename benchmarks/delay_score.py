"""The scoring rule of the AIOps challenge 2018: F1 over rows, where a segment counts only if it is caught in time.

Source: Ren et al., Time-Series Anomaly Detection Service at Microsoft, KDD 2019, section 5.1. A segment is an unbroken
run of labelled rows. With a flag among its first k + 1 rows all its rows count as found, otherwise as missed. Every
flagged row without a label is a false one. Precision and recall are taken over the rows of all series together, at one
threshold for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quell.detection.columns import BoolArray
from quell.incidents.series import FloatArray

WEEK_SECONDS = 7 * 86_400.0
DELAY = 7  # rows; the contest's value for 1 min and 5 min data


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSeries:
    name: str
    step_seconds: float
    labels: BoolArray
    score: FloatArray

    @property
    def weeks(self) -> float:
        return len(self.labels) * self.step_seconds / WEEK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayScore:
    """Figures at one threshold; None where nothing is labelled, flagged or found."""

    threshold: float
    f1: float | None
    precision: float | None
    recall: float | None
    segments: int
    segments_hit: int
    false_rows: int
    false_episodes: int
    false_episodes_per_series_week: float | None
    mean_delay_rows: float | None


def runs(flags: BoolArray) -> list[tuple[int, int]]:
    """First row and the row after the last of each unbroken run of true.

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def found_at(series: LabelledSeries, delay: int = DELAY) -> FloatArray:
    """The threshold at which each row counts as flagged: a segment's rows all at the best score of its first rows."""
    level = series.score.copy()
    for start, end in runs(series.labels):
        level[start:end] = series.score[start : min(end, start + delay + 1)].max()
    return level


def best_f1(all_series: Sequence[LabelledSeries], delay: int = DELAY) -> tuple[float, float] | None:
    """(F1, threshold) with the highest F1 over all thresholds; None where nothing is labelled."""
    labels = np.concatenate([series.labels for series in all_series])
    labelled = int(np.count_nonzero(labels))
    if not labelled:
        return None
    level = np.concatenate([found_at(series, delay) for series in all_series])
    order = np.argsort(-level, kind="stable")
    level, found = level[order], np.cumsum(labels[order])
    ends = np.append(np.flatnonzero(np.diff(level)), len(level) - 1)
    f1 = 2.0 * found[ends] / (ends + 1 + labelled)
    best = int(np.argmax(f1))
    return float(f1[best]), float(level[ends[best]])


def score_at(all_series: Sequence[LabelledSeries], threshold: float, delay: int = DELAY) -> DelayScore:
    found = false = labelled = segments = hit = episodes = 0
    delays: list[int] = []
    for series in all_series:
        wrong = (series.score >= threshold) & ~series.labels
        false += int(np.count_nonzero(wrong))
        episodes += len(runs(wrong))
        labelled += int(np.count_nonzero(series.labels))
        for start, end in runs(series.labels):
            in_time = np.flatnonzero(series.score[start : min(end, start + delay + 1)] >= threshold)
            segments += 1
            if len(in_time):
                hit += 1
                found += end - start
                delays.append(int(in_time[0]))
    weeks = sum(series.weeks for series in all_series)
    return DelayScore(
        threshold=threshold,
        f1=_ratio(2 * found, found + false + labelled) if labelled else None,
        precision=_ratio(found, found + false),
        recall=_ratio(found, labelled),
        segments=segments,
        segments_hit=hit,
        false_rows=false,
        false_episodes=episodes,
        false_episodes_per_series_week=_ratio(episodes, weeks),
        mean_delay_rows=float(np.mean(delays)) if delays else None,
    )


def without_largest(all_series: Sequence[LabelledSeries], count: int) -> list[LabelledSeries]:
    """The series without the rows of their largest labelled segments, which otherwise decide the figure."""
    sized = [
        (end - start, place, start, end) for place, one in enumerate(all_series) for start, end in runs(one.labels)
    ]
    keep = [np.ones(len(one.labels), dtype=np.bool_) for one in all_series]
    for _, place, start, end in sorted(sized, reverse=True)[:count]:
        keep[place][start:end] = False
    return [
        LabelledSeries(name=one.name, step_seconds=one.step_seconds, labels=one.labels[rows], score=one.score[rows])
        for one, rows in zip(all_series, keep, strict=True)
    ]


def mean_of_own_best(all_series: Sequence[LabelledSeries], delay: int = DELAY) -> float | None:
    """Each series at its own best threshold; the mean over those with labels."""
    known = [found[0] for one in all_series if (found := best_f1([one], delay)) is not None]
    return float(np.mean(known)) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
