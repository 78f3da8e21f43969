"""A backtest: what a limit would have done on history, its false alarms and the incidents it would have caught."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scipy.special import betaincinv

from quell.incidents.series import SeriesMatrix
from quell.prevention.history import (
    Episode,
    Period,
    Rate,
    alarm_rate,
    find_episodes,
    mask_periods,
    observed_weeks,
    rows_within,
)
from quell.prevention.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A past incident as the backtest sees it: from its onset until it was resolved.

    Within `margin` before and after it samples count as trouble too: an onset is dated by the first evidence.
    """

    incident: str
    start: datetime
    end: datetime
    margin: timedelta = timedelta(0)

    @property
    def period(self) -> Period:
        return self.start - self.margin, self.end + self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """Whether and when the limit would have fired in one incident; `after` is None when it would not.

    `alarms` is how often: true ones.
    """

    incident: str
    after: timedelta | None
    alarms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Alarms outside of incidents are false, inside they are true; one catch per incident that history covers."""

    rate: Rate  # of false alarms
    true_rate: Rate
    catches: tuple[Catch, ...]

    @property
    def caught(self) -> int:
        return sum(catch.after is not None for catch in self.catches)

    def __str__(self) -> str:
        text = f"false alarms {self.rate}"
        if self.catches:
            low, high = share_interval(self.caught, len(self.catches))
            text += f"; true alarms {self.true_rate}" if self.true_rate.count else "; no true alarm"
            text += f"; catches {self.caught} of {len(self.catches)} incidents ({low:.0%} to {high:.0%})"
        return text


def share_interval(hits: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, Biometrika 26, 1934); of nothing, anything.

    >>> [round(x, 4) for x in share_interval(1, 2)]
    [0.0126, 0.9874]
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0
    return low, high


def backtest_limits(
    matrix: SeriesMatrix,
    limits: Limits,
    *,
    steps: int,
    troubles: Sequence[Trouble],
    excluded: Sequence[Period] = (),
) -> Backtest:
    """Replay the whole history, incidents included. `excluded` (maintenance) counts neither way.

    A run of samples that began before an incident counts there from the incident's start on.
    """
    whole = mask_periods(matrix, excluded)
    quiet = mask_periods(whole, [t.period for t in troubles])
    false_alarms = alarms_of(quiet, limits, steps)
    catches = [_catch(whole, trouble, limits, steps) for trouble in troubles if _covers(whole, trouble)]
    return Backtest(
        rate=alarm_rate(len(false_alarms), observed_weeks(quiet)),
        true_rate=alarm_rate(sum(catch.alarms for catch in catches), observed_weeks(whole)),
        catches=tuple(catches),
    )


def alarms_of(matrix: SeriesMatrix, limits: Limits, steps: int) -> tuple[Episode, ...]:
    """Every alarm that either limit would have raised."""
    alarms: list[Episode] = []
    for limit, is_upper in ((limits.upper_level, True), (limits.lower_level, False)):
        if limit is not None:
            alarms += find_episodes(matrix, limit, steps=steps, is_upper=is_upper)
    return tuple(alarms)


def _covers(matrix: SeriesMatrix, trouble: Trouble) -> bool:
    return bool(len(matrix.timestamps)) and matrix.timestamps[0] <= trouble.start.timestamp() <= matrix.timestamps[-1]


def _catch(matrix: SeriesMatrix, trouble: Trouble, limits: Limits, steps: int) -> Catch:
    inside = rows_within(matrix.timestamps, trouble.period)
    during = SeriesMatrix(timestamps=matrix.timestamps[inside], values=matrix.values[inside], labels=matrix.labels)
    alarms = alarms_of(during, limits, steps)
    if not alarms:
        return Catch(incident=trouble.incident, after=None)
    first = datetime.fromtimestamp(min(alarm.at for alarm in alarms), UTC)
    after = max(first - trouble.start, timedelta(0))
    return Catch(incident=trouble.incident, after=after, alarms=len(alarms))
