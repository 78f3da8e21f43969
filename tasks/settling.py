"""Settling: what the clock decides, without any news: mutes that end, thresholds that pass, incidents that are over."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.incidents.incident import ACTIVE_STATES, Incident, IncidentState, move_incident
from quell.incidents.silence import Silence
from quell.incidents.timeline import event_of
from quell.ports import Document, Transaction
from quell.triage.impact import EASES_AFTER
from quell.triage.muting import silence_hold
from quell.triage.placement import REOPENABLE
from quell.triage.quiet import judge_quiet
from quell.triage.telling import TOLD_EVERY
from tasks.assessment import BY
from tasks.ground import Case
from tasks.resources import Resources
from tasks.triage import Triage

ROUTING = "routing"
MOST_AT_ONCE = 500
MOST_LOOKED_AT = 5000  # incidents whose time has come; most are held open by somebody and need nothing
LATE = timedelta(minutes=10)  # news of an alert that began in the reopen window may come so much later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """What a look found; read without blocking anybody, because it is asked several times a second."""

    alerts: list[Alert]
    silences: list[Silence]
    incidents: list[Incident]
    is_routing_new: bool

    def __bool__(self) -> bool:
        return bool(self.alerts or self.silences or self.incidents or self.is_routing_new)


def settle(res: Resources) -> list[str]:
    """Carry out what is due; returns the incidents opened, changed or resolved."""
    now = res.clock()
    with res.store.reading() as tx:
        due = _look(tx, res, now)
    if not due:
        return []
    with res.store.writing() as tx:
        due = _look(tx, res, now)  # somebody may have been faster
        triage = Triage(tx, res.config, now)
        if due.is_routing_new:
            _adopt(tx, triage, res, now)
        for alert in due.alerts:
            triage.place(alert)
        for silence in due.silences:
            if triage.free(silence_hold(silence.id)):
                tx.silences.put(replace(silence, settled_at=now))
        resolved = [i.id for i in due.incidents if _settle_incident(tx, triage, i, res, now)]
        return list(dict.fromkeys([*triage.finish(), *resolved]))


def _look(tx: Transaction, res: Resources, now: datetime) -> _Due:
    # By time alone: only what is held back has one, and no database is tempted to read all that fires.
    alerts = tx.alerts.find(before=("due_at", now), limit=MOST_AT_ONCE)
    incidents = tx.incidents.find(before=("due_at", now), limit=MOST_LOOKED_AT)
    known, quiet = tx.documents.get(ROUTING), res.config.grouping.quiet
    return _Due(
        alerts=[a for a in alerts if a.status is AlertStatus.FIRING and a.incident is None],
        silences=tx.silences.find({"settled_at": None}, before=("ends_at", now), limit=MOST_AT_ONCE),
        incidents=[incident for incident in incidents if _is_due(tx, incident, now, quiet)][:MOST_AT_ONCE],
        is_routing_new=known is None or known.body.get("digest") != _digest(res),
    )


def _is_due(tx: Transaction, incident: Incident, now: datetime, quiet: timedelta) -> bool:
    if not incident.is_active or incident.tally is None:
        return True
    tally = incident.tally
    if tally.gathered and (tally.told_at is None or now - tally.told_at >= TOLD_EVERY):
        return True
    if incident.eases_since is not None and now - incident.eases_since >= EASES_AFTER:
        return True
    return not tally.firing and bool(_ending(tx, incident, now, quiet))


def _ending(tx: Transaction, incident: Incident, now: datetime, quiet: timedelta) -> str:
    """Why the incident is over, or nothing."""
    if incident.accused_change:  # looked at first: it needs no reading
        return ""
    ending = judge_quiet(incident, tx.mitigations.find({"incident": incident.id}), now=now, quiet=quiet)
    return ending.reason if ending.is_over else ""


def _settle_incident(tx: Transaction, triage: Triage, incident: Incident, res: Resources, now: datetime) -> bool:
    """Whether the incident is resolved now."""
    if not incident.is_active:
        _forget(tx, triage, incident, now, res.config.grouping.reopen + LATE)
        return False
    case = triage.ground.case(incident.id)
    if case is None:
        return False
    if incident.tally is None:
        _recount(triage, case)
    why = _ending(tx, case.incident, now, res.config.grouping.quiet) if not case.tally.firing else ""
    if not why:
        triage.touch(case)
        return False
    triage.teller.tell_rest(case)
    ended, move = move_incident(case.incident, IncidentState.RESOLVED, now=now, by=BY, why=why)
    case.incident = ended
    tx.incidents.put(ended)
    tx.timeline.append(event_of(move))
    return True


def _forget(tx: Transaction, triage: Triage, incident: Incident, now: datetime, keep: timedelta) -> None:
    """An incident that is over leaves no footprints, once it cannot be reopened any more."""
    until = (incident.resolved_at or now) + keep
    if incident.state in REOPENABLE and now < until:
        tx.incidents.put(replace(incident, due_at=until))
        return
    triage.ground.lift(incident.id)
    tx.incidents.put(replace(incident, due_at=None))


def _adopt(tx: Transaction, triage: Triage, res: Resources, now: datetime) -> None:
    """The rules are new, or this store is: what is muted is asked about again, what was never counted is counted."""
    for incident in tx.incidents.find({"state": tuple(ACTIVE_STATES)}):
        case = triage.ground.case(incident.id)
        if case is not None and incident.tally is None:
            _recount(triage, case)
            triage.touch(case)
    for alert in tx.alerts.find({"outcome": AlertOutcome.MUTED, "status": AlertStatus.FIRING}):
        triage.place(alert)
    tx.documents.put(Document(id=ROUTING, kind=ROUTING, updated_at=now, body={"digest": _digest(res)}))


def _recount(triage: Triage, case: Case) -> None:
    """Count an incident that others wrote, or an older Quell."""
    for alert in triage.ground.alerts_of(case.incident.id):
        triage.ground.enter(case, alert)


def _digest(res: Resources) -> str:
    return sha256(repr((res.config.maintenance, res.config.rules)).encode()).hexdigest()
