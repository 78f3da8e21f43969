"""Unplanned: what the timeline says when an incident gets no plan: why, what would be done, or who is paged."""

from datetime import datetime
from shlex import quote

from quell.incidents.mitigation import Plan
from quell.incidents.timeline import Event
from quell.response.autonomy import Level, Standing
from quell.response.playbook import Playbook
from quell.response.story import step_text
from quell.response.target import Target
from tasks.record import QUELL
from tasks.resources import Resources

PAGE = "page"
NOTHING_DONE = ("plan refused", "plan observed", "plan suggested", PAGE)  # kinds on the timeline that say why


def tell_refused(res: Resources, incident: str, text: str) -> None:
    with res.store.writing() as tx:
        tx.timeline.append(event_about(incident, res.clock(), text))


def tell_unplanned(res: Resources, plan: Plan, service: str, standing: Standing) -> None:
    """On the lower rungs nothing is done: the plan is told, and when suggesting, how to carry it out."""
    steps = "; ".join(step_text(step) for step in plan.steps)
    text = f"{plan.playbook} would do: {steps}; {standing.reason}"
    if standing.level is Level.SUGGEST:
        target = quote(plan.target.partition(":")[2])  # the name may come from an alert, and the line is for a shell
        text += (
            f"; to do it: quell mitigate --playbook {plan.playbook} --service {quote(service)} --target {target} "
            f"--incident {plan.incident} --apply"
        )
    with res.store.writing() as tx:
        kind = "plan suggested" if standing.level is Level.SUGGEST else "plan observed"
        tx.timeline.append(event_about(plan.incident, res.clock(), text, kind=kind))


def page(res: Resources, incident: str, playbook: Playbook, target: Target) -> None:
    """Say once that people shall look; the outbox brings it to them."""
    why = f" ({'; '.join(target.evidence)})" if target.evidence else ""
    text = f"{playbook.name} pages {playbook.owner} for {target.name}{why}: {playbook.description}"
    with res.store.writing() as tx:
        if any(e.kind == PAGE and e.subject == playbook.name for e in tx.timeline.of(incident)):
            return
        event = event_about(
            incident, res.clock(), f"{text} Runbook: {playbook.runbook}", kind=PAGE, about=playbook.name
        )
        tx.timeline.append(event)


def event_about(
    incident: str | None,
    now: datetime,
    text: str,
    *,
    kind: str = "plan refused",
    by: str = QUELL,
    about: str | None = None,
    **evidence: str,
) -> Event:
    return Event(incident=incident, at=now, kind=kind, by=by, text=text, subject=about or incident, evidence=evidence)
