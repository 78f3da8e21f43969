"""A limit by hour of the week as a recording rule: PromQL that holds one line for each band."""

from collections.abc import Sequence
from typing import Any

from quell.incidents.hours import HourBand, days_in_words
from quell.incidents.labels import SIGNAL
from quell.incidents.signal import Signal

RECORD = "quell:limit:"  # + high or low


def record_limit(signal: Signal, side: str, bands: Sequence[HourBand]) -> dict[str, Any]:
    """The rule that records the limit of the present hour. Its group runs it before the alert that reads it."""
    lines = [_line(band) for band in bands]
    return {"record": f"{RECORD}{side}", "expr": "\nor ".join(lines), "labels": {SIGNAL: signal.name}}


def recorded(signal: Signal, side: str) -> str:
    """Where the alert finds the limit."""
    return f'on() group_left() {RECORD}{side}{{{SIGNAL}="{signal.name}"}}'


def _line(band: HourBand) -> str:
    """
    >>> _line(HourBand(days=(0, 1, 2, 3, 4), start=18, end=8, limit=2.5))
    'vector(2.5) and (day_of_week() >= 1 <= 5) and (hour() >= 18 or hour() < 8)'
    >>> _line(HourBand(days=(5, 6), start=0, end=24, limit=2.0))
    'vector(2.0) and (day_of_week() == 0 or day_of_week() == 6)'
    """
    parts = [f"vector({band.limit!r})"]
    if days_in_words(band.days) != "every day":
        parts.append(f"({_days(band.days)})")
    if band.end - band.start != 24:
        joint = "" if band.start < band.end else " or hour()"
        parts.append(f"(hour() >= {band.start}{joint} < {band.end})")
    return " and ".join(parts)


def _days(days: Sequence[int]) -> str:
    """Prometheus counts from Sunday, 0."""
    numbers = sorted((day + 1) % 7 for day in days)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"day_of_week() >= {numbers[0]} <= {numbers[-1]}"
    return " or ".join(f"day_of_week() == {number}" for number in numbers)
