"""A watched limit: what it would have alerted is recorded once, and held against what was predicted."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.series import SeriesMatrix
from quell.prevention.backtest import Trouble
from quell.prevention.limits import Limits
from quell.prevention.watch import MOST_KEPT, WatchRecord, compare_in_words, extend_watch, from_body, to_body

pytestmark = pytest.mark.unit

START = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMIT = Limits(upper=5.0)
WHOLE = np.ones(400)
for _start, _end in ((50, 60), (118, 130), (199, 203), (300, 302), (350, 360)):  # the fourth one is too short
    WHOLE[_start:_end] = 9.0


def part(start: int, end: int) -> SeriesMatrix:
    times = START.timestamp() + 60.0 * np.arange(start, end)
    return SeriesMatrix(timestamps=times, values=WHOLE[start:end, np.newaxis], labels=({"instance": "a"},))


def minutes(record: WatchRecord) -> list[int]:
    return [round((alarm.at - START) / MINUTE) for alarm in record.alarms]


def begun() -> WatchRecord:
    return WatchRecord(since=START, until=START)


@pytest.mark.parametrize("every", [1, 3, 7, 60, 399])
def test_a_record_made_in_pieces_is_the_one_made_at_once(every: int) -> None:
    """Watches come when they come: an alarm that goes on over one is neither lost nor counted twice."""
    record, row = begun(), 0
    while row < 399:
        row = min(row + every, 399)
        begins = max(round((record.until - START) / MINUTE) - 3, 0)
        record = extend_watch(record, part(begins, row + 1), LIMIT, steps=3)
    assert minutes(record) == [52, 120, 201, 352] and (record.count, record.false) == (4, 4)
    assert record.weeks == pytest.approx(399 / 10080)
    assert from_body(to_body(record)) == record


def test_nothing_new_changes_nothing() -> None:
    record = extend_watch(begun(), part(0, 100), LIMIT, steps=3)
    assert extend_watch(record, part(0, 100), LIMIT, steps=3) == record
    assert extend_watch(record, part(0, 0), LIMIT, steps=3) == record


def test_an_incident_known_later_takes_its_alarms_out_of_the_false_ones() -> None:
    record = extend_watch(begun(), part(0, 150), LIMIT, steps=3)
    assert record.false == 2
    trouble = Trouble(incident="INC-7", start=START + 115 * MINUTE, end=START + 140 * MINUTE)
    record = extend_watch(record, part(140, 250), LIMIT, steps=3, troubles=[trouble])
    assert [alarm.incident for alarm in record.alarms] == ["", "INC-7", ""] and record.false == 2 and record.count == 3


def test_times_without_samples_are_not_watched() -> None:
    empty = part(0, 200)
    empty.values[100:] = np.nan
    assert extend_watch(begun(), empty, LIMIT, steps=3).weeks == pytest.approx(99 / 10080)


PREDICTED = {"per_week": 10.0, "low": 7.0, "high": 14.0}


@pytest.mark.parametrize(
    ("count", "weeks", "said"),
    [
        (0, 0.0, "not watched yet"),
        (1, 0.5, "seen 1 in 3.5 days: too short to compare"),
        (30, 0.5, "already more than predicted"),
        (42, 4.0, "within 25 %"),
        (14, 1.0, "off by more than 25 %, which chance explains"),
        (90, 4.0, "seen 22.5 (90 in 4 weeks): more than predicted"),
        (5, 4.0, "fewer than predicted"),
    ],
)
def test_predicted_and_seen_in_words(count: int, weeks: float, said: str) -> None:
    assert said in compare_in_words(PREDICTED, WatchRecord(since=START, until=START, weeks=weeks, count=count))


def test_without_a_prediction_only_what_was_seen_is_said() -> None:
    seen = compare_in_words({}, WatchRecord(since=START, until=START, weeks=2.0, count=4))
    assert seen == "nothing was predicted, seen 2 (4 in 2 weeks)"


def test_what_a_short_history_showed_is_not_called_a_prediction() -> None:
    said = compare_in_words(PREDICTED | {"is_told": 0.0}, None)
    assert said == "from too short a history 10 alerts per week (7 to 14), not watched yet"


def test_an_incident_known_after_the_list_was_full_still_clears_its_alarms() -> None:
    """The record lists the last 500 alarms; the times of the false ones before them are kept beside it."""
    record, rows = begun(), 4 * (MOST_KEPT + 60)
    values = np.ones(rows)
    values[1::4] = 9.0
    times = START.timestamp() + 60.0 * np.arange(rows)
    whole = SeriesMatrix(timestamps=times, values=values[:, np.newaxis], labels=({"instance": "a"},))
    record = extend_watch(record, whole, LIMIT, steps=1)
    assert (record.count, record.false) == (MOST_KEPT + 60, MOST_KEPT + 60)
    assert len(record.alarms) == MOST_KEPT and len(record.older) == 60
    record = from_body(to_body(record))
    early = Trouble(incident="INC-3", start=START, end=START + 39 * MINUTE)  # ten alarms, all before the list
    after = SeriesMatrix(timestamps=times[-1:] + 60.0, values=np.ones((1, 1)), labels=({"instance": "a"},))
    record = extend_watch(record, after, LIMIT, steps=1, troubles=[early])
    assert (record.count, record.false, len(record.older)) == (MOST_KEPT + 60, MOST_KEPT + 50, 50)
    again = SeriesMatrix(timestamps=after.timestamps + 60.0, values=after.values, labels=after.labels)
    assert extend_watch(record, again, LIMIT, steps=1, troubles=[early]).false == MOST_KEPT + 50


def test_a_record_from_before_the_times_were_kept_is_read() -> None:
    body = to_body(begun())
    del body["older"]
    assert from_body(body) == begun()
