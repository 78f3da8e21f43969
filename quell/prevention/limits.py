"""Limits: what a signal's value is held against, the same all week or by hour of the week."""

from dataclasses import dataclass

from quell.incidents.chart import format_value
from quell.incidents.hours import HourBand, bands_in_words, limit_by_hour
from quell.incidents.series import FloatArray
from quell.incidents.threshold import ThresholdVersion

Level = float | FloatArray  # one value, or one for each hour of the week (168,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A lower and an upper limit, each None where there is none.

    Where a side has bands its limit depends on the hour of the week, and the plain one is the widest of them.
    """

    lower: float | None = None
    upper: float | None = None
    lower_by_hour: tuple[HourBand, ...] = ()
    upper_by_hour: tuple[HourBand, ...] = ()

    @property
    def upper_level(self) -> Level | None:
        return limit_by_hour(self.upper_by_hour) if self.upper_by_hour else self.upper

    @property
    def lower_level(self) -> Level | None:
        return limit_by_hour(self.lower_by_hour) if self.lower_by_hour else self.lower

    @property
    def is_by_hour(self) -> bool:
        return bool(self.upper_by_hour or self.lower_by_hour)


def limits_of(version: ThresholdVersion) -> Limits:
    """The limits on a signal's value that a version holds."""
    return Limits(
        lower=version.lower,
        upper=version.upper,
        lower_by_hour=version.lower_by_hour,
        upper_by_hour=version.upper_by_hour,
    )


def budget_in_words(per_week: float) -> str:
    """
    >>> budget_in_words(1), budget_in_words(0.5)
    ('1 false alarm per week and series', '0.5 false alarms per week and series')
    """
    return f"{per_week:g} false alarm{'' if per_week == 1 else 's'} per week and series"


def limits_in_words(unit: str, limits: Limits) -> str:
    """
    >>> limits_in_words("ratio", Limits(upper=0.05, lower=0.01))
    'above 5 % or below 1 %'
    """
    sides = (("above", limits.upper, limits.upper_by_hour), ("below", limits.lower, limits.lower_by_hour))

    def written(value: float) -> str:
        return format_value(value, unit)

    parts = [
        f"{word} {bands_in_words(bands, written) if bands else written(value)}"
        for word, value, bands in sides
        if value is not None
    ]
    return " or ".join(parts) or "none"
