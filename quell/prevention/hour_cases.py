"""A rule's tests where a limit depends on the hour of the week: at the first and the last hour of every band.

One series of a week, laid out so that promtool evaluates it once. Its clock starts on Thursday, 1970-01-01, 00:00 UTC.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from quell.incidents.hours import HOURS, HourBand, hours_of_week
from quell.incidents.series import FloatArray
from quell.incidents.signal import Signal
from quell.prevention.limits import Level, Limits
from quell.prevention.rule_cases import STAND_IN, Case, beyond, firing_test

SHORTEST_STEP = timedelta(minutes=5)  # a week is evaluated: at a finer step promtool would take too long
CLOCK_BEGINS = int(hours_of_week(np.array([0.0]))[0])
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCase:
    """A case whose first value comes in this slot of the series."""

    case: Case
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One side's limits in each hour of the week (168,), None where a rule has none there."""

    name: str
    sign: float
    limit: FloatArray | None
    former: FloatArray | None
    bands: tuple[HourBand, ...]

    def is_even(self, hour: int, needed: int) -> bool:
        """Whether the limits stay as they are for so many hours from this one of the clock on."""
        if hour + needed > HOURS:
            return False
        hours = (np.arange(hour, hour + needed) + CLOCK_BEGINS) % HOURS
        return all(one is None or np.ptp(one[hours]) == 0.0 for one in (self.limit, self.former))


def hour_cases(signal: Signal, new: Limits, old: Limits | None, hold: timedelta) -> tuple[HourCase, ...]:
    """Both sides' cases, each side's by time. `differs` marks those that the old rule fails.

    Where three cases take longer than an hour, only hours that are followed by enough of their kind are tested.
    """
    step = max(signal.step, SHORTEST_STEP)
    samples = math.ceil(hold / step) + 1  # an alert fires with the last of these
    needed = math.ceil(3 * (samples + 1) * step / timedelta(hours=1))
    cases: list[HourCase] = []
    for side in _sides(new, old or Limits()):
        free = 0
        for hour in _probes(side):
            if hour >= free and side.is_even(hour, needed):
                cases += _cases_at(side, hour, samples, step, is_change=old is not None)
                free = hour + needed
    return tuple(cases)


def hour_tests(signal: Signal, cases: Sequence[HourCase], rule_file: str) -> dict[str, Any]:
    """The file for promtool: the cases of one side on one series."""
    step = max(signal.step, SHORTEST_STEP)
    milliseconds = f"{round(step / timedelta(milliseconds=1))}ms"
    weeks = [
        _week(signal, [one for one in cases if one.case.side == side], step, milliseconds)
        for side in dict.fromkeys(one.case.side for one in cases)
    ]
    return {"rule_files": [rule_file], "evaluation_interval": milliseconds, "tests": weeks}


def _week(signal: Signal, cases: Sequence[HourCase], step: timedelta, interval: str) -> dict[str, Any]:
    values: list[str] = []
    tests: list[dict[str, Any]] = []
    free = 0
    for one in cases:
        values += [f"_x{one.slot - free}"] if one.slot > free else []
        values += [f"{value:.12g}" for value in one.case.values]
        values.append("stale")  # the last value must not last for the five minutes that Prometheus looks back
        free = one.slot + len(one.case.values) + 1
        tests.append(firing_test(signal, one.case, (free - 2) * step))
    return {
        "name": "; ".join(one.case.name for one in cases),
        "interval": interval,
        "input_series": [{"series": STAND_IN, "values": " ".join(values)}],
        "promql_expr_test": tests,
    }


def _sides(new: Limits, old: Limits) -> Iterator[_Side]:
    for name, sign, limit, former, bands in (
        ("high", 1.0, new.upper_level, old.upper_level, (*new.upper_by_hour, *old.upper_by_hour)),
        ("low", -1.0, new.lower_level, old.lower_level, (*new.lower_by_hour, *old.lower_by_hour)),
    ):
        yield _Side(name=name, sign=sign, limit=_by_hour(limit), former=_by_hour(former), bands=bands)


def _by_hour(level: Level | None) -> FloatArray | None:
    return None if level is None else np.broadcast_to(np.asarray(level, dtype=np.float64), (HOURS,))


def _probes(side: _Side) -> list[int]:
    """The hours to test, from the clock's start on: the first and the last of each band, or the very first."""
    chosen = {0}
    for band in side.bands:
        for day in (band.days[0], band.days[-1]):
            chosen |= {(24 * day + hour - CLOCK_BEGINS) % HOURS for hour in (band.start, band.end - 1)}
    return sorted(chosen)


def _cases_at(side: _Side, hour: int, samples: int, step: timedelta, *, is_change: bool) -> list[HourCase]:
    of_week = (hour + CLOCK_BEGINS) % HOURS
    limit = None if side.limit is None else float(side.limit[of_week])
    former = None if side.former is None else float(side.former[of_week])
    at = f"{_DAYS[of_week // 24]} {of_week % 24:02d}:00"
    first = math.ceil(hour * timedelta(hours=1) / step)
    found: list[Case] = []

    def add(name: str, value: float, count: int, *, is_firing: bool = False, differs: bool = False) -> None:
        values = (value,) * count
        found.append(
            Case(name=f"{side.name}, {at}: {name}", side=side.name, values=values, is_firing=is_firing, differs=differs)
        )

    if limit is None:
        if former is not None:
            add("the old limit is gone", beyond(former, side.sign), samples, differs=True)
    else:
        is_tighter = former is None or side.sign * limit < side.sign * former
        is_wider = former is not None and side.sign * former < side.sign * limit
        middle = (limit + former) / 2 if former is not None else limit
        over = middle if former is not None and is_tighter else beyond(limit, side.sign)
        add("beyond the limit it fires", over, samples, is_firing=True, differs=is_change and is_tighter)
        inside = middle if is_wider else beyond(limit, -side.sign)
        add("inside it stays silent", inside, samples, differs=is_wider)
        if samples > 1 and not hour:
            add("a shorter breach stays silent", over, samples - 1)
    return [HourCase(case=case, slot=first + number * (samples + 1)) for number, case in enumerate(found)]
