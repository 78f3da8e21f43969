"""When sweeps are well, when they are not, and what is said of a signal that is gone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.detection.episode import Finding
from quell.detection.health import (
    LastSweep,
    budget,
    gather_vanished,
    is_vanished,
    judge_sweeps,
    read_last_sweep,
)
from quell.detection.judged import CODE, Judged
from quell.incidents.verdict import VerdictKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
LONG_AGO = NOW - timedelta(days=1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def sweep(*, age: float = 10, lag: float = 2) -> LastSweep:
    finished = NOW - seconds(age)
    return LastSweep(
        at=finished - seconds(lag),
        finished_at=finished,
        seconds=1.5,
        signals=3,
        series=40,
        verdicts={"normal": 40},
        failed=0,
        vanished=(),
    )


def judge(last: LastSweep | None, since: datetime = LONG_AGO) -> Finding | None:
    return judge_sweeps(last, now=NOW, interval=INTERVAL, watching_since=since)


def test_two_missed_sweeps_are_no_alarm_and_three_are() -> None:
    assert judge(sweep(age=89)) is None
    found = judge(sweep(age=95))
    assert found is not None
    assert found.labels == {"alertname": "SweepsStopped", "service": "quell", "severity": "critical"}
    assert found.annotations["reason"] == (
        "no sweep has finished for 95 s, one is due every 30 s; the last one judged 2026-11-23 11:58:23 UTC"
    )
    assert found.since == NOW - seconds(95)


def test_a_watcher_that_just_began_waits_before_it_complains() -> None:
    assert judge(sweep(age=7200), since=NOW - seconds(80)) is None
    assert judge(None, since=NOW - seconds(80)) is None
    found = judge(None, since=NOW - seconds(100))
    assert found is not None and found.annotations["reason"].endswith("none was ever seen")


def test_sweeps_that_run_but_lag_are_an_alarm_too() -> None:
    assert judge(sweep(lag=89)) is None
    found = judge(sweep(lag=95))
    assert found is not None
    assert found.annotations["reason"] == (
        "verdicts come 95 s after the moment they judge, the limit is 90 s: 40 series took 1.5 s"
    )


def test_the_budget_ends_before_the_flow_is_ended() -> None:
    assert budget(INTERVAL) == seconds(90)
    assert budget(timedelta(minutes=5)) == seconds(240)


def test_a_sweep_of_an_older_version_can_be_read() -> None:
    body = {"at": NOW.isoformat(), "signals": 1, "series": 2, "verdicts": {"normal": 2}, "seconds": 0.5}
    read = read_last_sweep(body, NOW + seconds(3))
    assert (read.lag, read.failed, read.vanished) == (seconds(3), 0, ())


def judged(*kinds: VerdictKind, known: bool = True) -> Judged:
    count = len(kinds)
    some = np.ones(count)
    return Judged(
        signal="s", at=NOW, baseline="b", labels=({},) * count, prints=np.arange(count, dtype=np.uint64),
        kind=np.array([CODE[kind] for kind in kinds], dtype=np.int64), known=np.full(count, known),
        value=some, expected=some, lower=some, upper=some, score=some, samples=np.ones(count, dtype=np.int64),
        since=some, why=lambda _: "",
    )  # fmt: skip


def test_a_signal_is_gone_when_every_known_series_is() -> None:
    assert is_vanished(judged(VerdictKind.NO_DATA, VerdictKind.STALE))
    assert not is_vanished(judged(VerdictKind.NO_DATA, VerdictKind.NORMAL))
    assert not is_vanished(judged(VerdictKind.NO_DATA, known=False))  # nobody ever saw it: nothing vanished
    assert not is_vanished(judged())


def test_a_vanished_signal_is_one_alert_with_what_its_series_share() -> None:
    def finding(instance: str, at: datetime) -> Finding:
        labels = {"alertname": "Anomaly", "service": "checkout", "instance": instance, "severity": "minor"}
        return Finding(key=f"s:{instance}", labels=labels, annotations={}, since=at)

    found = gather_vanished("s", [finding("a", NOW), finding("b", NOW - seconds(5))])
    assert found.labels == {
        "alertname": "SignalVanished",
        "signal": "s",
        "service": "checkout",
        "severity": "major",
    }
    assert found.annotations["summary"].startswith("all 2 series of s stopped")
    assert found.since == NOW - seconds(5)
