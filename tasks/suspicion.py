"""Suspicion: looks at the metrics around an incident while it runs, and writes what they change in its suspects.

The metrics are asked outside of any transaction, for a bounded time. Without them the alerts' ranking stands.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta

from quell.incidents.change import Change
from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident
from quell.incidents.labels import SIGNAL
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.suspect import Suspect
from quell.ports import Transaction
from quell.triage.evidence import Evidence
from quell.triage.rootcause.window import Column
from quell.triage.surroundings import (
    SLACK,
    Period,
    Surroundings,
    calls_between,
    metric_of,
    node_of,
    services_around,
    survey,
)
from quell.triage.suspects import rank_suspects
from quell.triage.suspicion import Suspicion, merge_suspects, suspect_by_metrics, tell_difference
from tasks.assessment import Assessment, read_evidence, read_suspicion, write_suspicion
from tasks.ground import Case
from tasks.main_signal import telling_alert
from tasks.resources import Resources

BEFORE = timedelta(minutes=60)
LEAST_STEP = timedelta(seconds=5)
LONGEST_DURING = timedelta(hours=2)
EARLY = timedelta(minutes=2)  # a series that begins later than this after the onset does not come by itself
WAIT_SECONDS = 4.0
THREADS = 4
MOST_SIGNALS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What the record says of the incident, read before the metrics are asked."""

    incident: Incident
    evidence: Evidence
    changes: tuple[Change, ...]
    services: tuple[str, ...]
    earlier: tuple[Period, ...]


def suspect_live(res: Resources, incident: str) -> Suspicion | None:
    """Look at the metrics once and write what follows; None when the incident is not active any more."""
    scene = _read_scene(res, incident)
    if scene is None:
        return None
    answers, failure = _ask(res, scene)
    suspicion = _judge(res, scene, answers, failure)
    if not suspicion.is_early:
        _write(res, scene, suspicion)
    return suspicion


def _read_scene(res: Resources, id: str) -> _Scene | None:
    with res.store.reading() as tx:
        incident = tx.incidents.get(id)
        if incident is None or not incident.is_active:
            return None
        case = Case(incident=incident)
        services = services_around(case.services, res.config.catalog)
        return _Scene(
            incident=incident,
            evidence=read_evidence(tx, id),
            changes=Assessment(tx, res.config, res.clock()).linked_changes(case),
            services=services,
            earlier=_earlier_troubles(tx, incident, services),
        )


def _earlier_troubles(tx: Transaction, incident: Incident, services: Sequence[str]) -> tuple[Period, ...]:
    """Incidents of these services that touch the hour before; none that begins with this one or after it."""
    start = incident.trouble_at - BEFORE
    found = tx.incidents.find({"service": tuple(services)}, after=("updated_at", start))
    before = [
        (other.onset_at, other.resolved_at or other.contained_at or incident.trouble_at)
        for other in found
        if other.id != incident.id and other.onset_at < incident.trouble_at - SLACK
    ]
    if incident.calm_at and incident.calm_at > start:
        before.append((incident.onset_at, incident.calm_at))  # its own, before it came back
    return tuple((begun - SLACK, ended + SLACK) for begun, ended in before)


def _ask(res: Resources, scene: _Scene) -> tuple[list[tuple[Signal, SeriesMatrix]], str]:
    """Every signal's answer on one grid, as far as they come in time; and the first reason why one did not come."""
    signals = list(res.config.signals.values())[:MOST_SIGNALS]
    if not signals:
        return [], "no signals are configured"
    source = res.hasty_metrics or res.metrics
    end = min(res.clock(), scene.incident.trouble_at + LONGEST_DURING)
    start = scene.incident.trouble_at - BEFORE
    step = max(LEAST_STEP, min(signal.step for signal in signals))
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="suspicion")
    try:
        asked = {pool.submit(source.range, s.query, start=start, end=end, step=step): s for s in signals}
        done, late = wait(asked, timeout=WAIT_SECONDS)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    failures = [f"{len(late)} of {len(signals)} signals did not answer within {WAIT_SECONDS:g} s"] if late else []
    answers: list[tuple[Signal, SeriesMatrix]] = []
    for future, signal in asked.items():
        if future in done:
            _take(future, signal, answers, failures)
    return answers, failures[0] if failures else ""


def _take(
    future: "Future[SeriesMatrix]", signal: Signal, answers: list[tuple[Signal, SeriesMatrix]], failures: list[str]
) -> None:
    try:
        answers.append((signal, future.result()))
    except QuellError as error:
        failures.append(f"signal {signal.name}: {error}")


def _judge(res: Resources, scene: _Scene, answers: list[tuple[Signal, SeriesMatrix]], failure: str) -> Suspicion:
    alerts = scene.incident.tally.alerts if scene.incident.tally else 0
    if not answers:
        return Suspicion(failure=failure, alerts=alerts)
    catalog = res.config.catalog
    onset = scene.incident.trouble_at
    seen = survey(answers, services=scene.services, catalog=catalog, onset=onset, earlier=scene.earlier)
    if seen.lacking:
        is_early = seen.is_early and res.clock() - onset < EARLY
        return Suspicion(failure=seen.lacking, alerts=alerts, is_early=is_early)
    calls = calls_between(scene.services, catalog)
    target = _target(res, scene, seen)
    suspects = suspect_by_metrics(seen, calls=calls, target=target, changes=scene.changes, catalog=catalog)
    return Suspicion(suspects=suspects, failure=failure, alerts=alerts)


def _target(res: Resources, scene: _Scene, seen: Surroundings) -> Column | None:
    """The incident's main signal by what the alerts say: what the metrics said before must not feed itself."""
    alerted = rank_suspects(scene.evidence.effects, scene.changes, res.config.catalog)
    alert = telling_alert(res, replace(scene.incident, suspects=alerted))
    signal = res.config.signals.get(alert.labels[SIGNAL]) if alert else None
    if alert is not None and signal is not None:
        node = node_of(alert.labels, signal, res.config.catalog, frozenset(scene.services))
        column = (node or "", metric_of(signal))
        return column if column in seen.abnormal.columns else None
    return _measured_trouble(res, scene, seen, alerted)


def _measured_trouble(res: Resources, scene: _Scene, seen: Surroundings, alerted: Sequence[Suspect]) -> Column | None:
    """What a signal says of the first suspect's trouble, where its alert comes from somewhere else."""
    first = alerted[0].node if alerted else scene.incident.service
    kinds = {effect.kind for effect in scene.evidence.effects if effect.node == first}
    for column in seen.abnormal.columns:
        if column[0] == first and res.config.signals[seen.signals[column[1]]].kind in kinds:
            return column
    return None


def _write(res: Resources, scene: _Scene, suspicion: Suspicion) -> None:
    """Only while the incident is what was looked at: active, with about the same onset. Twice has the same effect."""
    now = res.clock()
    with res.store.writing() as tx:
        incident = tx.incidents.get(scene.incident.id)
        if incident is None or not incident.is_active or abs(incident.trouble_at - scene.incident.trouble_at) > SLACK:
            return
        known = read_suspicion(tx, incident.id)
        if not suspicion.suspects and suspicion.failure and known.suspects:
            suspicion = replace(suspicion, suspects=known.suspects)  # what was seen before still holds
        assessment, case = Assessment(tx, res.config, now), Case(incident=incident)
        effects = read_evidence(tx, incident.id).effects
        alerted = rank_suspects(effects, assessment.linked_changes(case), res.config.catalog)
        merged = merge_suspects(alerted, suspicion.suspects, res.config.catalog)
        _say(assessment, case, suspicion, merged, known.failure)
        if suspicion != known:
            write_suspicion(tx, incident.id, replace(suspicion, failure=suspicion.failure or known.failure), now)
        if merged != incident.suspects:
            tx.incidents.put(replace(incident, suspects=merged, updated_at=now))


def _say(assessment: Assessment, case: Case, suspicion: Suspicion, merged: Sequence[Suspect], told: str) -> None:
    text = tell_difference(case.incident.suspects, merged)
    if text:
        scores = {suspect.node: f"{suspect.score:.2f}" for suspect in merged}
        assessment.say(case, "suspects ranked", text, evidence=scores)
    if suspicion.failure and not told:
        kept = "the suspects rest on the alerts" if not suspicion.suspects else "the suspects rest on the others"
        assessment.say(case, "metrics missing", f"{kept}: {suspicion.failure}")
