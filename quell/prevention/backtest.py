"""A backtest: what a limit would have done on history, its false alarms and the incidents it would have caught."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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
    """Whether and when the limit would have fired in one incident; `after` is None when it would not."""

    incident: str
    after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Alarms outside of incidents are false; `catches` has one entry per incident that history covers."""

    rate: Rate
    catches: tuple[Catch, ...]

    def __str__(self) -> str:
        caught = [c for c in self.catches if c.after is not None]
        text = f"false alarms {self.rate}"
        if self.catches:
            text += f"; catches {len(caught)} of {len(self.catches)} incidents"
        return text


def backtest_limits(
    matrix: SeriesMatrix,
    *,
    upper: float | None,
    lower: float | None,
    steps: int,
    troubles: Sequence[Trouble],
    excluded: Sequence[Period] = (),
) -> Backtest:
    """Replay the whole history, incidents included. `excluded` (maintenance) counts neither way.

    A run of samples that began before an incident counts there from the incident's start on.
    """
    whole = mask_periods(matrix, excluded)
    quiet = mask_periods(whole, [t.period for t in troubles])
    false_alarms = alarms_of(quiet, upper, lower, steps)
    catches = [_catch(whole, trouble, upper, lower, steps) for trouble in troubles if _covers(whole, trouble)]
    return Backtest(rate=alarm_rate(len(false_alarms), observed_weeks(quiet)), catches=tuple(catches))


def alarms_of(matrix: SeriesMatrix, upper: float | None, lower: float | None, steps: int) -> tuple[Episode, ...]:
    """Every alarm that either limit would have raised."""
    alarms: list[Episode] = []
    for limit, is_upper in ((upper, True), (lower, False)):
        if limit is not None:
            alarms += find_episodes(matrix, limit, steps=steps, is_upper=is_upper)
    return tuple(alarms)


def _covers(matrix: SeriesMatrix, trouble: Trouble) -> bool:
    return bool(len(matrix.timestamps)) and matrix.timestamps[0] <= trouble.start.timestamp() <= matrix.timestamps[-1]


def _catch(matrix: SeriesMatrix, trouble: Trouble, upper: float | None, lower: float | None, steps: int) -> Catch:
    inside = rows_within(matrix.timestamps, trouble.period)
    during = SeriesMatrix(timestamps=matrix.timestamps[inside], values=matrix.values[inside], labels=matrix.labels)
    alarms = alarms_of(during, upper, lower, steps)
    if not alarms:
        return Catch(incident=trouble.incident, after=None)
    first = datetime.fromtimestamp(min(alarm.at for alarm in alarms), UTC)
    return Catch(incident=trouble.incident, after=max(first - trouble.start, timedelta(0)))
