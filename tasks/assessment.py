"""Assessment: what is known of one incident, judged anew: severity, impact, changes, suspects and name."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from quell.config.config import Config
from quell.incidents.alert import Alert
from quell.incidents.change import Change
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentState, move_incident
from quell.incidents.timeline import Event, event_of
from quell.ports import Document, Transaction
from quell.triage.effect import Effect, effect_of
from quell.triage.evidence import Evidence, gather
from quell.triage.impact import judge_impact, step_severity, title_of
from quell.triage.linking import link_changes
from quell.triage.suspects import describe_change, rank_suspects
from quell.triage.suspicion import Suspicion, merge_suspects
from tasks.ground import Case

BY = "quell"
EVIDENCE = "evidence"
SUSPICION = "suspicion"
# What may still be renamed: once somebody acts on an incident its title and service stay.
_NAMING = frozenset({IncidentState.OPEN, IncidentState.TRIAGED})


class Assessment:
    """Adds what is new to an incident's evidence, judges it, and says on the timeline what changed."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self.now = self._now = now

    def assess(self, case: Case) -> None:
        before = case.incident
        evidence = self.evidence(case)
        changes = self.linked_changes(case)
        alerted = rank_suspects(evidence.effects, changes, self._config.catalog)
        suspects = merge_suspects(alerted, read_suspicion(self._tx, before.id).suspects, self._config.catalog)
        known = before.changes if before.back_at else ()  # those of the trouble before are still part of its story
        linked = tuple(dict.fromkeys((*known, *(change.id for change in changes))))
        case.incident = replace(before, changes=linked, suspects=suspects)
        self._name(case, evidence.effects)
        self._say_what_is_new(case, before, changes)
        self._judge_severity(case, evidence)

    def evidence(self, case: Case) -> Evidence:
        """What was measured so far, with what is new; kept where something is."""
        known = read_evidence(self._tx, case.incident.id)
        if not case.news:
            return known
        since = case.incident.back_at
        news = [(alert, self.effect(alert)) for alert in case.news.values() if not _is_over(alert, since)]
        evidence = gather(known, news, self._config.catalog)
        case.news.clear()
        write_evidence(self._tx, case.incident.id, evidence, self._now)
        return evidence

    def reopen(self, case: Case, alert: Alert, reason: str) -> None:
        """The trouble is back. Where it began after the end it may be another, elsewhere: who was accused before is not
        accused of it, and changes are sought before its own beginning. What still fires is felt."""
        over_at = case.incident.resolved_at or case.incident.updated_at
        case.incident, move = move_incident(case.incident, IncidentState.OPEN, now=self._now, by=BY, why=reason)
        self._tx.timeline.append(event_of(move))
        if alert.starts_at <= over_at:
            return
        case.incident = replace(case.incident, calm_at=over_at, back_at=alert.starts_at)
        known = read_evidence(self._tx, case.incident.id)
        write_evidence(self._tx, case.incident.id, Evidence(felt=known.felt), self._now)
        write_suspicion(self._tx, case.incident.id, Suspicion(), self._now)

    def _judge_severity(self, case: Case, evidence: Evidence) -> None:
        incident, tally = case.incident, case.tally
        reports = self._tx.reports.count({"incident": incident.id})
        impact = judge_impact(
            tally.severities, list(evidence.felt.values()), case.services, reports, self._config.catalog
        )
        step = step_severity(
            incident.severity, incident.eases_since, impact, firing=sum(tally.severities.values()), now=self._now
        )
        worst = min(incident.worst_severity or incident.severity, step.severity, key=lambda severity: severity.rank)
        case.incident = replace(
            incident,
            severity=step.severity,
            worst_severity=worst,
            eases_since=step.eases_since,
            impact=f"{impact.users} ({step.severity}: {impact.reason})" if tally.firing or not incident.impact else
            incident.impact,
        )  # fmt: skip
        if step.reason:
            evidence_of = {"from": incident.severity, "to": step.severity, "users": impact.users}
            self.say(case, "severity", f"{step.severity}: {step.reason}", evidence=evidence_of)

    def _name(self, case: Case, effects: Iterable[Effect]) -> None:
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
                text = describe_change(change, case.incident.trouble_at)
                self.say(case, "change linked", text, subject=change.id, by=change.author or BY)
        suspects = case.incident.suspects
        if suspects and (not before.suspects or _head(before) != _head(case.incident)):
            scores = {suspect.node: f"{suspect.score:.2f}" for suspect in suspects}
            text = f"first suspect {suspects[0].node}: {suspects[0].reason}"
            self.say(case, "suspects ranked", text, evidence=scores)

    def linked_changes(self, case: Case) -> tuple[Change, ...]:
        window = self._config.grouping.change_window
        start = case.incident.trouble_at - window - timedelta(minutes=1)
        end = case.incident.trouble_at + timedelta(minutes=1)
        linked = self.link(self._tx.changes.find(after=("at", start), before=("at", end)), case)
        return self._still_in_force(linked, start, case.incident.trouble_at)

    def _still_in_force(self, linked: tuple[Change, ...], since: datetime, onset_at: datetime) -> tuple[Change, ...]:
        """Without those that a promoted fix had taken back when the trouble began: they cannot be its cause."""
        services = tuple({change.service for change in linked if change.commit})
        if not services:
            return linked
        where = {"service": services, "state": FixState.PROMOTED}
        fixes = self._tx.fixes.find(where, after=("updated_at", since), before=("updated_at", onset_at))
        standing = [fix for fix in fixes if not fix.taking_back]
        return tuple(change for change in linked if not any(_has_undone(fix, change) for fix in standing))

    def link(self, changes: Iterable[Change], case: Case) -> tuple[Change, ...]:
        return link_changes(
            changes,
            onset_at=case.incident.trouble_at,
            services=case.services,
            catalog=self._config.catalog,
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


def _has_undone(fix: Fix, change: Change) -> bool:
    """Whether the fix took the change back; the same commit deployed anew after it stands."""
    return bool(change.commit) and fix.undoes.startswith(change.commit or "") and change.at <= fix.updated_at


def _is_over(alert: Alert, since: datetime | None) -> bool:
    """Whether it ended before the present trouble began, and is only told again."""
    return since is not None and alert.ends_at is not None and alert.ends_at < since


def read_evidence(tx: Transaction, incident: str) -> Evidence:
    found = tx.documents.get(f"{EVIDENCE} {incident}")
    return Evidence() if found is None else msgspec.convert(found.body, Evidence)


def write_evidence(tx: Transaction, incident: str, evidence: Evidence, now: datetime) -> None:
    body = cast(dict[str, Any], msgspec.to_builtins(evidence))
    tx.documents.put(Document(id=f"{EVIDENCE} {incident}", kind=EVIDENCE, updated_at=now, body=body))


def read_suspicion(tx: Transaction, incident: str) -> Suspicion:
    """What the last look at the metrics gave; nothing before the first."""
    found = tx.documents.get(f"{SUSPICION} {incident}")
    return Suspicion() if found is None else msgspec.convert(found.body, Suspicion)


def write_suspicion(tx: Transaction, incident: str, suspicion: Suspicion, now: datetime) -> None:
    body = cast(dict[str, Any], msgspec.to_builtins(suspicion))
    tx.documents.put(Document(id=f"{SUSPICION} {incident}", kind=SUSPICION, updated_at=now, body=body))


def _head(incident: Incident) -> tuple[str, str | None]:
    return incident.suspects[0].node, incident.suspects[0].change
