"""Anomalies in the store: what sweeps keep for people to look at, the labels people give, and what follows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.identity import code_step
from quell.detection.baseline import Period, series_key
from quell.detection.review import SAME_EPISODE, Candidate, begin, select
from quell.gateway.deps import ChartData
from quell.incidents.anomaly import Anomaly, AnomalyLabel, label_anomaly, parse_label
from quell.incidents.decision import Person
from quell.incidents.errors import NotFound, Refused
from quell.incidents.labels import SERVICE, SIGNAL, Labels
from quell.incidents.maintenance import find_maintenance
from quell.incidents.series import FloatArray
from quell.incidents.signal import Signal
from quell.incidents.timeline import NO_INCIDENT, Event
from quell.ports import Transaction
from tasks.approval import used_code_steps
from tasks.artifacts import publish, table
from tasks.resources import Resources, resources

MARGIN = timedelta(seconds=60)  # samples reach past the ends of what was seen by the length of the queries' windows
AROUND = timedelta(minutes=15)  # of an anomaly's chart, on either side
MOST_POINTS = 400
FAILED_CODES = 5  # in one person's name ...
FAILED_CODES_COUNT_FOR = timedelta(minutes=10)
REJECTED = "anomaly label rejected"
NUMBER = "ANO"


def keep_candidates(res: Resources, candidates: Sequence[Candidate], *, at: datetime) -> int:
    """Begin, continue and drop what waits for review after one sweep; returns for how many there was no room."""
    planned = res.config.maintenance
    candidates = [c for c in candidates if find_maintenance(planned, _labels(c), now=at) is None]
    if not candidates:
        return 0
    with res.store.writing() as tx:
        recent = tx.anomalies.find(after=("last_at", at - SAME_EPISODE), order="last_at")
        choice = select(candidates, {a.series: a for a in recent}, tx.anomalies.find({"label": None}))
        for anomaly in choice.continued:
            tx.anomalies.put(anomaly)
        for id in choice.dropped:
            tx.anomalies.delete(id)
        for candidate in choice.begun:
            tx.anomalies.add(begin(candidate, f"{NUMBER}-{tx.next_number(NUMBER)}"))
    return choice.left_out


def _labels(candidate: Candidate) -> Labels:
    service = {SERVICE: candidate.service} if candidate.service else {}
    return {SIGNAL: candidate.verdict.signal} | service | dict(candidate.verdict.labels)


def label(res: Resources, *, anomaly: str, label: str, person: str, why: str, code: str, channel: str) -> Anomaly:
    """Record what a person of people.yaml says of an anomaly; a one-time code is checked if one is given.

    Raises NotFound, InvalidInput (the word is unknown, `expected` has no why) or Refused (nobody of that name, a wrong
    or used code). A refusal is on the timeline too.
    """
    given, known = parse_label(label), res.config.people.get(person)
    with res.store.writing() as tx:
        now, found = res.clock(), tx.anomalies.get(anomaly)
        if found is None:
            raise NotFound(f"anomaly {anomaly} is not in the store; `quell anomaly list` shows those that are")
        step = code_step(known, code, now) if known and code else None
        refusal = _refusal(tx, known, person, code, step, now)
        if refusal is None:
            labelled, event = label_anomaly(
                found,
                given,
                by=person,
                why=why,
                channel=channel,
                now=now,
                code_step=step,
                incident=incident_of(tx, found),
            )
            tx.anomalies.put(labelled)
            tx.timeline.append(event)
            return labelled
        evidence = {"channel": channel, "person": person, "rule": refusal.rule}
        tx.timeline.append(
            Event(
                incident=None, at=now, kind=REJECTED, by="quell", text=str(refusal), subject=anomaly, evidence=evidence
            )
        )
    raise refusal


def _refusal(
    tx: Transaction, known: Person | None, person: str, code: str, step: int | None, now: datetime
) -> Refused | None:
    if known is None:
        text = f"label by {person or 'nobody'} is not accepted: people.yaml knows no such person"
        return Refused(text, rule="known person", value=person, limit="people.yaml")
    if not code:
        return None
    if _failed_codes(tx, person, now) >= FAILED_CODES:
        text = f"{FAILED_CODES} wrong codes of {person} in {FAILED_CODES_COUNT_FOR.seconds // 60} min: wait, or no code"
        return Refused(text, rule="wrong codes", value=person, limit=str(FAILED_CODES))
    if step is None or step in used_code_steps(tx, person):
        text = f"one-time code of {person} is wrong or was used: wait for the next one"
        return Refused(text, rule="one-time code", value="wrong or used", limit="works once")
    return None


def _failed_codes(tx: Transaction, person: str, now: datetime) -> int:
    return sum(
        entry.kind == REJECTED
        and entry.at >= now - FAILED_CODES_COUNT_FOR
        and entry.evidence.get("person") == person
        and entry.evidence.get("rule") == "one-time code"
        for entry in tx.timeline.of(NO_INCIDENT)
    )


def incident_of(tx: Transaction, anomaly: Anomaly) -> str | None:
    """The incident of the sweep's alert about the same series at the same time."""
    for alert in tx.alerts.find({"fingerprint": anomaly.fingerprint}, order="starts_at", descending=True):
        ended = alert.ends_at or anomaly.last_at
        if alert.incident and alert.starts_at <= anomaly.last_at + MARGIN and ended >= anomaly.started_at - MARGIN:
            return alert.incident
    return None


def real_anomalies(tx: Transaction, signal: str) -> list[Anomaly]:
    """What people confirmed as trouble in a signal, the oldest first."""
    return tx.anomalies.find({"signal": signal, "label": AnomalyLabel.REAL}, order="last_at")


def real_periods(tx: Transaction, signal: Signal, now: datetime) -> tuple[Period, ...]:
    """The times of confirmed anomalies in the signal's history: nothing is learned from them."""
    return tuple(
        (anomaly.started_at - MARGIN, anomaly.last_at + MARGIN)
        for anomaly in real_anomalies(tx, signal.name)
        if anomaly.last_at >= now - signal.history
    )


def series_of(res: Resources, anomaly: Anomaly) -> ChartData | None:
    """The anomaly's series with the band against which it was judged, from a while before until a while after.

    None when the signal is no longer configured or the series is gone. Raises Unavailable.
    """
    signal = res.config.signals.get(anomaly.signal)
    if signal is None:
        return None
    start = anomaly.started_at - AROUND
    end = max(start + signal.step, min(res.clock(), anomaly.last_at + AROUND))
    step = max(signal.step, (end - start) / MOST_POINTS)
    matrix = res.metrics.range(signal.query, start=start, end=end, step=step)
    keys = [series_key(labels) for labels in matrix.labels]
    if series_key(anomaly.labels) not in keys:
        return None
    return ChartData(
        title=anomaly.name,
        unit=signal.unit,
        timestamps=matrix.timestamps,
        values=matrix.values[:, keys.index(series_key(anomaly.labels))],
        lower=_level(anomaly.lower, matrix.timestamps),
        upper=_level(anomaly.upper, matrix.timestamps),
    )


def _level(level: float | None, timestamps: FloatArray) -> FloatArray | None:
    return None if level is None else np.full(timestamps.shape, level)


def review_markdown(waiting: Sequence[Anomaly], counts: Mapping[AnomalyLabel, int], address: str) -> str:
    """What waits for a person's word, the newest first, each with its link; and what was said of others."""
    rows = [
        [f"[{a.id}]({address}/anomalies/{a.id})", f"{a.last_at:%Y-%m-%d %H:%M}", a.name, a.kind, a.because, a.reason]
        for a in waiting
    ]
    said = ", ".join(f"{counts[name]} {name}" for name in AnomalyLabel)
    return (
        f"## {len(waiting)} anomalies wait for review\n\n"
        f"[All on one page]({address}/anomalies). Labelled so far: {said}.\n\n"
        f"{table(['id', 'last seen, UTC', 'series', 'verdict', 'why look', 'explanation'], rows)}\n"
    )


def review_of(res: Resources) -> tuple[int, str]:
    """How many anomalies wait, and the text that lists them."""
    with res.store.reading() as tx:
        waiting = tx.anomalies.find({"label": None}, order="last_at", descending=True)
        counts = {name: tx.anomalies.count({"label": name}) for name in AnomalyLabel}
    return len(waiting), review_markdown(waiting, counts, res.config.gateway_url)


@task(name="list-for-review", cache_policy=NO_CACHE)
def list_for_review() -> str:
    """Publishes what waits for a person's word, with links."""
    waiting, markdown = review_of(resources())
    publish("anomaly-review", markdown, "what sweeps judged near the limit or newly anomalous, for a person to label")
    return f"{waiting} anomalies wait for review"
