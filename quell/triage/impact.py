"""Impact: how bad an incident is for users, and its title in plain words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.incident import Severity
from quell.incidents.service import Catalog
from quell.incidents.signal import SignalKind
from quell.incidents.suspect import CLIENT_PREFIX
from quell.triage.effect import Effect

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
HALF_OF_REQUESTS = 0.5  # failing: critical, whatever the labels say
NOTICED = 0.05  # failing: users notice, at least major
MUCH_SLOWER = 3.0  # times what is expected: at least major
EASES_AFTER = timedelta(minutes=2)  # less trouble must last so long before the severity goes down


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """`users`: who is affected, in users' terms."""

    severity: Severity
    reason: str
    users: str = ""


def users_behind(service: str, catalog: Catalog) -> str | None:
    """The user-facing service through which users feel trouble in `service`, or None."""
    for name in (service, *sorted(catalog.dependents(service))):
        known = catalog.service(name)
        if known and known.is_user_facing:
            return name
    return None


def judge_impact(
    labels: Iterable[str],
    felt: Sequence[Effect],
    services: Iterable[str],
    reports: int,
    catalog: Catalog,
) -> Impact:
    """How bad it is for users. `labels` are the severity labels that fire, `felt` what is measured where users call.

    What users feel comes first: half of the requests failing is critical, a noticed share is at least major. A label
    may add to that, but is lowered by one where no user-facing service depends on any service in trouble.
    """
    facing = sorted({name for service in services if (name := users_behind(service, catalog))})
    worst_felt = max(felt, key=_felt_order, default=None)
    users = _in_users_terms(worst_felt, facing, reports)
    severity, reason = _by_label(labels, facing)
    if worst_felt is not None:
        measured = _measured(worst_felt)
        if measured is Severity.CRITICAL:
            return Impact(severity=measured, reason=f"{_shown(worst_felt)}, which users call", users=users)
        if measured.rank < severity.rank:
            return Impact(severity=measured, reason=f"users are affected: {_shown(worst_felt)}", users=users)
    elif reports and severity is Severity.MINOR:
        return Impact(severity=Severity.MAJOR, reason=f"users are affected: {_said(reports)}", users=users)
    return Impact(severity=severity, reason=reason, users=users)


def _by_label(labels: Iterable[str], facing: Sequence[str]) -> tuple[Severity, str]:
    named = [label for label in labels if label in SEVERITY_OF_LABEL]
    if named:
        worst = min(named, key=lambda label: (SEVERITY_OF_LABEL[label].rank, label))
        severity, reason = SEVERITY_OF_LABEL[worst], f"an alert is labelled {worst}"
    else:
        severity, reason = (Severity.MAJOR if facing else Severity.MINOR), "no alert carries a severity"
    if not facing and severity is Severity.CRITICAL:
        return Severity.MAJOR, f"{reason}, but no user-facing service depends on it"
    return severity, reason + (f"; users reach it through {facing[0]}" if facing else "")


def _measured(effect: Effect) -> Severity:
    if effect.kind is SignalKind.ERROR_RATIO:
        share = effect.value or 0.0
        return Severity.CRITICAL if share >= HALF_OF_REQUESTS else _noticed(share >= NOTICED)
    return _noticed(_times_slower(effect) >= MUCH_SLOWER)


def _noticed(is_noticed: bool) -> Severity:
    return Severity.MAJOR if is_noticed else Severity.MINOR


def _times_slower(effect: Effect) -> float:
    return (effect.value or 0.0) / effect.expected if effect.expected and effect.expected > 0 else 1.0


def _felt_order(effect: Effect) -> tuple[int, bool, float, str]:
    size = (effect.value or 0.0) if effect.kind is SignalKind.ERROR_RATIO else _times_slower(effect)
    return (-_measured(effect).rank, effect.kind is SignalKind.ERROR_RATIO, size, effect.node)


def _shown(effect: Effect) -> str:
    return f"{effect.words} at {effect.node}"


def _said(reports: int) -> str:
    return f"{reports} users report it" if reports > 1 else "a user reports it" if reports else ""


def _in_users_terms(effect: Effect | None, facing: Sequence[str], reports: int) -> str:
    said = _said(reports)
    if effect is not None:
        seen = f"{_shown(effect)} since {effect.at:%H:%M:%S} UTC"
    elif facing:
        seen = f"nothing is measured to fail for users; they depend on it through {', '.join(facing)}"
    else:
        seen = "no user-facing service depends on it"
    return f"{seen}; {said}" if said else seen


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityStep:
    """What becomes of the severity now; `eases_since` is set while less trouble is seen than it says."""

    severity: Severity
    eases_since: datetime | None
    reason: str = ""


def step_severity(
    present: Severity, eases_since: datetime | None, impact: Impact, *, firing: int, now: datetime
) -> SeverityStep:
    """Up at once; down only after `EASES_AFTER` of less trouble, and not by silence, which proves nothing."""
    if impact.severity.rank < present.rank:
        return SeverityStep(severity=impact.severity, eases_since=None, reason=impact.reason)
    if impact.severity is present or not firing:
        return SeverityStep(severity=present, eases_since=None)
    if eases_since is None or now - eases_since < EASES_AFTER:
        return SeverityStep(severity=present, eases_since=eases_since or now)
    lasted = f"for {EASES_AFTER.seconds // 60} min no more than this: {impact.reason}"
    return SeverityStep(severity=impact.severity, eases_since=None, reason=lasted)


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
