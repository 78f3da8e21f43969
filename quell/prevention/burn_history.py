"""A history of burn rates: how often pairs of windows would have alerted, truly and falsely, and what they caught."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from quell.incidents.labels import Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.slo import BurnWindow, Slo
from quell.prevention.backtest import Backtest, Trouble, backtest_limits
from quell.prevention.history import Period, alarm_rate, find_episodes, mask_periods, observed_weeks
from quell.prevention.limits import Limits

REACHED = Limits(upper=1.0)  # on the share of the limit that is reached


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnHistory:
    """Error ratios (0..1) in windows of several lengths, all (T, S) on one time axis; NaN where nothing is known."""

    slo: Slo
    timestamps: FloatArray
    labels: tuple[Labels, ...]
    ratios: Mapping[timedelta, FloatArray]
    excluded: tuple[Period, ...] = ()
    kept: dict[object, FloatArray] = field(default_factory=dict[object, FloatArray], compare=False, repr=False)

    def covers(self, window: BurnWindow) -> bool:
        """Whether the history has both windows, and is as long as the longer of them twice."""
        known = self.ratios.get(window.long)
        if known is None or window.short not in self.ratios or len(self.timestamps) < 2:
            return False
        return self.timestamps[-1] - self.timestamps[0] >= 2 * window.long.total_seconds()

    def burn(self, window: BurnWindow) -> FloatArray:
        """The burn rate that both windows of the pair reach, (T, S)."""
        key = (window.long, window.short)
        if key not in self.kept:
            both = np.minimum(self.ratios[window.long], self.ratios[window.short])
            self.kept[key] = both / self.slo.error_budget
        return self.kept[key]

    def calm_burn(self, window: BurnWindow, troubles: Sequence[Trouble]) -> FloatArray:
        """The same without incidents, and without what the short window still holds of them."""
        key = (window.long, window.short, tuple(troubles))
        if key in self.kept:
            return self.kept[key]
        periods = [(start, end + window.short) for start, end in (trouble.period for trouble in troubles)]
        self.kept[key] = mask_periods(self.matrix(self.burn(window)), [*periods, *self.excluded]).values
        return self.kept[key]

    def matrix(self, values: FloatArray) -> SeriesMatrix:
        return SeriesMatrix(timestamps=self.timestamps, values=values, labels=self.labels)


def share_reached(history: BurnHistory, windows: Sequence[BurnWindow]) -> SeriesMatrix:
    """How much of its limit the pair that is nearest to it reaches: above 1 the alert fires."""
    return history.matrix(_nearest(history, windows, [history.burn(window) for window in windows]))


def backtest_burns(history: BurnHistory, windows: Sequence[BurnWindow], troubles: Sequence[Trouble]) -> Backtest:
    """What these pairs would have alerted. A burn that goes on after its incident is no false alarm."""
    whole = mask_periods(share_reached(history, windows), history.excluded)
    found = backtest_limits(whole, REACHED, steps=1, troubles=troubles)
    weeks = observed_weeks(mask_periods(whole, [trouble.period for trouble in troubles]))
    return replace(found, rate=alarm_rate(false_alarms(history, windows, troubles), weeks))


def false_alarms(history: BurnHistory, windows: Sequence[BurnWindow], troubles: Sequence[Trouble]) -> int:
    """How often these pairs would have alerted outside of incidents, and of what they left in the windows."""
    calm = history.matrix(_nearest(history, windows, [history.calm_burn(window, troubles) for window in windows]))
    return len(find_episodes(calm, 1.0, steps=1, is_upper=True))


def windows_known(history: BurnHistory, windows: Sequence[BurnWindow]) -> tuple[BurnWindow, ...]:
    return tuple(window for window in windows if history.covers(window))


def span_of(history: BurnHistory) -> tuple[float, float]:
    """Its first and last time, epoch seconds."""
    times = history.timestamps
    return (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)


def with_factor(window: BurnWindow, factor: float, period: timedelta) -> BurnWindow:
    """The pair with another limit.

    >>> from quell.incidents.slo import BurnUrgency
    >>> month, hour, five = timedelta(days=30), timedelta(hours=1), timedelta(minutes=5)
    >>> pair = BurnWindow(long=hour, short=five, budget_share=0.02, urgency=BurnUrgency.PAGE)
    >>> round(with_factor(pair, 7.2, month).budget_share, 6)
    0.01
    """
    return replace(window, budget_share=factor * (window.long / period))


def _nearest(history: BurnHistory, windows: Sequence[BurnWindow], burns: Sequence[FloatArray]) -> FloatArray:
    nearest = np.full((len(history.timestamps), len(history.labels)), np.nan)
    for window, burn in zip(windows, burns, strict=True):
        nearest = np.fmax(nearest, burn / window.factor(history.slo.period))
    return nearest
