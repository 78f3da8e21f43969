"""The story of a mitigation in the Prefect UI: names of runs, their tags, and the artifacts that a person reads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quell.incidents.mitigation import Mitigation, Plan, plan_hash
from quell.incidents.timeline import NO_INCIDENT
from quell.response.refusal import Refusal
from quell.response.story import short_title, tell_outcome, tell_plan, tell_question
from tasks.artifacts import incident_link, publish
from tasks.forms import MitigationRequest, ReleaseRequest
from tasks.levers import get_actuator
from tasks.planning import ask_guardrails, draft_manual
from tasks.record import get_incident, get_mitigation
from tasks.recovery import draw_recovery
from tasks.resources import Resources
from tasks.runs import log, tag_run
from tasks.unplanned import NOTHING_DONE
from tasks.users_chart import draw_users


def mitigate_title(res: Resources, parameters: Mapping[str, Any]) -> str:
    """`mitigate INC-42 isolate checkout-2`, from the request's fields or the stored plan."""
    request = MitigationRequest.model_validate(parameters["request"])
    if request.mitigation:
        return f"mitigate {_title(res, request.mitigation)}"
    playbook = res.config.playbooks.get(request.playbook)
    action = "+".join(dict.fromkeys(step.action for step in playbook.steps)) if playbook else request.playbook
    words = ("dry run" if request.dry_run else "", "mitigate", request.incident, action, request.target)
    return " ".join(word for word in words if word)


def release_title(res: Resources, parameters: Mapping[str, Any]) -> str:
    """`release INC-42 isolate checkout-2`, from the stored plan."""
    return f"release {_title(res, ReleaseRequest.model_validate(parameters['request']).mitigation)}"


def show_response(res: Resources, incident_id: str, planned: Mitigation | None) -> None:
    """The artifact of `respond`: the plan and what becomes of it, or why nothing is done."""
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        reasons = [e.text for e in tx.timeline.of(incident_id) if e.kind in NOTHING_DONE]
    tag_run(incident.id, incident.service, incident.severity, "response")
    if planned is None:
        why = reasons[-1] if reasons else f"it is {incident.state}, and plans are made for triaged incidents"
        text = f"**Nothing is done; a person has to look.** {why}"
    else:
        fate = "needs a person's approval" if planned.plan.needs_approval else "goes ahead without approval"
        text = f"**{planned.id} {fate}:** {planned.plan.approval_reason}.\n\n{_plan_text(res, planned)}"
    markdown = f"## {incident_link(res.config, incident)}\n\n{text}"
    publish(f"respond {incident_id}", markdown, "What Quell does about the incident, and why")


def show_plan(res: Resources, mitigation: Mitigation) -> None:
    """The plan as an artifact, and what it is about as tags."""
    _tag(res, mitigation)
    text = _plan_text(res, mitigation, draw_users(res, mitigation.plan))
    publish(f"plan {mitigation.id}", text, "What it does, what it takes, how it is undone")


def show_dry_run(res: Resources, request: MitigationRequest) -> None:
    """What would be planned, and whether the guardrails would allow it."""
    draft = draft_manual(
        res,
        request.playbook,
        request.service,
        request.target,
        request.incident or None,
        request.requested_by or "dry run",
        request.reason,
    )
    with res.store.reading() as tx:
        answer = ask_guardrails(res, tx, draft, now=res.clock(), requested_by=request.requested_by or "dry run")
    verdict = f"refused by {answer.sentence}" if isinstance(answer, Refusal) else f"allowed: {answer.reason}"
    log().info("dry run: %s on %s would be %s", request.playbook, draft.plan.target, verdict)
    link = incident_link(res.config, draft.plan.incident)
    text = tell_plan(draft.plan, plan_hash(draft.plan), _effects(res, draft.plan), link, draw_users(res, draft.plan))
    key = f"dry run {request.playbook} {request.target}"
    publish(key, f"**Dry run, nothing was changed. It would be {verdict}.**\n\n{text}", "What would be done")


def question_text(res: Resources, mitigation: Mitigation, deadline: datetime, failed: int, standing: str) -> str:
    """What stands above the form of the person who decides."""
    link = incident_link(res.config, mitigation.incident)
    effects, chart = _effects(res, mitigation.plan), draw_users(res, mitigation.plan)
    return tell_question(mitigation, effects, deadline, incident=link, failed=failed, standing=standing, chart=chart)


def show_outcome(res: Resources, mitigation_id: str, title: str) -> str:
    """The story as the artifact `title MIT-1`; returns its first sentence."""
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        incident = tx.incidents.get(mitigation.incident) if mitigation.incident else None
        entries = tx.timeline.of(mitigation.incident or NO_INCIDENT)
    _tag(res, mitigation)
    chart = "" if mitigation.applied_at is None else draw_recovery(res, mitigation)
    story = tell_outcome(mitigation, entries, incident=incident_link(res.config, incident), chart=chart)
    publish(f"{title} {mitigation_id}", story, "How it ended, the users' signal, the timeline")
    last = next((e.text for e in reversed(entries) if e.subject == mitigation_id), "")
    return f"{mitigation_id} is {mitigation.state.replace('_', ' ')}: {last}"


def _title(res: Resources, mitigation_id: str) -> str:
    with res.store.reading() as tx:
        known = tx.mitigations.get(mitigation_id)
    return short_title(known.plan) if known else mitigation_id


def _plan_text(res: Resources, mitigation: Mitigation, chart: str = "") -> str:
    link = incident_link(res.config, mitigation.incident)
    return tell_plan(mitigation.plan, mitigation.plan_hash, _effects(res, mitigation.plan), link, chart)


def _effects(res: Resources, plan: Plan) -> list[str]:
    return [get_actuator(res, step.actuator).describe(step) for step in plan.steps]


def _tag(res: Resources, mitigation: Mitigation) -> None:
    with res.store.reading() as tx:
        incident = tx.incidents.get(mitigation.incident) if mitigation.incident else None
    tag_run(mitigation.incident, mitigation.service, incident.severity if incident else None, "response")
