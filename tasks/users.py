"""Users: whether they are well, by the signal that the containment's playbook judges recovery by."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident
from quell.incidents.mitigation import Recovery
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal, SignalKind
from quell.incidents.threshold import ThresholdState
from quell.response.playbook import RecoveryRule
from quell.response.recovery import Judgement, judge
from tasks.resources import Resources

_POLL_SECONDS = 1.0
_HOLD = timedelta(seconds=10)
_DEADLINE = timedelta(seconds=90)


def watch_users(
    res: Resources, incident: Incident, since: datetime, *, sleep: Callable[[float], None] = time.sleep
) -> Judgement:
    """Look until the users' signal has held inside its limit since then, or the deadline has passed."""
    rule = recovery_rule(res, incident)
    signal = res.config.signals.get(rule.signal) if rule else None
    if rule is None or signal is None:
        return Judgement(recovery=Recovery.INCONCLUSIVE, reason="no user-facing signal is configured to judge by")
    rule = replace(rule, preventive=True, hold=min(rule.hold, _HOLD), deadline=_DEADLINE)
    while True:
        now = res.clock()
        matrix = _fetch(res, signal, since - timedelta(minutes=1), now)
        judgement = judge(rule, matrix, limit=rule.below, unit=signal.unit, step=signal.step, applied_at=since, now=now)
        if judgement.recovery is not None:
            return judgement
        sleep(_POLL_SECONDS)


def recovery_rule(res: Resources, incident: Incident) -> RecoveryRule | None:
    """The rule of the playbook that contained the incident, else the first user-facing error signal with a limit."""
    with res.store.reading() as tx:
        used = tx.mitigations.find({"incident": incident.id})
        active = {v.signal: v.upper_at(res.clock()) for v in tx.thresholds.find({"state": ThresholdState.ACTIVE})}
    books = [res.config.playbooks[m.playbook] for m in reversed(used) if m.playbook in res.config.playbooks]
    for book in (*books, *res.config.playbooks.values()):
        below = book.recovery.below if book.recovery.below is not None else active.get(book.recovery.signal)
        if below is not None:
            return replace(book.recovery, below=below)
    for signal in res.config.signals.values():
        limit = active.get(signal.name)
        if signal.is_user_facing and signal.kind is SignalKind.ERROR_RATIO and limit is not None:
            return RecoveryRule(signal=signal.name, below=limit)
    return None


def _fetch(res: Resources, signal: Signal, start: datetime, now: datetime) -> SeriesMatrix:
    steps = (now - start) // signal.step
    try:
        return res.metrics.range(signal.query, start=now - steps * signal.step, end=now, step=signal.step)
    except QuellError:  # no samples prove nothing: the judgement says so
        return SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
