"""What the sweep's alert says of a troubled series: labels by which it is known, words for people."""

from datetime import UTC, datetime

from quell.detection.episode import Finding
from quell.incidents.incident import Severity
from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY, SIGNAL, Labels
from quell.incidents.service import Catalog
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict, VerdictKind

ANOMALY = "Anomaly"
METRIC_NAME = "__name__"


def describe_finding(verdict: Verdict, signal: Signal, catalog: Catalog, *, since: float) -> Finding:
    """The alert's labels (the series' own, plus signal, service and severity) and words; `since` is epoch seconds."""
    labels = {name: value for name, value in verdict.labels.items() if name != METRIC_NAME}
    service = _service(labels, signal, catalog)
    if service:
        labels[SERVICE] = service
    labels |= {ALERTNAME: ANOMALY, SIGNAL: signal.name, SEVERITY: _severity(verdict, signal)}
    where = labels.get(INSTANCE) or service or "every part"
    return Finding(
        key=verdict.id,
        labels=labels,
        annotations={
            "summary": f"{signal.name} of {where}: {verdict.kind.replace('_', ' ')}, {verdict.reason}",
            "kind": verdict.kind,
            "value": _text(verdict.value),
            "expected": _text(verdict.expected),
            "lower": _text(verdict.lower),
            "upper": _text(verdict.upper),
            "score": _text(verdict.score),
            "reason": verdict.reason,
            "baseline": verdict.baseline or "",
        },
        since=datetime.fromtimestamp(round(since, 3), UTC),
    )


def _service(labels: Labels, signal: Signal, catalog: Catalog) -> str | None:
    instance = catalog.instance(labels.get(INSTANCE, ""))
    return labels.get(SERVICE) or signal.service or (instance.service if instance else None)


def _severity(verdict: Verdict, signal: Signal) -> Severity:
    """What users feel is critical; a departure that they may not feel is major; missing data is minor."""
    if verdict.kind in (VerdictKind.NO_DATA, VerdictKind.STALE):
        return Severity.MINOR
    return Severity.CRITICAL if signal.is_user_facing else Severity.MAJOR


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
