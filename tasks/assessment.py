"""Assessment: what is known of one incident, judged anew: onset, severity, changes, suspects and name."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertId, AlertOutcome
from quell.incidents.change import Change
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.timeline import Event
from quell.ports import Transaction
from quell.triage.effect import Effect, effect_of
from quell.triage.impact import judge_impact, title_of
from quell.triage.linking import link_changes
from quell.triage.placement import Candidate
from quell.triage.suspects import describe_change, rank_suspects

BY = "quell"
# What may still be renamed: once somebody acts on an incident its title and service stay.
_NAMING = frozenset({IncidentState.OPEN, IncidentState.TRIAGED})


@dataclass(kw_only=True)
class Case:
    """An incident with its alerts while triage works on it."""

    incident: Incident
    alerts: dict[AlertId, Alert] = field(default_factory=dict[AlertId, Alert])

    @property
    def candidate(self) -> Candidate:
        alerts = sorted(self.alerts.values(), key=lambda alert: (alert.starts_at, alert.id))
        return Candidate(incident=self.incident, alerts=tuple(alerts))


class Assessment:
    """Reads what belongs to a case, judges it, and says on the timeline what is new."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._now = now

    def assess(self, case: Case) -> None:
        """Onset, severity, changes, suspects and name, from everything that is now known."""
        alerts = [alert for alert in case.alerts.values() if alert.outcome is not AlertOutcome.DUPLICATE]
        effects = [self.effect(alert) for alert in alerts]
        before = case.incident
        onset = min([before.onset_at, *(alert.starts_at for alert in alerts)])
        case.incident = replace(before, onset_at=onset)
        changes = self._linked_changes(case)
        suspects = rank_suspects(effects, changes, self._config.catalog)
        reports = self._tx.reports.count({"incident": before.id})
        impact = judge_impact(alerts, effects, reports, self._config.catalog)
        is_worse = impact.severity.rank < before.severity.rank
        case.incident = replace(
            case.incident,
            severity=impact.severity if is_worse else before.severity,
            changes=tuple(change.id for change in changes),
            suspects=suspects,
        )
        self._name(case, effects)
        self._say_what_is_new(case, before, changes)
        if is_worse:
            self.say(case, "severity", f"{impact.severity}: {impact.reason}")

    def _name(self, case: Case, effects: list[Effect]) -> None:
        if case.incident.state not in _NAMING or not case.incident.suspects:
            return
        best = case.incident.suspects[0].node
        own = [effect for effect in effects if effect.node == best]
        if own:
            main = max(own, key=lambda effect: (effect.value is not None, effect.strength, effect.metric))
            title = title_of(main, self._config.catalog)
            case.incident = replace(case.incident, title=title, service=main.service)

    def _say_what_is_new(self, case: Case, before: Incident, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.id not in before.changes:
                text = describe_change(change, case.incident.onset_at)
                self.say(case, "change linked", text, subject=change.id, by=change.author or BY)
        suspects = case.incident.suspects
        if suspects and (not before.suspects or _head(before) != _head(case.incident)):
            scores = {suspect.node: f"{suspect.score:.2f}" for suspect in suspects}
            text = f"first suspect {suspects[0].node}: {suspects[0].reason}"
            self.say(case, "suspects ranked", text, evidence=scores)

    def _linked_changes(self, case: Case) -> tuple[Change, ...]:
        window = self._config.grouping.change_window
        start = case.incident.onset_at - window - timedelta(minutes=1)
        return self.link(self._tx.changes.find(after=("at", start)), case)

    def link(self, changes: Iterable[Change], case: Case) -> tuple[Change, ...]:
        catalog = self._config.catalog
        return link_changes(
            changes,
            onset_at=case.incident.onset_at,
            services=case.candidate.services(catalog),
            catalog=catalog,
            window=self._config.grouping.change_window,
        )

    def effect(self, alert: Alert) -> Effect:
        return effect_of(alert, self._config.catalog, self._config.signals)

    def say(
        self,
        case: Case,
        kind: str,
        text: str,
        *,
        subject: str | None = None,
        by: str = BY,
        evidence: dict[str, str] | None = None,
    ) -> None:
        event = Event(
            incident=case.incident.id,
            at=self._now,
            kind=kind,
            by=by,
            text=text,
            subject=subject or case.incident.id,
            evidence=evidence or {},
        )
        self._tx.timeline.append(event)


def _head(incident: Incident) -> tuple[str, str | None]:
    return incident.suspects[0].node, incident.suspects[0].change
