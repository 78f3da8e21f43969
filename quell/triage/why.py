"""Why: what triage did with an alert and with an incident, rule by rule; the command and the page show the same."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.alert import Alert, AlertOutcome, Ruling
from quell.incidents.incident import Incident

_DOES = {
    AlertOutcome.OPENED: "opened",
    AlertOutcome.JOINED: "grouped",
    AlertOutcome.DUPLICATE: "recognised as a duplicate",
    AlertOutcome.MUTED: "muted",
    AlertOutcome.WAITING: "delayed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision: what was done with the alert, by which rule (and where a person wrote it), and why."""

    at: datetime
    did: str
    outcome: AlertOutcome
    rule: str
    rule_at: str
    reason: str
    incident: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`steps`: every decision, the present one last; `next_at`: when the clock decides again, if it does."""

    alert: str
    headline: str
    steps: tuple[Step, ...]
    held_by: str | None
    next_at: datetime | None
    is_flapping: bool


def explain_alert(alert: Alert) -> Explanation:
    rulings = (*alert.history, alert.ruling) if alert.ruling else alert.history
    steps = tuple(_step(ruling) for ruling in rulings)
    return Explanation(
        alert=alert.id,
        headline=_headline(steps),
        steps=steps,
        held_by=alert.held_by,
        next_at=alert.due_at,
        is_flapping=alert.is_flapping,
    )


def _step(ruling: Ruling) -> Step:
    return Step(
        at=ruling.at,
        did=_DOES[ruling.outcome],
        outcome=ruling.outcome,
        rule=ruling.rule,
        rule_at=ruling.rule_at,
        reason=ruling.reason,
        incident=ruling.incident,
    )


def _headline(steps: Sequence[Step]) -> str:
    if not steps:
        return "triage has not looked at it yet"
    last = steps[-1]
    by = f' by "{last.rule}"' if last.rule else ""
    written = f" ({last.rule_at})" if last.rule_at else ""
    to = f", in {last.incident}" if last.incident else ""
    return f"{last.did}{by}{written}{to}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """How many alerts of an incident one rule brought, with one of their reasons."""

    rule: str
    rule_at: str
    outcome: AlertOutcome
    alerts: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentExplanation:
    opened_because: str
    impact: str
    merged_into: str | None
    kept_apart: tuple[str, ...]
    rules: tuple[RuleCount, ...]


def explain_incident(incident: Incident, alerts: Iterable[Alert]) -> IncidentExplanation:
    """Why it was opened, how bad it is for users, and which rules grouped how many alerts into it."""
    counts: Counter[tuple[AlertOutcome, str, str]] = Counter()
    examples: dict[tuple[AlertOutcome, str, str], str] = {}
    for alert in alerts:
        if alert.outcome is not None:
            key = (alert.outcome, alert.rule, alert.rule_at)
            counts[key] += 1
            examples.setdefault(key, alert.outcome_reason)
    order = list(AlertOutcome)
    rules = [
        RuleCount(rule=rule, rule_at=rule_at, outcome=outcome, alerts=count, example=examples[outcome, rule, rule_at])
        for (outcome, rule, rule_at), count in counts.items()
    ]
    return IncidentExplanation(
        opened_because=incident.opened_because,
        impact=incident.impact,
        merged_into=incident.merged_into,
        kept_apart=incident.kept_apart,
        rules=tuple(sorted(rules, key=lambda found: (order.index(found.outcome), -found.alerts, found.rule))),
    )
