"""A figure: one number of the weekly report with its sample size, its distribution, and the records behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np


class Unit(StrEnum):
    SECONDS = "seconds"
    COUNT = "count"
    SHARE = "share"  # 0..1
    PER_WEEK = "per week"
    PER_INCIDENT = "per incident"
    CAPACITY = "capacity seconds"  # of the whole service


class BehindKind(StrEnum):
    INCIDENT = "incident"
    MITIGATION = "mitigation"
    FIX = "fix"
    ALERT = "alert"
    ANOMALY = "anomaly"
    THRESHOLD = "threshold"
    REVIEW = "post-mortem"
    DRILL = "drill"
    RUN = "flow run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A record that a figure was computed from. `value` is what it gave, in the figure's unit; `runs` are flow runs.

    `incident` is the one that it belongs to.
    """

    kind: BehindKind
    id: str
    value: float | None = None
    incident: str | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`value` is None where there was nothing to measure: missing data is never 0. `n` is the size of the sample.

    `key` names it in addresses and exports: `times/mttr`. `before` and `n_before` are of the week before; `waiting`
    counts what has not got that far yet and is in no number.
    """

    key: str
    name: str
    unit: Unit
    value: float | None
    n: int
    behind: tuple[Behind, ...] = ()
    median: float | None = None
    p90: float | None = None
    before: float | None = None
    n_before: int | None = None
    waiting: int = 0


def mean_of(key: str, name: str, unit: Unit, behind: Iterable[Behind], *, waiting: int = 0) -> Figure:
    """The mean of what each record gave, with median and 90th percentile (linear between order statistics).

    Records without a value are left out. Nothing is assumed of the distribution.
    """
    given = tuple(one for one in behind if one.value is not None)
    values = np.array([one.value for one in given], dtype=float)
    if not given:
        return Figure(key=key, name=name, unit=unit, value=None, n=0, waiting=waiting)
    return Figure(
        key=key,
        name=name,
        unit=unit,
        value=float(values.mean()),
        n=len(given),
        behind=given,
        median=float(np.median(values)),
        p90=float(np.quantile(values, 0.9)),
        waiting=waiting,
    )


def sum_of(key: str, name: str, unit: Unit, behind: Iterable[Behind], *, n: int) -> Figure:
    """What the records gave together; `n` is how many there were to look at, and of none there is no sum."""
    given = tuple(one for one in behind if one.value)
    total = float(sum(one.value or 0.0 for one in given))
    return Figure(key=key, name=name, unit=unit, value=total if n else None, n=n, behind=given)


def count_of(key: str, name: str, behind: Iterable[Behind], *, n: int) -> Figure:
    """How many of `n`."""
    given = tuple(behind)
    return Figure(key=key, name=name, unit=Unit.COUNT, value=float(len(given)) if n else None, n=n, behind=given)


def share_of(key: str, name: str, behind: Iterable[Behind], *, n: int) -> Figure:
    """Which share of `n`."""
    given = tuple(behind)
    return Figure(key=key, name=name, unit=Unit.SHARE, value=len(given) / n if n else None, n=n, behind=given)


def rate_of(key: str, name: str, behind: Iterable[Behind]) -> Figure:
    """Which share of the records has the value 1; the others have 0."""
    given = tuple(behind)
    hits = sum(one.value == 1.0 for one in given)
    value = hits / len(given) if given else None
    return Figure(key=key, name=name, unit=Unit.SHARE, value=value, n=len(given), behind=given)


def with_before(figures: Sequence[Figure], before: Mapping[str, Figure]) -> tuple[Figure, ...]:
    """Each figure with its value of the week before, where that has the same figure."""
    return tuple(
        replace(figure, before=old.value, n_before=old.n) if (old := before.get(figure.key)) else figure
        for figure in figures
    )
