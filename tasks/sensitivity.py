"""Sensitivity in the store: limits on the detector's score, learned from incidents and labels, proposed like others.

A version for the score of the signal `latency` has the signal `latency:score`, so that it never stands in the way of
the limit on the signal's value. Nothing of it goes to Prometheus: once it is in force the signal's baseline is fitted
for it, with the next refresh. In shadow, and later, it is watched like others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.rules import write_rules
from quell.detection.calibration import expected_alarms_per_week, score_of, threshold_for
from quell.detection.scoring import score_series
from quell.incidents.errors import QuellError
from quell.incidents.labels import SIGNAL
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.prevention.backtest import Trouble, share_interval
from quell.prevention.history import alarm_rate, rows_within
from quell.prevention.limits import budget_in_words
from quell.prevention.prediction import Pool, Prediction, pool_alerts, predict_alerts
from quell.prevention.sensitivity import LabelledScores, Sensitivity, learn_sensitivity, stretches
from tasks.history import fetch_history, past_troubles
from tasks.lease import hold
from tasks.maintenance import planned_periods
from tasks.resources import Resources, resources
from tasks.slo import burn_subject
from tasks.study_report import WAITING

BY = "quell"
MOST_ROWS = 3_000_000  # scored in one run: about a minute on one core
SMALLEST_CHANGE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A signal's history as the detector sees it: of all its series the greatest score of each row."""

    signal: Signal
    times: FloatArray
    scores: LabelledScores
    troubles: tuple[Trouble, ...]


def score_subject(signal: str) -> str:
    """The name under which the limits on a signal's score are versioned."""
    return f"{signal}:score"


def subject_signal(version: ThresholdVersion) -> str:
    """The signal that a version is about."""
    if version.burn:
        return version.signal.removesuffix(burn_subject(""))
    return version.signal if version.score is None else version.signal.removesuffix(score_subject(""))


def score_matrix(res: Resources, signal: Signal) -> SeriesMatrix | None:
    """The greatest score of all series by row, as one series; None without history."""
    scored = _score(res, signal, ())
    if scored is None:
        return None
    values = scored.scores.score[:, np.newaxis]
    return SeriesMatrix(timestamps=scored.times, values=values, labels=({SIGNAL: signal.name},))


def budget_of(tx: Transaction, signal: Signal, usual: float) -> float:
    """The false alarms per week for which a baseline is fitted: those of the learned limit in force, or the usual."""
    active = tx.thresholds.find({"signal": score_subject(signal.name), "state": ThresholdState.ACTIVE})
    learned = next((version.score for version in active if version.score is not None), None)
    return usual if learned is None else expected_alarms_per_week(learned, step=signal.step)


def learn_of(res: Resources, incident: str | None = None) -> tuple[Sensitivity, list[str]]:
    """Learn from every signal that had trouble, and propose what differs; the ids of the proposals."""
    scored = score_signals(res)
    budget = res.config.detection.false_alarms_per_week
    learned = learn_sensitivity([one.scores for one in scored], alarms_per_week=budget)
    pairs = list(zip(scored, learned.limits, strict=False))
    pool = pool_alerts(
        [len(stretches(one.scores.score >= limit)) for one, limit in pairs], [len(one.times) for one, _ in pairs]
    )
    proposed = [id for one, limit in pairs if (id := _propose(res, one, limit, learned, pool, incident)) is not None]
    return learned, proposed


def score_signals(res: Resources) -> list[Scored]:
    """The signals with trouble in their history, each row scored on what came before it; up to `MOST_ROWS` rows."""
    found: list[Scored] = []
    room = MOST_ROWS
    for signal in res.config.signals.values():
        troubles = past_troubles(res, signal, res.clock())
        if not troubles or room <= 0:
            continue
        scored = _score(res, signal, troubles)
        if scored is not None:
            found.append(scored)
            room -= len(scored.times) * scored.scores.series
    return found


def _score(res: Resources, signal: Signal, troubles: tuple[Trouble, ...]) -> Scored | None:
    now = res.clock()
    try:
        history = fetch_history(res, signal, now)
    except QuellError:
        return None
    if not history.values.size:
        return None
    score = np.zeros(len(history.timestamps))
    for column in history.values.T:
        score = np.maximum(score, score_series(history.timestamps, column, step=signal.step).score)
    is_trouble = np.zeros(len(score), dtype=np.bool_)
    for trouble in troubles:
        is_trouble[rows_within(history.timestamps, trouble.period)] = True
    for period in planned_periods(res, signal, history.labels, now):
        rows = rows_within(history.timestamps, period)
        score[rows], is_trouble[rows] = 0.0, False
    scores = LabelledScores(
        name=signal.name, step=signal.step, score=score, is_trouble=is_trouble, series=history.values.shape[1]
    )
    return Scored(signal=signal, times=history.timestamps, scores=scores, troubles=troubles)


def _propose(
    res: Resources, one: Scored, limit: float, learned: Sensitivity, pool: Pool | None, incident: str | None
) -> str | None:
    subject, usual = score_subject(one.signal.name), res.config.detection.false_alarms_per_week
    with hold(res, f"threshold {subject}"), res.store.writing() as tx:
        now = res.clock()
        active = next(iter(tx.thresholds.find({"signal": subject, "state": ThresholdState.ACTIVE})), None)
        today = active.score if active and active.score is not None else _usual_score(usual, one.signal)
        waiting = tx.thresholds.find({"signal": subject, "state": WAITING})
        if abs(limit - today) < SMALLEST_CHANGE or any(v.score == limit for v in waiting):
            return None
        prediction = _predict(one, limit, pool)
        id = f"THR-{tx.next_number('THR')}"
        evidence = {
            "learned": f"{learned.reason}, at most {budget_in_words(usual)}",
            "old limit": f"score {today:.3f}: {_replay(one, today)}",
            "new limit": f"score {limit:.3f}: {_replay(one, limit)}",
            "prediction": str(prediction),
        }
        version = _version(one.signal, id, limit, evidence, prediction, now, incident, active)
        tx.thresholds.add(version)
        for older in waiting:
            moved, step = move_threshold(
                older, ThresholdState.REVERTED, now=now, by=BY, why=f"{id} is a newer proposal for {subject}"
            )
            tx.thresholds.put(moved)
            tx.timeline.append(event_of(step))
        text = f"{subject}: above {limit:.3f}; {evidence['new limit']}"
        tx.timeline.append(
            Event(incident=incident, at=now, kind="threshold proposed", by=BY, text=text, subject=id, evidence=evidence)
        )
        return id


def _version(
    signal: Signal,
    id: str,
    limit: float,
    evidence: dict[str, str],
    prediction: Prediction,
    now: datetime,
    incident: str | None,
    active: ThresholdVersion | None,
) -> ThresholdVersion:
    known = {"per_week": prediction.per_week, "low": prediction.low, "high": prediction.high}
    return ThresholdVersion(
        id=id,
        signal=score_subject(signal.name),
        state=ThresholdState.PROPOSED,
        upper=None,
        lower=None,
        score=limit,
        created_at=now,
        updated_at=now,
        incident=incident,
        replaces=active.id if active else None,
        evidence=evidence,
        rule=write_rules({"signal": signal.name, "score": round(limit, 4), "threshold": id}),
        predicted={name: value for name, value in known.items() if isfinite(value)}
        | {"is_told": float(prediction.is_told)},
    )


def _usual_score(alarms_per_week: float, signal: Signal) -> float:
    """The score at which the detector alerts with this budget, by its own calibration."""
    return float(score_of(np.array([threshold_for(alarms_per_week, step=signal.step)]))[0])


def _replay(one: Scored, limit: float) -> str:
    """False alarms per week, and incidents caught, with their intervals."""
    scores = one.scores
    flagged = scores.score >= limit
    false = len(stretches(flagged & ~scores.is_trouble))
    inside = [rows_within(one.times, trouble.period) for trouble in one.troubles]
    covered = [rows for rows in inside if rows.stop > rows.start]
    caught = sum(bool(flagged[rows].any()) for rows in covered)
    low, high = share_interval(caught, len(covered))
    rate = alarm_rate(false, scores.weeks)
    return f"false alarms {rate}; catches {caught} of {len(covered)} incidents ({low:.0%} to {high:.0%})"


def _predict(one: Scored, limit: float, pool: Pool | None) -> Prediction:
    """From the signal's own history, and what all histories together say of alerts under the learned limits."""
    starts = np.array([start for start, _ in stretches(one.scores.score >= limit)], dtype=np.int64)
    begun, ended = float(one.times[0]), float(one.times[-1])
    prior = pool.prior(one.scores.step) if pool else None
    ahead = timedelta(seconds=ended - begun)
    return predict_alerts(one.times[starts], start=begun, end=ended, ahead=ahead, prior=prior)


def said_of(learned: Sensitivity, proposed: Sequence[str]) -> str:
    return f"{learned.reason}; proposed: {', '.join(proposed) or 'nothing'}"


@task(name="learn-sensitivity", cache_policy=NO_CACHE)
def learn_limits(incident: str | None = None) -> list[str]:
    """Learns limits on the detector's score from incidents and labels. The ids of the proposals."""
    return learn_of(resources(), incident)[1]
