"""Impact: how bad an incident is for users, and its title in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass

from quell.incidents.alert import Alert
from quell.incidents.incident import Severity
from quell.incidents.service import Catalog
from quell.incidents.signal import SignalKind
from quell.triage.effect import CLIENT_PREFIX, Effect

SEVERITY_OF_LABEL = {
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "major": Severity.MAJOR,
    "error": Severity.MAJOR,
    "high": Severity.MAJOR,
    "warning": Severity.MINOR,
    "minor": Severity.MINOR,
    "info": Severity.MINOR,
}
HALF_OF_REQUESTS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    severity: Severity
    reason: str


def users_behind(service: str, catalog: Catalog) -> str | None:
    """The user-facing service through which users feel trouble in `service`, or None."""
    for name in (service, *sorted(catalog.dependents(service))):
        known = catalog.service(name)
        if known and known.is_user_facing:
            return name
    return None


def judge_impact(alerts: Sequence[Alert], effects: Sequence[Effect], reports: int, catalog: Catalog) -> Impact:
    """The worst severity label, raised where users are seen to suffer and lowered by one where none can be."""
    labels = [(alert.severity_label or "").lower() for alert in alerts]
    named = [label for label in labels if label in SEVERITY_OF_LABEL]
    facing = next((name for effect in effects if (name := users_behind(effect.service, catalog))), None)
    if named:
        worst = min(named, key=lambda label: SEVERITY_OF_LABEL[label].rank)
        severity, reason = SEVERITY_OF_LABEL[worst], f"an alert is labelled {worst}"
    else:
        severity, reason = (Severity.MAJOR if facing else Severity.MINOR), "no alert carries a severity"
    suffering = _seen_by_users(effects, catalog)
    if suffering and (suffering.value or 0) >= HALF_OF_REQUESTS:
        return Impact(severity=Severity.CRITICAL, reason=f"{suffering.words} at {suffering.node}, which users call")
    if (suffering or reports) and severity is Severity.MINOR:
        seen = f"{suffering.words} at {suffering.node}" if suffering else f"{reports} users report it"
        return Impact(severity=Severity.MAJOR, reason=f"users are affected: {seen}")
    if facing is None and severity is Severity.CRITICAL:
        return Impact(severity=Severity.MAJOR, reason=f"{reason}, but no user-facing service depends on it")
    return Impact(severity=severity, reason=reason + (f"; users reach it through {facing}" if facing else ""))


def _seen_by_users(effects: Sequence[Effect], catalog: Catalog) -> Effect | None:
    """The largest error ratio measured on a user-facing service itself."""
    seen = [
        effect
        for effect in effects
        if effect.kind is SignalKind.ERROR_RATIO
        and effect.value is not None
        and (service := catalog.service(effect.service)) is not None
        and service.is_user_facing
    ]
    return max(seen, key=lambda effect: effect.value or 0, default=None)


def title_of(effect: Effect, catalog: Catalog) -> str:
    """An incident's title from its main effect: who, what, how much, and whether users feel it."""
    node = f"client {effect.node.removeprefix(CLIENT_PREFIX)}" if effect.node.startswith(CLIENT_PREFIX) else effect.node
    trouble = {
        SignalKind.ERROR_RATIO: "errors",
        SignalKind.LATENCY: "slow",
        SignalKind.TRAFFIC: "traffic",
        SignalKind.SATURATION: "saturated",
        SignalKind.OTHER: "",
    }[effect.kind]
    users = ", users affected" if users_behind(effect.service, catalog) else ""
    what = effect.words.split(" (expected", 1)[0]
    return f"{node} {trouble}".strip() + f": {what}{users}"
