"""The sweep's own health: when it last finished, how late it is, and when somebody must hear that it stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from quell.detection.episode import Finding
from quell.detection.judged import Judged
from quell.incidents.incident import Severity
from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY, SIGNAL
from quell.incidents.verdict import VerdictKind

LAST_SWEEP = "sweep:last"  # the document that holds the latest sweep's figures
STOPPED = "sweep:stopped"  # the document of the episode in which sweeps are stopped
SWEEPS_STOPPED = "SweepsStopped"
SIGNAL_VANISHED = "SignalVanished"
OWN_SERVICE = "quell"
MISSED_INTERVALS = 3  # one may be skipped by a busy worker, and a second by bad luck
LONGEST_BUDGET = timedelta(seconds=240)  # the flow itself is ended after 300 s, and its end must still be recorded
_MISSING = (VerdictKind.NO_DATA, VerdictKind.STALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSweep:
    """`at` is the moment that the sweep judged, `finished_at` when its verdicts were there."""

    at: datetime
    finished_at: datetime
    seconds: float
    signals: int
    series: int
    verdicts: Mapping[str, int]
    failed: int
    vanished: Sequence[str]
    partial: Sequence[str] = ()  # signals that the server answered only in part
    spent: Mapping[str, float] = field(default_factory=dict[str, float])  # seconds by stage

    @property
    def lag(self) -> timedelta:
        """How old the judged moment was when its verdicts were there."""
        return max(self.finished_at - self.at, timedelta(0))


def read_last_sweep(body: Mapping[str, Any], finished_at: datetime) -> LastSweep:
    """The sweep as its document tells it; what an older version did not write is empty."""
    return LastSweep(
        at=datetime.fromisoformat(body["at"]),
        finished_at=finished_at,
        seconds=float(body["seconds"]),
        signals=int(body["signals"]),
        series=int(body["series"]),
        verdicts={str(kind): int(count) for kind, count in body["verdicts"].items()},
        failed=len(body.get("errors", {})),
        vanished=tuple(body.get("vanished", ())),
        partial=tuple(body.get("partial", ())),
        spent={str(stage): float(seconds) for stage, seconds in body.get("spent", {}).items()},
    )


def judge_sweeps(
    last: LastSweep | None, *, now: datetime, interval: timedelta, watching_since: datetime
) -> Finding | None:
    """What somebody must hear of the sweeps, None when they are well.

    They have stopped when none finished for three intervals of watching, and lag when the moment that the latest one
    judged was older than that. A watcher that has just begun gives them that long to appear.
    """
    limit = MISSED_INTERVALS * interval
    seen = max(last.finished_at, watching_since) if last else watching_since
    silence = now - seen
    if silence > limit:
        before = f"the last one judged {last.at:%Y-%m-%d %H:%M:%S} UTC" if last else "none was ever seen"
        reason = f"no sweep has finished for {_seconds(silence)}, one is due every {_seconds(interval)}; {before}"
        return _finding(reason, since=seen)
    if last is not None and last.finished_at >= watching_since and last.lag > limit:
        reason = (
            f"verdicts come {_seconds(last.lag)} after the moment they judge, the limit is {_seconds(limit)}: "
            f"{last.series} series took {last.seconds:.1f} s"
        )
        return _finding(reason, since=last.at)
    return None


def _finding(reason: str, *, since: datetime) -> Finding:
    return Finding(
        key=STOPPED,
        labels={ALERTNAME: SWEEPS_STOPPED, SERVICE: OWN_SERVICE, SEVERITY: Severity.CRITICAL},
        annotations={"summary": f"nobody watches the signals: {reason}", "reason": reason},
        since=since,
    )


def budget(interval: timedelta) -> timedelta:
    """How long one sweep may ask before it leaves the rest to the next one."""
    return min(MISSED_INTERVALS * interval, LONGEST_BUDGET)


def is_vanished(judged: Judged) -> bool:
    """Whether a signal that was known is gone as a whole: its query returns nothing any more."""
    return bool(judged.known.any() and judged.has_kind(_MISSING).all())


def gather_vanished(signal: str, findings: Sequence[Finding]) -> Finding:
    """One finding for a signal whose series all went missing at once: a thousand alerts would say no more."""
    first = min(findings, key=lambda finding: finding.since)
    labels = {
        name: text
        for name, text in first.labels.items()
        if name != INSTANCE and all(finding.labels.get(name) == text for finding in findings)
    }
    reason = f"all {len(findings)} series of {signal} stopped: the query, the exporter or what it measures is gone"
    return Finding(
        key=vanished_key(signal),
        labels=labels | {ALERTNAME: SIGNAL_VANISHED, SIGNAL: signal, SEVERITY: Severity.MAJOR},
        annotations={"summary": reason, "reason": reason, "kind": VerdictKind.NO_DATA},
        since=first.since,
    )


def vanished_key(signal: str) -> str:
    """The key of the episode in which the whole signal is gone."""
    return f"{signal}:vanished"


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
