"""A watch: what a limit would have alerted since it was proposed, beside what was predicted of it.

A limit in shadow only records; one in force is recorded on, so that its page shows whether the prediction held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from quell.incidents.labels import format_labels
from quell.incidents.series import SeriesMatrix
from quell.prevention.backtest import Trouble, alarms_of
from quell.prevention.history import WEEK, Rate, alarm_rate, span_in_words
from quell.prevention.limits import Limits
from quell.prevention.prediction import WITHIN

WATCH = "threshold-watch"  # the kind of the stored record
MOST_KEPT = 500  # alarms that a record lists; all are counted
MOST_OLDER = 10_000  # false alarms before those of which it knows the time, so that an incident found later clears them


def watch_id(threshold: str) -> str:
    """Where a limit's record is stored."""
    return f"{WATCH}:{threshold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One alarm that the limit would have raised; `incident` is the one it fell into, empty for a false one."""

    at: datetime
    series: str
    worst: float
    incident: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRecord:
    """From `since` to `until`; `weeks` are those with samples of the signal.

    `alarms` lists the last ones; `older` holds when the false ones before them began, epoch seconds.
    """

    since: datetime
    until: datetime
    weeks: float = 0.0
    count: int = 0
    false: int = 0
    alarms: tuple[Recorded, ...] = ()
    older: tuple[float, ...] = ()

    @property
    def rate(self) -> Rate:
        return alarm_rate(self.count, self.weeks)


def extend_watch(
    record: WatchRecord,
    matrix: SeriesMatrix,
    limits: Limits,
    *,
    steps: int,
    troubles: Sequence[Trouble] = (),
) -> WatchRecord:
    """The record with the alarms that began after its end.

    `matrix` begins `steps` samples or more before the record's end, so that an alarm that went on over it is known
    for the old one. An incident that is only known by now takes the earlier alarms in it out of the false ones.
    """
    times = matrix.timestamps
    fresh = times > record.until.timestamp()
    if not fresh.any():
        return record
    earlier = [a if a.incident else replace(a, incident=_incident_at(a.at, troubles)) for a in record.alarms]
    older = [at for at in record.older if not _incident_at(datetime.fromtimestamp(at, UTC), troubles)]
    cleared = sum(bool(a.incident) for a in earlier) - sum(bool(a.incident) for a in record.alarms)
    cleared += len(record.older) - len(older)
    found = [
        _recorded(alarm.at, format_labels(matrix.labels[alarm.series]), alarm.worst, troubles)
        for alarm in alarms_of(matrix, limits, steps)
        if alarm.at > record.until.timestamp()
    ]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    known = np.isfinite(matrix.values[fresh]).any(axis=1)
    listed = [*earlier, *found]
    older += [alarm.at.timestamp() for alarm in listed[:-MOST_KEPT] if not alarm.incident]
    return replace(
        record,
        until=datetime.fromtimestamp(float(times[-1]), UTC),
        weeks=record.weeks + float(np.count_nonzero(known)) * step / WEEK.total_seconds(),
        count=record.count + len(found),
        false=record.false - cleared + sum(not alarm.incident for alarm in found),
        alarms=tuple(listed[-MOST_KEPT:]),
        older=tuple(older[-MOST_OLDER:]),
    )


def _recorded(at: float, series: str, worst: float, troubles: Sequence[Trouble]) -> Recorded:
    moment = datetime.fromtimestamp(at, UTC)
    return Recorded(at=moment, series=series, worst=worst, incident=_incident_at(moment, troubles))


def _incident_at(moment: datetime, troubles: Sequence[Trouble]) -> str:
    return next((t.incident for t in troubles if t.period[0] <= moment <= t.period[1]), "")


def compare_in_words(predicted: Mapping[str, float], record: WatchRecord | None) -> str:
    """Predicted against seen, and whether that holds; says so where too little was seen to tell.

    >>> now = datetime(2026, 11, 2, tzinfo=UTC)
    >>> seen = WatchRecord(since=now, until=now, weeks=4.0, count=42)
    >>> compare_in_words({"per_week": 10.0, "low": 7.0, "high": 14.0}, seen)
    'predicted 10 alerts per week (7 to 14), seen 10.5 (42 in 4 weeks): within 25 %'
    """
    said = "nothing was predicted"
    if "per_week" in predicted:
        word = "predicted" if predicted.get("is_told", 1.0) else "from too short a history"
        told = f"{predicted['per_week']:.3g}"
        said = f"{word} {told} alert{'' if told == '1' else 's'} per week"
        if "high" in predicted:
            said += f" ({predicted.get('low', 0.0):.2g} to {predicted['high']:.2g})"
    if record is None or not record.weeks:
        return f"{said}, not watched yet"
    if record.weeks < 1.0:
        return f"{said}, seen {record.count} in {span_in_words(record.weeks)}: {_early(predicted, record)}"
    seen = f"{said}, seen {record.rate.per_week:.3g} ({record.count} in {span_in_words(record.weeks)})"
    return f"{seen}: {_verdict(predicted, record)}" if "per_week" in predicted else seen


def _early(predicted: Mapping[str, float], record: WatchRecord) -> str:
    if "high" in predicted and record.rate.low > predicted["high"]:
        return "already more than predicted"
    return "too short to compare"


def _verdict(predicted: Mapping[str, float], record: WatchRecord) -> str:
    """Outside only where chance does not explain it: the seen rate's own interval has to miss the predicted one."""
    rate, expected = record.rate, predicted["per_week"]
    if abs(rate.per_week - expected) <= WITHIN * expected:
        return f"within {WITHIN * 100:.0f} %"
    if rate.low > predicted.get("high", float("inf")):
        return "more than predicted"
    if rate.high < predicted.get("low", 0.0):
        return "fewer than predicted"
    return f"off by more than {WITHIN * 100:.0f} %, which chance explains"


def to_body(record: WatchRecord) -> dict[str, Any]:
    """The record as JSON holds it."""
    return {
        "since": record.since.isoformat(),
        "until": record.until.isoformat(),
        "weeks": record.weeks,
        "count": record.count,
        "false": record.false,
        "alarms": [
            {"at": a.at.isoformat(), "series": a.series, "worst": a.worst, "incident": a.incident}
            for a in record.alarms
        ],
        "older": list(record.older),
    }


def from_body(body: Mapping[str, Any]) -> WatchRecord:
    alarms = tuple(
        Recorded(at=datetime.fromisoformat(a["at"]), series=a["series"], worst=a["worst"], incident=a["incident"])
        for a in body["alarms"]
    )
    return WatchRecord(
        since=datetime.fromisoformat(body["since"]),
        until=datetime.fromisoformat(body["until"]),
        weeks=body["weeks"],
        count=body["count"],
        false=body["false"],
        alarms=alarms,
        older=tuple(body.get("older", ())),  # records of before it do not have it
    )
