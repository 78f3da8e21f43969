"""Numbers and views in words: a value with its unit, where it lies to its band, what a view looks at."""

import math

from quell.incidents.chart import format_value

_VIEWS = {
    "point": "the value itself, beside the last 30 samples and all before them",
    "jump": "the step from the two samples before",
    "nearest phase": "the mean of the last 12 samples, beside this time on seven days",
    "phase level": "the level of the last 12 samples for this time of the day",
    "level": "the level of the last 24 samples",
    "daily shape": "the shape of the day",
    "fluctuation": "the distance from the last 30 samples",
    "step": "the step of the last two samples from the six before",
}


def describe_view(view: str) -> str:
    """What a view of `streams` looks at."""
    return _VIEWS[view]


def describe_value(value: float, expected: float, lower: float, upper: float, *, unit: str) -> str:
    """The value against its limits; one that is not finite is no limit.

    >>> describe_value(7.0, 7.0, 5.0, 9.0, unit="req/s")
    '7 req/s is between 5 req/s and 9 req/s (expected 7 req/s)'
    """
    return f"{with_unit(value, unit)} {_against_band(value, lower, upper, unit)} (expected {with_unit(expected, unit)})"


def with_unit(value: float, unit: str) -> str:
    """
    >>> with_unit(0.123456, "ratio"), with_unit(2.0, "seconds")
    ('12.35 %', '2 s')
    """
    return format_value(value, unit, digits=4)


def _against_band(value: float, lower: float, upper: float, unit: str) -> str:
    if value > upper:
        return f"is above {with_unit(upper, unit)}"
    if value < lower:
        return f"is below {with_unit(lower, unit)}"
    if not math.isfinite(lower):
        return f"stays below {with_unit(upper, unit)}"
    if not math.isfinite(upper):
        return f"stays above {with_unit(lower, unit)}"
    return f"is between {with_unit(lower, unit)} and {with_unit(upper, unit)}"
