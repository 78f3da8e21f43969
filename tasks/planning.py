"""Planning: from an incident or a person's request to a stored intent, with the guardrails in the same transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quell.actuator import ResolvingActuator
from quell.incidents.alert import Alert
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.labels import SERVICE, format_labels
from quell.incidents.maintenance import find_maintenance
from quell.incidents.mitigation import Mitigation, MitigationId, MitigationState, Plan, Step, plan_hash
from quell.incidents.service import Service
from quell.ports import Transaction
from quell.response.autonomy import Level
from quell.response.evidence import EvidenceKind
from quell.response.guardrail import Situation, check
from quell.response.plan import make_plan, with_doubts
from quell.response.playbook import Playbook
from quell.response.refusal import Allowed, Answer, Refusal
from quell.response.target import NoChoice, Target, choose, named_target
from tasks.automation import automation_enabled
from tasks.doubts import ground_of, kinds_on_record, standing_now
from tasks.levers import get_actuator, live_capacity
from tasks.playbooks import get_playbook
from tasks.question import approvers_now
from tasks.record import ACTIVE_STATES, QUELL, acknowledge, get_incident, move, move_incident_if_possible
from tasks.resources import Resources
from tasks.unplanned import event_about, page, tell_refused, tell_unplanned

_HOUR = timedelta(hours=1)
_UNTOUCHED = (MitigationState.REFUSED, MitigationState.EXPIRED)
_PLANNABLE = (IncidentState.TRIAGED, IncidentState.CONTAINED, IncidentState.MITIGATING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A plan that is not stored yet, with what the guardrails need to judge it."""

    playbook: Playbook
    service: Service
    plan: Plan
    live: Mapping[str, float]
    answers: str = ""
    observed: tuple[EvidenceKind, ...] = ()  # what was seen outside of the record when it was made


def plan_for_incident(res: Resources, incident_id: str) -> Mitigation | None:
    """Plan what the playbooks say about the incident. None, with the reason on its timeline, when nothing may be done.

    Planning twice gives the same mitigation. Raises Unavailable when the load balancer does not tell its capacity.
    """
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        known = _active_of(tx, incident.id)
        alerts = tx.alerts.find({"incident": incident.id})
        summaries = [c.summary for id in incident.changes if (c := tx.changes.get(id)) is not None]
    if known is not None or incident.state is not IncidentState.TRIAGED:
        return known
    labels = [alert.labels for alert in alerts]
    found = choose(res.config.playbooks.values(), incident, labels, res.config.catalog, res.config.signals)
    if isinstance(found, NoChoice):
        tell_refused(res, incident.id, "no playbook applies: " + "; ".join(found.reasons))
        return None
    if not found.playbook.steps:
        page(res, incident.id, found.playbook, found.target)
        return None
    evidence = (
        *(_in_words(alert) for alert in alerts[:5]),
        *(f"change: {summary}" for summary in summaries[:5]),
    )
    try:
        draft = draft_plan(res, found.playbook, found.target, incident.id, evidence)
    except InvalidInput as error:  # a name from an alert that no actuator takes will not become better
        tell_refused(res, incident.id, f"{found.playbook.name} cannot be planned: {error}")
        return None
    ground = ground_of(res, found.playbook, draft.plan, incident, alerts)
    if ground.standing.level in (Level.OBSERVE, Level.SUGGEST):
        tell_unplanned(res, draft.plan, draft.service.name, ground.standing)
        return None
    spoken = f"it rests on {', '.join(ground.kinds) or 'nothing'}"
    plan = replace(draft.plan, evidence=(*draft.plan.evidence, spoken))
    draft = replace(draft, plan=with_doubts(plan, ground.doubts, found.playbook.approval), answers=ground.answers)
    draft = replace(draft, observed=ground.observed)
    stored = store_plan(res, draft, requested_by=QUELL, why=f"{found.playbook.name} answers {incident.id}")
    return stored if isinstance(stored, Mitigation) else None


def plan_manual(
    res: Resources,
    playbook: str,
    service: str,
    target: str,
    incident: str | None,
    requested_by: str,
    reason: str,
    *,
    flow_run: str | None = None,
    is_proven: bool = True,
) -> Mitigation:
    """Plan what a person asked for. The same flow run gets the same mitigation again.

    Where nobody has proven to be `requested_by`, a person who can prove it must approve, whatever the policy says.

    Raises InvalidInput (unknown playbook, service or target), NotFound (incident), Refused (a guardrail).
    """
    with res.store.reading() as tx:
        known = _of_run(tx, flow_run)
    if known is not None:
        return known
    draft = draft_manual(res, playbook, service, target, incident, requested_by, reason)
    if not is_proven:
        doubt = f"that {requested_by} asks is not proven"
        draft = replace(draft, plan=with_doubts(draft.plan, (doubt,), draft.playbook.approval))
    stored = store_plan(res, draft, requested_by=requested_by, why=reason, flow_run=flow_run)
    if isinstance(stored, Refusal):
        raise Refused(
            f"{playbook} on {target} is refused by {stored.sentence}",
            rule=stored.rule,
            value=stored.value,
            limit=stored.limit,
        )
    return stored


def draft_manual(
    res: Resources, playbook: str, service: str, target: str, incident: str | None, requested_by: str, reason: str
) -> Draft:
    """What `plan_manual` would store, checked against configuration and load balancer, without storing it."""
    book = get_playbook(res, playbook)
    if not book.steps:
        raise InvalidInput(f"playbook {playbook} has no steps, it only pages {book.owner}: see {book.runbook}")
    if not requested_by.strip() or requested_by == QUELL:
        raise InvalidInput(f"requested_by is {requested_by!r}: write your name, it decides who may approve")
    if incident is not None:
        with res.store.reading() as tx:
            _check_plannable(get_incident(tx, incident))
    named = named_target(book, service, target, res.config.catalog)
    return draft_plan(res, book, named, incident, (f"{requested_by} asked for it: {reason}",))


def draft_plan(
    res: Resources, playbook: Playbook, target: Target, incident: str | None, evidence: Sequence[str]
) -> Draft:
    """Resolve the plan against live capacity; every step's target and parameters are checked at its actuator."""
    live = live_capacity(res, target.service, [step.actuator for step in playbook.steps])
    plan = make_plan(
        playbook,
        target,
        incident=incident,
        evidence=evidence,
        live=live,
        describe_undo=lambda step: get_actuator(res, step.actuator).describe_undo(step),
    )
    plan = replace(plan, steps=tuple(_resolved(res, step) for step in plan.steps))
    for step in plan.steps:
        get_actuator(res, step.actuator).describe(step)
        get_actuator(res, step.actuator).read_state(step)
    return Draft(playbook=playbook, service=target.service, plan=plan, live=live)


def _resolved(res: Resources, step: Step) -> Step:
    actuator = get_actuator(res, step.actuator)
    return actuator.resolve(step) if isinstance(actuator, ResolvingActuator) else step


def store_plan(
    res: Resources, draft: Draft, *, requested_by: str, why: str, flow_run: str | None = None
) -> Mitigation | Refusal:
    """Write the intent, or why it is refused: guardrails and intent are one transaction over all processes."""
    with res.store.writing() as tx:
        now = res.clock()
        answer = ask_guardrails(res, tx, draft, now=now, requested_by=requested_by)
        if isinstance(answer, Refusal):
            event = event_about(
                draft.plan.incident, now, f"{draft.plan.playbook} on {draft.plan.target}: {answer.sentence}"
            )
            tx.timeline.append(event)
            return answer
        return _write_plan(tx, draft, answer, requested_by=requested_by, why=why, flow_run=flow_run, now=now)


def ask_guardrails(
    res: Resources,
    tx: Transaction,
    draft: Draft,
    *,
    now: datetime,
    requested_by: str,
    own: Mitigation | None = None,
) -> Answer:
    """Ask every guardrail about the plan inside a transaction; `own` is the mitigation that the plan already is."""
    others = [m for m in tx.mitigations.find({"state": ACTIVE_STATES}) if own is None or m.id != own.id]
    recent = tx.mitigations.find(after=("created_at", now - _HOUR))
    same = tx.mitigations.find({"target": draft.plan.target, "state": MitigationState.UNDONE})
    ended = [m.ended_at for m in same if m.ended_at is not None]
    situation = Situation(
        service=draft.service,
        catalog=res.config.catalog,
        live=draft.live,
        automation_enabled=automation_enabled(tx),
        active=others,
        recent=[m for m in recent if (own is None or m.id != own.id) and m.state not in _UNTOUCHED],
        last_ended_at=max(ended, default=None),
        frozen=find_maintenance(res.config.freezes, {SERVICE: draft.service.name}, now=now),
        is_automatic=requested_by == QUELL,
        standing=standing_now(res, tx, draft.playbook, draft.answers) if requested_by == QUELL else None,
        evidence=_evidence_now(tx, draft) if own is None else None,
        now=now,
    )
    return check(draft.plan, draft.playbook.limits, res.config.fleet_limits, situation)


def _evidence_now(tx: Transaction, draft: Draft) -> tuple[EvidenceKind, ...] | None:
    """What speaks for the plan now: an alert may have ended since it was made. None where no incident is answered."""
    incident = tx.incidents.get(draft.plan.incident) if draft.plan.incident else None
    return None if incident is None else (*kinds_on_record(tx, incident), *draft.observed)


def _write_plan(
    tx: Transaction,
    draft: Draft,
    allowed: Allowed,
    *,
    requested_by: str,
    why: str,
    flow_run: str | None,
    now: datetime,
) -> Mitigation:
    plan = draft.plan
    mitigation = Mitigation(
        id=MitigationId(f"MIT-{tx.next_number('MIT')}"),
        state=MitigationState.PLANNED,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident=plan.incident,
        playbook=plan.playbook,
        service=draft.service.name,
        target=plan.target,
        requested_by=requested_by,
        answers=draft.answers,
        created_at=now,
        updated_at=now,
        approval_deadline=now + draft.playbook.approval.deadline if plan.needs_approval else None,
        approvers=approvers_now(tx, draft.playbook.approval, incident=plan.incident, service=draft.service.name),
        flow_run=flow_run,
    )
    tx.mitigations.add(mitigation)
    text = f"{why}; {plan.approval_reason}; {allowed.reason}"
    evidence = {"plan_hash": mitigation.plan_hash, "target": plan.target}
    tx.timeline.append(
        event_about(plan.incident, now, text, kind="plan", by=requested_by, about=mitigation.id, **evidence)
    )
    move_incident_if_possible(
        tx, plan.incident, IncidentState.MITIGATING, now=now, by=requested_by, why=f"{mitigation.id} is planned: {why}"
    )
    if not plan.needs_approval or requested_by != QUELL:
        acknowledge(tx, plan.incident, now)
    if not plan.needs_approval:
        return mitigation
    return move(tx, mitigation, MitigationState.AWAITING_APPROVAL, now=now, by=requested_by, why=plan.approval_reason)


def _in_words(alert: Alert) -> str:
    where = alert.instance or alert.labels.get("client") or alert.service
    text = alert.annotations.get("summary") or format_labels(alert.labels)
    return f"alert {alert.name} on {where}: {text}" if where and where not in text else f"alert {alert.name}: {text}"


def _active_of(tx: Transaction, incident: str) -> Mitigation | None:
    return next(iter(tx.mitigations.find({"incident": incident, "state": ACTIVE_STATES})), None)


def _of_run(tx: Transaction, flow_run: str | None) -> Mitigation | None:
    if flow_run is None:
        return None
    recent = tx.mitigations.find(order="created_at", descending=True, limit=500)
    return next((m for m in recent if m.flow_run == flow_run), None)


def _check_plannable(incident: Incident) -> None:
    if incident.state not in _PLANNABLE:
        states = ", ".join(_PLANNABLE)
        raise InvalidInput(f"incident {incident.id} is {incident.state}; mitigations are planned while it is {states}")
