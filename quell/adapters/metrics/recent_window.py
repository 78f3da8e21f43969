"""The recent window of a query, as each sweep needs it: only what is new is asked, the rest is kept from before.

The grid is made of the multiples of the signal's step since the epoch, so that every sweep and every process asks for
the same moments, and rows that were asked one by one are those that a whole range query would give. A row is asked
once: a sample that reaches the server after that is not in it, as in a rule that Prometheus evaluates. Only while most
series have no value yet, as where samples arrive late by remote write, the newest rows are asked again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from quell.adapters.metrics.kept_window import (
    KeptWindow,
    append_rows,
    folder_of,
    forget_unused,
    load_labels,
    load_order,
    load_window,
    write_order,
    write_window,
)
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.ports import MetricSource

log = logging.getLogger(__name__)

# A row in which fewer than this share of the fullest row's series have a value is still being filled: ask it again.
SETTLED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The moments at multiples of a step since the epoch, by number."""

    step: timedelta

    def number(self, at: datetime) -> int:
        """The last moment of the grid that is not after `at`."""
        return int(np.floor(at.timestamp() / self.step.total_seconds() + 1e-6))

    def seconds(self, first: int, last: int) -> FloatArray:
        """The moments from number `first` to `last` in whole milliseconds, a server's own resolution."""
        numbers = np.arange(first, last + 1, dtype=np.float64)
        return np.round(numbers * self.step.total_seconds(), 3).astype(np.float64)

    def moment(self, number: int) -> datetime:
        return datetime.fromtimestamp(float(self.seconds(number, number)[0]), UTC)


@dataclass(frozen=True, slots=True)
class RecentWindows:
    """Windows of queries, kept in `folder` between sweeps; without a folder each is asked as a whole.

    What is kept can be deleted at any time. It is not used where it is of another query or step, ends after the asked
    moment or too long before it, or does not add up; then the whole window is asked, and kept.
    """

    folder: Path | None = None

    def window(self, source: MetricSource, query: str, *, at: datetime, step: timedelta, points: int) -> SeriesMatrix:
        """The last `points` moments of the grid up to `at`; its series are sorted by fingerprint.

        A series without one number in the window is not in it. Raises what the source raises.
        """
        if step <= timedelta(0) or points < 1:
            raise InvalidInput(f"window of query {query!r} has {points} points of {step}: both must be above 0")
        grid = Grid(step=step)
        last = grid.number(at)
        if self.folder is None:
            return _sorted(_ask(source, query, grid, last - points + 1, last), None)
        return _Asking(
            source=source,
            query=query,
            grid=grid,
            last=last,
            points=points,
            folder=folder_of(self.folder, query, step.total_seconds()),
        ).answer()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """One window that is asked for, and the folder in which its rows are kept."""

    source: MetricSource
    query: str
    grid: Grid
    last: int
    points: int
    folder: Path

    @property
    def step_seconds(self) -> float:
        return self.grid.step.total_seconds()

    def answer(self) -> SeriesMatrix:
        kept = load_window(self.folder, self.query, self.step_seconds, self.points)
        missing = self.last - kept.last if kept else self.points
        if kept is None or missing < 0 or missing >= self.points or len(kept.sums) < self.points - missing:
            return self._whole(may_keep=kept is None or missing >= 0)
        return self._from(kept, missing)

    def _whole(self, *, may_keep: bool) -> SeriesMatrix:
        asked = _ask(self.source, self.query, self.grid, self.last - self.points + 1, self.last)
        found = _sorted(asked, self._prints(asked))
        if may_keep:
            self._keep(lambda: self._write(found))
        return found

    def _from(self, kept: KeptWindow, missing: int) -> SeriesMatrix:
        old = kept.rows[len(kept.rows) - (self.points - missing) :]
        labels = None
        if missing == 0:
            labels = load_labels(self.folder, kept)
            return self._whole(may_keep=True) if labels is None else self._matrix(old, kept.prints, labels)
        asked = _ask(self.source, self.query, self.grid, self.last - missing + 1, self.last)
        new = _sorted(asked, self._prints(asked))
        new_prints = new.fingerprints
        if np.array_equal(new_prints, kept.prints):
            return self._go_on(kept, old, new)
        known = load_labels(self.folder, kept)
        if known is None:
            return self._whole(may_keep=True)
        return self._widen(kept, old, known, new)

    def _go_on(self, kept: KeptWindow, old: FloatArray, new: SeriesMatrix) -> SeriesMatrix:
        """The same series as before."""
        found = self._matrix(np.concatenate([old, new.values]), kept.prints, new.labels, new.warnings)
        self._keep(lambda: self._append(kept, found))
        return found

    def _widen(self, kept: KeptWindow, old: FloatArray, known: tuple[Labels, ...], new: SeriesMatrix) -> SeriesMatrix:
        """Some series appeared or are gone: both sets side by side, NaN where one has no value."""
        prints = np.union1d(kept.prints, new.fingerprints)
        before, after = np.searchsorted(prints, kept.prints), np.searchsorted(prints, new.fingerprints)
        values = np.full((self.points, len(prints)), np.nan)
        values[: len(old), before] = old
        values[len(old) :, after] = new.values
        labels: list[Labels] = [{}] * len(prints)
        for places, many in ((before, known), (after, new.labels)):
            for place, one in zip(places.tolist(), many, strict=True):
                labels[place] = one
        found = self._matrix(values, prints, tuple(labels), new.warnings)
        if np.array_equal(found.fingerprints, kept.prints):
            self._keep(lambda: self._append(kept, found))
        else:
            self._keep(lambda: self._write(found))
        return found

    def _matrix(
        self, values: FloatArray, prints: FingerprintArray, labels: tuple[Labels, ...], warnings: tuple[str, ...] = ()
    ) -> SeriesMatrix:
        seconds = self.grid.seconds(self.last - self.points + 1, self.last)
        return _without_empty(
            SeriesMatrix(timestamps=seconds, values=values, labels=labels, prints=prints, warnings=warnings)
        )

    def _prints(self, asked: SeriesMatrix) -> FingerprintArray:
        """The fingerprints of an answer's series: hashed once for each order in which they come."""
        known = load_order(self.folder, asked.labels)
        if known is not None:
            return known
        prints = asked.fingerprints
        if asked.labels:
            self._keep(lambda: write_order(self.folder, asked.labels, prints))
        return prints

    def _append(self, kept: KeptWindow, found: SeriesMatrix) -> None:
        """Keep the settled ones of the rows that are new; half an answer is used, and asked again."""
        rows = found.values[: _settled(found.values)][self.points - (self.last - kept.last) :]
        if found.warnings or len(rows) == 0:
            return
        if not append_rows(self.folder, self.query, self.step_seconds, kept, rows, self.points):
            self._write(found)

    def _write(self, found: SeriesMatrix) -> None:
        rows = found.values[: _settled(found.values)]
        if found.warnings or len(rows) == 0:
            return
        write_window(
            self.folder,
            self.query,
            self.step_seconds,
            last=self.last - (self.points - len(rows)),
            rows=rows,
            prints=found.fingerprints,
            labels=found.labels,
            points=self.points,
        )
        forget_unused(self.folder.parent)

    def _keep(self, write: Callable[[], None]) -> None:
        """What cannot be kept is asked again: that costs time, never a sweep."""
        try:
            write()
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("the recent window of %r cannot be kept in %s: %s", self.query, self.folder, error)


def _settled(values: FloatArray) -> int:
    """How many rows, from the first, are over: up to the last one in which enough series have a value."""
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    enough = np.flatnonzero(counts >= max(SETTLED_SHARE * counts.max(initial=0), 1.0))
    return int(enough[-1]) + 1 if len(enough) else 0


def _ask(source: MetricSource, query: str, grid: Grid, first: int, last: int) -> SeriesMatrix:
    """The rows of the grid from number `first` to `last`: one is an instant query, more are a range."""
    seconds = grid.seconds(first, last)
    if first == last:
        found = source.instant(query, at=grid.moment(last))
        if len(found.timestamps) != 1:  # a source without series may have no row either
            found = replace(found, values=np.full((1, len(found.labels)), np.nan))
    else:
        found = source.range(query, start=grid.moment(first), end=grid.moment(last), step=grid.step)
    return replace(found, timestamps=seconds)


def _sorted(matrix: SeriesMatrix, prints: FingerprintArray | None) -> SeriesMatrix:
    prints = matrix.fingerprints if prints is None else prints
    order = np.argsort(prints, kind="stable")
    in_order = replace(
        matrix,
        values=np.ascontiguousarray(matrix.values[:, order]),
        labels=_picked(matrix.labels, order),
        prints=prints[order],
    )
    return _without_empty(in_order)


def _without_empty(matrix: SeriesMatrix) -> SeriesMatrix:
    """Without the series that have no number at all."""
    doubtful = np.flatnonzero(np.isnan(matrix.values[-1]))
    if len(doubtful) == 0:
        return matrix
    empty = doubtful[np.isnan(matrix.values[:, doubtful]).all(axis=0)]
    if len(empty) == 0:
        return matrix
    keep = np.ones(len(matrix.labels), dtype=np.bool_)
    keep[empty] = False
    places = np.flatnonzero(keep)
    return replace(
        matrix,
        values=np.ascontiguousarray(matrix.values[:, places]),
        labels=_picked(matrix.labels, places),
        prints=matrix.fingerprints[places],
    )


def _picked(labels: tuple[Labels, ...], places: NDArray[np.intp]) -> tuple[Labels, ...]:
    numbers: list[int] = places.tolist()
    return tuple(labels[number] for number in numbers)
