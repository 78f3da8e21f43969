"""Doubts: why Quell must not act on an incident by itself, from the evidence and from the playbook's record."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from quell.incidents.alert import Alert, AlertStatus
from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident
from quell.incidents.labels import ALERTNAME
from quell.incidents.matcher import matches_all
from quell.incidents.mitigation import Mitigation, Plan
from quell.ports import Transaction
from quell.response.autonomy import Level, Standing, standing_of
from quell.response.evidence import EvidenceKind, doubt_of, kinds_of
from quell.response.playbook import Playbook
from tasks.recovery import is_outside
from tasks.resources import Resources

MOST_PAST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What speaks for a plan: the kind of alert, the kinds of evidence, and the playbook's standing on it."""

    answers: str
    kinds: tuple[EvidenceKind, ...]
    standing: Standing
    needed: int

    @property
    def observed(self) -> tuple[EvidenceKind, ...]:
        """What was seen outside of the record, and so holds for a moment only."""
        return tuple(kind for kind in self.kinds if kind in (EvidenceKind.LEVER, EvidenceKind.SIGNAL))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Empty when Quell may act by itself."""
        earned = () if self.standing.level is Level.AUTOMATIC else (self.standing.reason,)
        doubt = doubt_of(self.kinds, self.needed)
        return (*earned, *((doubt,) if doubt else ()))


def ground_of(res: Resources, playbook: Playbook, plan: Plan, incident: Incident, alerts: Sequence[Alert]) -> Ground:
    """What speaks for the plan; a source that does not answer speaks for nothing.

    The record is read first, then the lever is asked, and the metrics only where that is not enough: each costs time.
    """
    answers = alert_kind(playbook, incident, alerts)
    with res.store.reading() as tx:
        kinds = kinds_on_record(tx, incident)
        standing = standing_now(res, tx, playbook, answers)
    needed = res.config.fleet_limits.evidence_kinds
    if len(kinds) < needed and _is_seen_by_a_lever(res, plan):
        kinds = (*kinds, EvidenceKind.LEVER)
    if len(kinds) < needed and is_outside(res, playbook, incident.onset_at):
        kinds = (*kinds, EvidenceKind.SIGNAL)
    return Ground(answers=answers, kinds=kinds, standing=standing, needed=needed)


def kinds_on_record(tx: Transaction, incident: Incident) -> tuple[EvidenceKind, ...]:
    """What the record itself says for the incident now: who fires, who has reported, which change is accused."""
    firing = tx.alerts.find({"incident": incident.id, "status": AlertStatus.FIRING})
    reports = tx.reports.count({"incident": incident.id}, at_most=1)
    return kinds_of({alert.source for alert in firing}, reports=reports, accused_change=incident.accused_change)


def alert_kind(playbook: Playbook, incident: Incident, alerts: Sequence[Alert]) -> str:
    """The name of the alert that the playbook answers: of those that match it, the one that fires first."""
    matching = [a for a in alerts if matches_all(playbook.matchers, {"service": incident.service, **a.labels})]
    first = min(matching, key=lambda alert: (alert.starts_at, alert.id), default=None)
    return first.labels[ALERTNAME] if first else ""


def standing_now(res: Resources, tx: Transaction, playbook: Playbook, answers: str) -> Standing:
    """The playbook's rung on one kind of alert, by the record as it is in this transaction."""
    return standing_of(playbook.autonomy, res.config.environment, past_of(tx, playbook.name, answers))


def past_of(tx: Transaction, playbook: str, answers: str) -> list[Mitigation]:
    """The playbook's mitigations of one kind of alert, the newest first."""
    found = tx.mitigations.find({"playbook": playbook}, order="created_at", descending=True, limit=MOST_PAST)
    return [mitigation for mitigation in found if mitigation.answers == answers]


def _is_seen_by_a_lever(res: Resources, plan: Plan) -> bool:
    for step in plan.steps:
        with suppress(QuellError):
            if res.actuators[step.actuator].witness(step):
                return True
    return False
