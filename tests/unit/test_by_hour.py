"""Limits by hour of the week: found where hours differ, taken only where the history shows that they serve better."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.hours import HOURS, HourBand, hours_of_week, limit_at, limit_by_hour
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Trouble, alarms_of, backtest_limits
from quell.prevention.by_hour import try_by_hour
from quell.prevention.hour_bands import find_bands
from quell.prevention.limits import Limits, limits_in_words
from quell.prevention.recomputation import recompute_limits
from quell.prevention.threshold import Budget
from quell.prevention.watch import WatchRecord, extend_watch

pytestmark = pytest.mark.unit

START = datetime(2026, 10, 5, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)
WEEKS = 8
BUDGET = Budget(alarms_per_week=1.0, hold=2 * MINUTE)
TRAFFIC = Signal(name="t", query="q", kind=SignalKind.OTHER, direction=Direction.HIGH, unit="", step=MINUTE)
WORK = HourBand(days=(0, 1, 2, 3, 4), start=8, end=18, limit=50.0)
NIGHT = HourBand(days=(0, 1, 2, 3, 4), start=18, end=8, limit=20.0)
WEEKEND = HourBand(days=(5, 6), start=0, end=24, limit=15.0)


def minutes(weeks: int = WEEKS) -> FloatArray:
    return START.timestamp() + 60.0 * np.arange(weeks * 7 * 1440)


def matrix(values: FloatArray) -> SeriesMatrix:
    times = START.timestamp() + 60.0 * np.arange(len(values))
    return SeriesMatrix(timestamps=times, values=values.reshape(len(values), -1), labels=({},))


def office_hours(weeks: int = WEEKS, *, height: float = 30.0) -> FloatArray:
    """Noise about 10, and `height` more in the working hours."""
    times = minutes(weeks)
    noise = np.random.default_rng(7).normal(0.0, 1.0, len(times))
    return 10.0 + noise + height * np.isin(hours_of_week(times), WORK.hours)


def nightly_incidents(values: FloatArray) -> tuple[Trouble, ...]:
    """Ten minutes at 25 at three o'clock on Tuesdays and Thursdays: too little for the working hours' limit."""
    found: list[Trouble] = []
    for week in range(len(values) // (7 * 1440)):
        for day in (1, 3):
            first = (week * 7 + day) * 1440 + 180
            values[first : first + 10] = 25.0
            start = START + first * MINUTE
            found.append(Trouble(incident=f"INC-{len(found)}", start=start, end=start + 9 * MINUTE))
    return tuple(found)


def test_hours_of_the_week_are_utc_and_begin_on_monday() -> None:
    random = np.random.default_rng(3)
    times = random.uniform(0, 2_000_000_000, 500)
    moments = [datetime.fromtimestamp(at, UTC) for at in times.tolist()]
    assert hours_of_week(times).tolist() == [24 * m.weekday() + m.hour for m in moments]


def test_bands_must_hold_every_hour_once() -> None:
    assert limit_by_hour((WORK, NIGHT, WEEKEND)).shape == (HOURS,)
    with pytest.raises(ValueError, match="each of the 168 hours of the week once, hold 120"):
        limit_by_hour((WORK, NIGHT))
    with pytest.raises(ValueError, match="hold 218"):
        limit_by_hour((WORK, NIGHT, WEEKEND, WORK))


def test_the_limit_at_a_moment_is_that_of_its_hour() -> None:
    bands = (WORK, NIGHT, WEEKEND)
    assert limit_at(bands, START + timedelta(hours=7, minutes=59)) == 20.0
    assert limit_at(bands, START + timedelta(hours=8)) == 50.0
    assert limit_at(bands, START + timedelta(days=4, hours=18)) == 20.0
    assert limit_at(bands, START + timedelta(days=5)) == 15.0
    assert limit_at((), START) is None


def test_bands_are_those_in_which_the_history_was_made() -> None:
    times, values = minutes(4), office_hours(4)
    assert [band.when for band in find_bands(times, values[:, np.newaxis])] == [
        "Mon-Fri 08-18", "Mon-Fri 18-08", "Sat, Sun",
    ]  # fmt: skip
    late = 10.0 + np.random.default_rng(1).normal(0, 1, len(times)) + 20.0 * (hours_of_week(times) % 24 >= 22)
    assert [band.when for band in find_bands(times, late[:, np.newaxis])] == ["every day 00-22", "every day 22-24"]


def test_hours_that_are_alike_are_one_band_and_hours_never_seen_are_none() -> None:
    times = minutes(4)
    noise = np.random.default_rng(5).normal(10.0, 1.0, len(times))[:, np.newaxis]
    assert [band.when for band in find_bands(times, noise)] == ["every day"]
    assert [band.when for band in find_bands(times, np.ones_like(noise))] == ["every day"]
    assert find_bands(times[: 6 * 1440], noise[: 6 * 1440]) == ()


def test_incidents_that_one_limit_misses_are_caught_with_no_more_false_alarms() -> None:
    values = office_hours()
    troubles = nightly_incidents(values)
    found = recompute_limits(TRAFFIC, matrix(values), BUDGET, troubles=troubles, old=Limits(upper=45.0))
    assert found.old is not None and found.old.caught == 0
    assert found.new.caught == len(troubles) == 16 and found.new.rate.high <= BUDGET.alarms_per_week
    by_hour = found.limits.upper_by_hour
    assert [band.when for band in by_hour] == ["Mon-Fri 08-18", "Mon-Fri 18-08", "Sat, Sun"]
    assert found.limits.upper == by_hour[0].limit > 40.0 and by_hour[1].limit < 20.0
    assert "8 of 8 incidents are caught earlier and 0 later" in found.proposal.reasons[-1]
    assert "Mon-Fri 08-18, " in limits_in_words("", found.limits)


def test_low_traffic_by_day_is_seen_though_the_nights_are_lower() -> None:
    """One lower limit for all hours would have to lie below the nights."""
    values = office_hours()
    troubles: list[Trouble] = []
    for week in range(WEEKS):
        for day in (0, 2):
            first = (week * 7 + day) * 1440 + 600
            values[first : first + 20] = 20.0
            start = START + first * MINUTE
            troubles.append(Trouble(incident=f"INC-{len(troubles)}", start=start, end=start + 19 * MINUTE))
    signal = Signal(name="t", query="q", kind=SignalKind.TRAFFIC, direction=Direction.LOW, unit="", step=MINUTE)
    found = recompute_limits(signal, matrix(values), BUDGET, troubles=troubles)
    assert found.new.caught == 16 and found.limits.lower == min(b.limit for b in found.limits.lower_by_hour) < 10.0


@pytest.mark.parametrize(
    ("values", "with_incidents", "why"),
    [
        (office_hours(3), True, "history of 3 weeks is too short, needs 4"),
        (office_hours(), False, "0 incidents and 0 false alarms in its second half cannot show more"),
        (office_hours(height=0.0), True, "all hours are alike"),
    ],
)
def test_one_limit_stays_where_nothing_shows_that_hours_serve_better(
    values: FloatArray, with_incidents: bool, why: str
) -> None:
    troubles = nightly_incidents(values) if with_incidents else ()
    trial = try_by_hour(TRAFFIC, matrix(values), BUDGET, troubles)
    assert not trial.is_better and why in trial.reason
    found = recompute_limits(TRAFFIC, matrix(values), BUDGET, troubles=troubles)
    assert not found.limits.is_by_hour and found.proposal.reasons[-1] == trial.reason


def test_hours_that_do_not_come_back_are_not_learned() -> None:
    """Working hours that move after a month: what the first half teaches alarms all through the second."""
    values = office_hours()
    half = len(values) // 2
    values[half:] = np.roll(values[half:], 12 * 60)
    troubles = nightly_incidents(values)
    assert not try_by_hour(TRAFFIC, matrix(values), BUDGET, troubles).is_better


def test_a_few_lucky_incidents_prove_nothing() -> None:
    """Four caught earlier and none later comes by chance in 1 of 16 cases."""
    values = office_hours()
    troubles = nightly_incidents(values)
    trial = try_by_hour(TRAFFIC, matrix(values), BUDGET, (*troubles[:8], *troubles[12:]))
    assert not trial.is_better and "4 incidents and 0 false alarms" in trial.reason


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_alarms_by_hour_are_those_of_a_plain_count(steps: int) -> None:
    """Sample by sample against its own hour's limit, across the change from one hour to the next."""
    random = np.random.default_rng(steps)
    values = random.uniform(0.0, 60.0, 14 * 1440)
    values = np.repeat(values[::6], 6)
    values[random.random(len(values)) < 0.02] = np.nan
    limits = Limits(upper=50.0, upper_by_hour=(WORK, NIGHT, WEEKEND))
    levels, run, plain = limit_by_hour(limits.upper_by_hour), 0, []
    for at, value in zip(minutes(2).tolist(), values.tolist(), strict=True):
        moment = datetime.fromtimestamp(at, UTC)
        run = run + 1 if value > levels[24 * moment.weekday() + moment.hour] else 0
        if run == steps:
            plain.append(at)
    alarms = alarms_of(matrix(values), limits, steps)
    assert [alarm.at for alarm in alarms] == plain
    assert all(alarm.worst > 15.0 for alarm in alarms)


def test_a_watch_counts_by_hour_what_the_backtest_counts() -> None:
    values = office_hours(2)
    for hour in (3, 12, 24 * 5 + 3, 24 * 7 + 3, 24 * 9 + 12):
        values[60 * hour + 5 : 60 * hour + 10] = 45.0
    limits = Limits(upper=50.0, upper_by_hour=(WORK, NIGHT, WEEKEND))
    whole = matrix(values)
    record = WatchRecord(since=START, until=START)
    for end in range(1440, len(values) + 1, 1440):
        rows = slice(max(0, end - 1443), end)
        part = SeriesMatrix(timestamps=whole.timestamps[rows], values=whole.values[rows], labels=whole.labels)
        record = extend_watch(record, part, limits, steps=3)
    assert record.count == backtest_limits(whole, limits, steps=3, troubles=()).rate.count == 3
