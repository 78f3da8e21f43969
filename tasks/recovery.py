"""Recovery: watch the users' signal after an effect until it can be judged."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from quell.config.query import window_of
from quell.incidents.chart import signal_chart, svg_data_url
from quell.incidents.errors import QuellError
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdState
from quell.response.false_isolation import users_not_helped
from quell.response.peers import recovered_alike
from quell.response.playbook import Playbook
from quell.response.recovery import Judgement, inconclusive_at_deadline, judge, worst_series
from tasks.false_isolation import find_false_isolation
from tasks.lease import LEASE_TIME
from tasks.peers import own_part, peer_series
from tasks.record import QUELL, get_mitigation, move, note
from tasks.resources import Resources

_LOOK_BACK = timedelta(minutes=2)
_HISTORY = timedelta(hours=1)
_HISTORY_SAMPLES = 30
_POLL_SECONDS = 1.0
_STATE_OF = {
    Recovery.EFFECTIVE: MitigationState.EFFECTIVE,
    Recovery.INEFFECTIVE: MitigationState.INEFFECTIVE,
    Recovery.INCONCLUSIVE: MitigationState.INCONCLUSIVE,
}


def judge_recovery(res: Resources, mitigation_id: str, *, sleep: Callable[[float], None] = time.sleep) -> Mitigation:
    """Look again and again until the mitigation is judged, or somebody has moved it on; ends by its deadline."""
    while (mitigation := judge_once(res, mitigation_id, sleep=sleep)).state is MitigationState.APPLIED:
        sleep(_POLL_SECONDS)
    return mitigation


def judge_once(res: Resources, mitigation_id: str, *, sleep: Callable[[float], None] = time.sleep) -> Mitigation:
    """Judge what is applied by the signal as it is now; it stays applied while it is too early to tell.

    A healthy instance that was isolated is not waited for: where its probes are asked, that takes a second or so.
    """
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
    if mitigation.state is not MitigationState.APPLIED or mitigation.applied_at is None:
        return mitigation
    now = res.clock()
    if mitigation.applied_at > now:
        return _set_right(res, mitigation_id)
    verdict = _look(res, mitigation, mitigation.applied_at, now, sleep)
    with res.store.writing() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        if mitigation.state is not MitigationState.APPLIED:
            return mitigation
        if verdict.recovery is None:  # a fresh time tells reconciliation that somebody is judging
            if now - mitigation.updated_at > LEASE_TIME / 4:
                tx.mitigations.put(replace(mitigation, updated_at=now))
            return mitigation
        return move(tx, mitigation, _STATE_OF[verdict.recovery], now=now, by=QUELL, why=verdict.reason)


def _set_right(res: Resources, mitigation_id: str) -> Mitigation:
    """A clock that was wrong says that it was applied in the future; from now on its time counts from now."""
    with res.store.writing() as tx:
        now, mitigation = res.clock(), get_mitigation(tx, mitigation_id)
        if mitigation.state is MitigationState.APPLIED and mitigation.applied_at and mitigation.applied_at > now:
            ahead = (mitigation.applied_at - now).total_seconds()
            expires_at = now + mitigation.plan.expires_after
            mitigation = replace(mitigation, applied_at=now, updated_at=now, expires_at=expires_at)
            tx.mitigations.put(mitigation)
            text = f"it says that it was applied {ahead:.0f} s from now: a clock was wrong, it counts as applied now"
            note(tx, mitigation, "clock set right", now=now, by=QUELL, text=text)
    return mitigation


def _look(
    res: Resources, mitigation: Mitigation, applied_at: datetime, now: datetime, sleep: Callable[[float], None]
) -> Judgement:
    playbook = res.config.playbooks.get(mitigation.playbook)
    signal = res.config.signals.get(playbook.recovery.signal) if playbook else None
    if playbook is None or signal is None:
        reason = f"playbook {mitigation.playbook} or its recovery signal is not configured any more"
        return Judgement(recovery=Recovery.INCONCLUSIVE, reason=reason)
    rule, whole = playbook.recovery, fetch_signal(res, signal, applied_at - _LOOK_BACK, now)
    matrix = own_part(res, mitigation.service, whole)
    with res.store.reading() as tx:
        incident = tx.incidents.get(mitigation.incident) if mitigation.incident else None
    onset = incident.onset_at if incident else mitigation.created_at
    limit = limit_of(res, onset, playbook, signal, mitigation.service)
    verdict = judge(rule, matrix, limit=limit, unit=signal.unit, step=signal.step, applied_at=applied_at, now=now)
    times, worst = matrix.timestamps, worst_series(matrix)
    if verdict.recovery is Recovery.EFFECTIVE and limit is not None and not rule.preventive:
        peers = peer_series(res, mitigation, signal, whole, lambda one: _fetch_on(res, one, signal, whole))
        alike = recovered_alike(rule, times, worst, peers, limit=limit, now=now)
        return inconclusive_at_deadline(rule, applied_at, now, alike) if alike else verdict
    unhelped = users_not_helped(
        rule,
        times,
        worst,
        limit=limit,
        step=signal.step,
        applied_at=applied_at,
        now=now,
        window=window_of(signal.query),
        idle=_idle(res, mitigation, signal, whole, worst) if now - applied_at >= rule.hold else None,
    )
    mistaken = find_false_isolation(res, mitigation, unhelped, sleep=sleep)
    return Judgement(recovery=Recovery.INEFFECTIVE, reason=mistaken) if mistaken else verdict


def _idle(
    res: Resources, mitigation: Mitigation, signal: Signal, grid: SeriesMatrix, worst: FloatArray
) -> NDArray[np.bool_] | None:
    """When nobody asked for anything: every series is there and is 0/0, which PromQL knows by its not equalling itself.

    A series that is missing is not idle. Asked only where the signal has no value.
    """
    if not len(worst) or np.all(np.isfinite(worst)):
        return None
    asked = replace(signal, query=f"({signal.query}\n) != bool ({signal.query}\n)")  # it may end in a comment
    is_nothing = own_part(res, mitigation.service, _fetch_on(res, asked, signal, grid))
    if is_nothing.values.shape[0] != len(worst) or not is_nothing.values.shape[1]:
        return None
    return np.all(is_nothing.values == 1, axis=1)


def _fetch_on(res: Resources, other: Signal, signal: Signal, grid: SeriesMatrix) -> SeriesMatrix:
    """Another signal at exactly the times of the grid, which must not be empty."""
    start, end = (datetime.fromtimestamp(float(grid.timestamps[n]), UTC) for n in (0, -1))
    return fetch_signal(res, replace(other, step=signal.step), start, end)


def is_outside(res: Resources, playbook: Playbook, onset: datetime) -> bool | None:
    """Whether the users' signal by which the playbook is judged is outside its limit now; None without samples.

    Asked once and not waited for: containment must not wait for metrics.
    """
    res = replace(res, metrics=res.hasty_metrics or res.metrics)
    signal = res.config.signals.get(playbook.recovery.signal)
    if signal is None:
        return False
    now = res.clock()
    limit = limit_of(res, onset, playbook, signal)
    recent = worst_series(fetch_signal(res, signal, now - _LOOK_BACK, now))
    known = recent[np.isfinite(recent)]
    if not len(known):
        return None
    return limit is not None and bool(known[-1] > limit)


def fetch_signal(res: Resources, signal: Signal, start: datetime, now: datetime) -> SeriesMatrix:
    """The signal on its grid, ending now. A source that does not answer gives no samples, and those prove nothing."""
    steps = (now - start) // signal.step
    try:
        return res.metrics.range(signal.query, start=now - steps * signal.step, end=now, step=signal.step)
    except QuellError:
        return SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())


def limit_of(
    res: Resources, onset: datetime, playbook: Playbook, signal: Signal, service: str | None = None
) -> float | None:
    """The playbook's own limit, else the active threshold, else what the hour before the trouble stayed below.

    With a service only the series that have to do with it count.
    """
    if playbook.recovery.below is not None:
        return playbook.recovery.below
    with res.store.reading() as tx:
        active = tx.thresholds.find({"signal": signal.name, "state": ThresholdState.ACTIVE})
    upper = next((limit for version in active if (limit := version.upper_at(res.clock())) is not None), None)
    if upper is not None:
        return upper
    before = fetch_signal(res, signal, onset - _HISTORY, onset - signal.step)
    history = worst_series(own_part(res, service, before) if service else before)
    known = history[np.isfinite(history)]
    return float(np.quantile(known, 0.99)) + signal.min_effect if len(known) >= _HISTORY_SAMPLES else None


def draw_recovery(res: Resources, mitigation: Mitigation) -> str:
    """The users' signal around the effect as a markdown image; empty when there is nothing to draw."""
    playbook = res.config.playbooks.get(mitigation.playbook)
    signal = res.config.signals.get(playbook.recovery.signal) if playbook else None
    if playbook is None or signal is None or mitigation.applied_at is None:
        return ""
    end = min(res.clock(), (mitigation.judged_at or mitigation.applied_at) + _LOOK_BACK)
    matrix = fetch_signal(res, signal, mitigation.applied_at - _LOOK_BACK, end)
    if not len(matrix.timestamps):
        return ""
    limit = playbook.recovery.below
    times = ((mitigation.applied_at, "applied"), (mitigation.judged_at, "judged"), (mitigation.ended_at, "undone"))
    svg = signal_chart(
        title=f"{signal.name} around {mitigation.id}",
        unit=signal.unit,
        timestamps=matrix.timestamps,
        values=worst_series(matrix),
        lower=None,
        upper=np.full(len(matrix.timestamps), limit) if limit is not None else None,
        events=[(at, text) for at, text in times if at is not None and at <= end],
    )
    return f"![{signal.name} around {mitigation.id}]({svg_data_url(svg)})"
