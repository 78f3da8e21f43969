"""Precision and recall of detection, signal by signal, from what people said of anomalies and incidents."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from quell.incidents.alert import REPORTS_ALERT, Alert, AlertOutcome
from quell.incidents.anomaly import Anomaly, AnomalyLabel
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.labels import SIGNAL, Fingerprint
from quell.prevention.weekly.facts import behind_incident
from quell.prevention.weekly.figure import Behind, BehindKind, rate_of
from quell.prevention.weekly.section import Row, Section, slug, unique

_SWEEP, _REPORT = "sweep", "report"  # sources, as the sweep and the desk of reports sign their alerts
_OVER = frozenset({IncidentState.RESOLVED, IncidentState.REVIEWED, IncidentState.CLOSED})
ALL = "all of detection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A signal that sweeps judge, or a rule of somebody else's alerts."""

    name: str
    is_signal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`incidents` of some weeks, the `alerts` that began then, the `anomalies` labelled then; `signals` -> service."""

    incidents: tuple[Incident, ...] = ()
    alerts: tuple[Alert, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    signals: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


def detector_of(alert: Alert) -> Detector | None:
    """None for what people reported, and for what never reached an incident."""
    if alert.incident is None or alert.outcome is AlertOutcome.MUTED or alert.source == _REPORT:
        return None
    if alert.source == _SWEEP:
        return Detector(name=alert.labels.get(SIGNAL, alert.name), is_signal=True)
    return None if alert.name == REPORTS_ALERT else Detector(name=alert.name, is_signal=False)


def is_real(incident: Incident) -> bool | None:
    """False where it was dismissed, None while it is not over."""
    if incident.state is IncidentState.DISMISSED:
        return False
    return True if incident.state in _OVER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What each detector said, by detector: true (1) or false (0); and the real trouble that each signal missed."""

    said: Mapping[Detector, tuple[Behind, ...]]
    missed: Mapping[Detector, tuple[Behind, ...]]
    unseen: tuple[Behind, ...]  # real incidents that no detector had seen


def judge_detection(given: Evidence) -> Judged:
    """One judgement for each detector and incident, and for each labelled anomaly outside of incidents.

    An anomaly's label (real or false) says more than what became of its incident; expected ones count neither way.
    A signal missed a real incident of its service when no signal took part in it, and an anomaly labelled real that
    was judged inside the limit.
    """
    labels = _labels(given.anomalies)
    seen: dict[str, dict[Detector, list[Alert]]] = defaultdict(lambda: defaultdict(list))
    for alert in given.alerts:
        detector = detector_of(alert)
        if detector is not None and alert.incident is not None:
            seen[alert.incident][detector].append(alert)
    said: dict[Detector, list[Behind]] = defaultdict(list)
    missed: dict[Detector, list[Behind]] = defaultdict(list)
    unseen: list[Behind] = []
    told: set[str] = set()
    for incident in given.incidents:
        by = seen.get(incident.id, {})
        for detector, alerts in by.items():
            label = _label_of(alerts, labels, told)
            verdict = is_real(incident) if label is None else _VERDICT[label]
            if verdict is not None:
                said[detector].append(behind_incident(incident, float(verdict)))
        if is_real(incident):
            _miss(incident, by.keys(), given.signals, missed, unseen)
    _judge_anomalies(given.anomalies, told, said, missed)
    return Judged(
        said={detector: tuple(some) for detector, some in said.items()},
        missed={detector: tuple(some) for detector, some in missed.items()},
        unseen=tuple(unseen),
    )


_VERDICT: Mapping[AnomalyLabel, bool | None] = {
    AnomalyLabel.REAL: True,
    AnomalyLabel.FALSE: False,
    AnomalyLabel.EXPECTED: None,
}


def _labels(anomalies: Iterable[Anomaly]) -> Mapping[Fingerprint, list[Anomaly]]:
    found: dict[Fingerprint, list[Anomaly]] = defaultdict(list)
    for anomaly in anomalies:
        if anomaly.label is not None:
            found[anomaly.fingerprint].append(anomaly)
    return found


def _label_of(
    alerts: Iterable[Alert], labels: Mapping[Fingerprint, list[Anomaly]], told: set[str]
) -> AnomalyLabel | None:
    """What a person said of one of the alerts; real wins, then false. Those found are remembered in `told`."""
    found: set[AnomalyLabel] = set()
    for alert in alerts:
        for anomaly in labels.get(alert.fingerprint, ()):
            ends = alert.ends_at or anomaly.last_at
            if alert.starts_at <= anomaly.last_at and anomaly.started_at <= ends and anomaly.label is not None:
                found.add(anomaly.label)
                told.add(anomaly.id)
    return next((label for label in AnomalyLabel if label in found), None)


def _miss(
    incident: Incident,
    by: Iterable[Detector],
    signals: Mapping[str, str | None],
    missed: dict[Detector, list[Behind]],
    unseen: list[Behind],
) -> None:
    detectors = list(by)
    if not detectors:
        unseen.append(behind_incident(incident, 0.0))
    if any(detector.is_signal for detector in detectors):
        return
    for name, service in signals.items():
        if service in (None, incident.service):
            missed[Detector(name=name, is_signal=True)].append(behind_incident(incident, 0.0))


def _judge_anomalies(
    anomalies: Iterable[Anomaly],
    told: set[str],
    said: dict[Detector, list[Behind]],
    missed: dict[Detector, list[Behind]],
) -> None:
    for anomaly in anomalies:
        verdict = _VERDICT[anomaly.label] if anomaly.label and anomaly.id not in told else None
        detector = Detector(name=anomaly.signal, is_signal=True)
        if verdict is not None and anomaly.kind.is_trouble:
            said[detector].append(Behind(kind=BehindKind.ANOMALY, id=anomaly.id, value=float(verdict)))
        elif verdict:
            missed[detector].append(Behind(kind=BehindKind.ANOMALY, id=anomaly.id, value=0.0))


def signals_section(given: Evidence) -> Section:
    """The least precise first; recall is only known of signals, whose service says what they should have seen."""
    judged = judge_detection(given)
    detectors = {*judged.said, *judged.missed}

    def rank(detector: Detector) -> tuple[float, str]:
        said = judged.said.get(detector, ())
        return (sum(one.value or 0 for one in said) / len(said) if said else 1.0, detector.name)

    rows = [_row(detector, judged) for detector in sorted(detectors, key=rank)]
    return Section(
        key="signals",
        title="Detection by signal",
        columns=("what", "precision", "recall"),
        rows=unique([_overall(judged), *rows] if detectors or judged.unseen else ()),
        empty="No incident of the last four weeks is over, and nothing was labelled: precision and recall are not known"
        " (n = 0).",
        notes=(
            "Over four weeks, from labels of anomalies and from incidents that are over: dismissed ones are false"
            " alarms, those that only users or other sources told of were missed.",
        ),
    )


def _overall(judged: Judged) -> Row:
    """Each incident and anomaly once, however many told of it; it was real where one of them was right."""
    every = sorted((one for some in judged.said.values() for one in some), key=lambda one: one.value or 0.0)
    said = {one.id: one for one in every}
    found = {id: one for id, one in said.items() if one.value == 1.0}
    missed = {one.id: one for one in judged.unseen if one.id not in found}
    return Row(
        name=ALL,
        cells=(
            "signals and rules",
            rate_of("signals/all.precision", "precision of all detection", said.values()),
            rate_of("signals/all.recall", "recall of all detection", [*found.values(), *missed.values()]),
        ),
    )


def _row(detector: Detector, judged: Judged) -> Row:
    said = judged.said.get(detector, ())
    key = f"signals/{slug(detector.name, '' if detector.is_signal else 'rule')}"
    precision = rate_of(f"{key}.precision", f"precision of {detector.name}", said)
    if not detector.is_signal:
        return Row(name=detector.name, cells=("rule", precision, "not known of rules"))
    found = [one for one in said if one.value == 1.0]
    recall = rate_of(f"{key}.recall", f"recall of {detector.name}", [*found, *judged.missed.get(detector, ())])
    return Row(name=detector.name, cells=("signal", precision, recall))
