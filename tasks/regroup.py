"""Regrouping: a person says that two incidents are one, or that one is two."""

from collections.abc import Collection
from dataclasses import replace

from quell.incidents.alert import Alert, AlertOutcome, Ruling, rule_alert
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.tally import Tally
from quell.ports import Transaction
from quell.triage.evidence import Evidence
from quell.triage.impact import title_of
from quell.triage.regroup import check_merge, check_split
from tasks.assessment import write_evidence
from tasks.bridging import note_split
from tasks.ground import Case, new_id
from tasks.merging import absorb
from tasks.record import get_incident
from tasks.resources import Resources
from tasks.triage import Triage


def merge_incidents(res: Resources, into: str, other: str, person: str, why: str) -> Incident:
    """Everything of `other` moves into `into`, and `other` ends as merged. Raises NotFound, InvalidInput, Refused."""
    _check_reason(person, why)
    now = res.clock()
    with res.store.writing() as tx:
        stays, gone = get_incident(tx, into), get_incident(tx, other)
        check_merge(stays, gone, tx.mitigations.find({"incident": gone.id}))
        triage = Triage(tx, res.config, now)
        kept, away = _case(triage, stays), _case(triage, gone)
        kept.incident = replace(kept.incident, kept_apart=tuple(id for id in kept.incident.kept_apart if id != gone.id))
        absorb(tx, triage.ground, triage.assessment, kept, away, by=person, why=why, now=now)
        triage.touch(kept)
        triage.finish()
        return get_incident(tx, stays.id)


def split_incident(res: Resources, incident: str, alerts: Collection[str], person: str, why: str) -> Incident:
    """These alerts become an incident of their own, which Quell never joins to the old one again.

    Returns the new incident. Raises NotFound, InvalidInput, Refused.
    """
    _check_reason(person, why)
    now = res.clock()
    with res.store.writing() as tx:
        record = get_incident(tx, incident)
        triage = Triage(tx, res.config, now)
        old = _case(triage, record)
        all_of_it = triage.ground.alerts_of(record.id)
        chosen = check_split(record, set(alerts), all_of_it)
        new = _open(triage, tx, res, old, chosen, person, why)
        note_split(old, new)
        stay = [alert for alert in all_of_it if alert.id not in alerts]
        triage.ground.lift(old.incident.id)
        _start_anew(triage, tx, res, old, _with_opener(stay, old, f"{new.incident.id} was split off: {why}", res))
        _start_anew(
            triage,
            tx,
            res,
            new,
            _with_opener(chosen, new, f"split from {record.id} by {person}: {why}", res, move=True),
        )
        text = f"{len(chosen)} alerts became {new.incident.id}: {why}"
        triage.assessment.say(old, "incident split", text, subject=new.incident.id, by=person)
        triage.finish()
        return get_incident(tx, new.incident.id)


def _check_reason(person: str, why: str) -> None:
    if not person.strip() or not why.strip():
        raise InvalidInput("the person or the reason is missing: say who regroups, and why; it goes on the timeline")


def _case(triage: Triage, incident: Incident) -> Case:
    case = triage.ground.case(incident.id)
    assert case is not None, incident.id
    return case


def _open(
    triage: Triage, tx: Transaction, res: Resources, old: Case, chosen: list[Alert], person: str, why: str
) -> Case:
    first = min(chosen, key=lambda alert: (alert.starts_at, alert.id))
    now = res.clock()
    new = Case(
        incident=replace(
            old.incident,
            id=new_id(tx),
            state=IncidentState.OPEN,
            title=title_of(triage.assessment.effect(first), res.config.catalog),
            service=triage.ground.kinship.service_of(first),
            opened_at=now,
            updated_at=now,
            onset_at=first.starts_at,
            opened_because=f"{person} split it from {old.incident.id}: {why}",
            opened_by=person,
            suspects=(),
            changes=(),
            acknowledged_at=None,
            contained_at=None,
            reopened=0,
            flow_runs={},
            tally=Tally(),
        )
    )
    triage.ground.add_case(new)
    triage.assessment.say(new, "incident opened", new.incident.opened_because, by=person)
    return new


def _with_opener(alerts: list[Alert], case: Case, reason: str, res: Resources, *, move: bool = False) -> list[Alert]:
    """The alerts as they are ruled now: of those that count, the earliest is the one that opened the incident."""
    counted = [a for a in alerts if a.outcome is not AlertOutcome.DUPLICATE] or alerts
    opener = next((a for a in alerts if a.outcome is AlertOutcome.OPENED), None)
    opener = opener or min(counted, key=lambda alert: (alert.starts_at, alert.id))
    ruled: list[Alert] = []
    for alert in alerts:
        outcome = AlertOutcome.OPENED if alert is opener else alert.outcome or AlertOutcome.JOINED
        if not move and outcome is alert.outcome:
            ruled.append(alert)
            continue
        ruling = Ruling(at=res.clock(), outcome=outcome, reason=reason, rule="split", incident=case.incident.id)
        ruled.append(rule_alert(alert, ruling))
    return ruled


def _start_anew(triage: Triage, tx: Transaction, res: Resources, case: Case, alerts: list[Alert]) -> None:
    """Count and measure the incident again, from the alerts that are now in it."""
    onset = min(alert.starts_at for alert in alerts)
    case.incident = replace(case.incident, tally=replace(Tally(), told_at=case.tally.told_at), onset_at=onset)
    case.news.clear()
    write_evidence(tx, case.incident.id, Evidence(), res.clock())
    for alert in alerts:
        triage.ground.put(alert)
        triage.ground.enter(case, alert)
    case.has_grown = False  # whom it is related to was known before; only a person set them apart
    triage.touch(case)
