"""`quell mitigate`, `approve`, `release`: a mitigation by hand, from the plan to the undo."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table, whoami

if TYPE_CHECKING:
    from quell.incidents.mitigation import Mitigation, Plan
    from quell.ports import Transaction
    from quell.response.refusal import Answer
    from tasks.resources import Resources

IdArgument = Annotated[str, typer.Argument(help="Mitigation id, as in MIT-7.")]


def mitigate(
    playbook: Annotated[str, typer.Option(help="Name of the playbook.")],
    service: Annotated[str, typer.Option(help="The service that is in trouble.")],
    target: Annotated[
        str, typer.Option(help="Instance or client that it acts on; not needed for whole services.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why; goes on the timeline.")] = "",
    incident: Annotated[str, typer.Option(help="The incident that it belongs to, if any.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without it the plan is only shown.")] = False,
    by: Annotated[str, typer.Option("--by", help="Who asks for it; by default the login name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Plan a mitigation by hand and show it; with --apply the mitigate flow runs it, with approval where needed."""
    from quell.incidents.errors import Refused

    with opened(config) as res:
        who = by or whoami()
        plan, answer = preview(
            res, playbook=playbook, service=service, target=target, incident=incident or None, by=who, reason=reason
        )
        print_plan(plan)
        if not apply:
            out().print(f"guardrails: {guardrails_said(answer)}", markup=False, soft_wrap=True)
            out().print("dry run: nothing was changed; add --apply to do it", style="bold")
            return
        if not reason:
            raise Refused("reason is empty: say with --reason why; it goes on the timeline")
        _start(res, playbook, service, target, incident, who, reason)


def _start(res: "Resources", playbook: str, service: str, target: str, incident: str, by: str, reason: str) -> None:
    """Store the plan, then start its run; a plan whose run cannot be started does not stay behind."""
    from quell.incidents.errors import QuellError
    from tasks.effect import undo_mitigation
    from tasks.planning import plan_manual
    from tasks.runs import run_url, start_run

    planned = plan_manual(res, playbook, service, target, incident or None, by, reason)
    try:
        run = start_run(
            "mitigate/mitigate",
            {"request": {"mitigation": planned.id, "dry_run": False}},
            key=f"mitigate {planned.id}",
            name=" ".join(filter(None, ("mitigate", planned.incident, playbook, target or service))),
            tags=[planned.incident or "no-incident", service, "response"],
        )
    except QuellError as error:
        undo_mitigation(res, planned.id, by, f"its run could not be started: {error}")
        raise
    out().print(f"{planned.id} runs: {run_url(run)}", markup=False, soft_wrap=True)
    if planned.plan.needs_approval:
        out().print(f"it waits for somebody else's approval: quell approve {planned.id} --person NAME", markup=False)


def preview(
    res: "Resources", *, playbook: str, service: str, target: str, incident: str | None, by: str, reason: str
) -> "tuple[Plan, Answer]":
    """The plan as it would be made now, and what the guardrails say of it; only reads."""
    from tasks.planning import ask_guardrails, draft_manual

    draft = draft_manual(res, playbook, service, target, incident, by, reason or "a preview")
    with res.store.reading() as tx:
        return draft.plan, ask_guardrails(res, tx, draft, now=res.clock(), requested_by=by)


def guardrails_said(answer: "Answer") -> str:
    from quell.response.refusal import Allowed

    if isinstance(answer, Allowed):
        return f"allowed: {answer.reason}"
    return f"REFUSED by {answer.sentence}"


def print_plan(plan: "Plan") -> None:
    from quell.response.story import load_text

    console = out()
    radius = plan.blast_radius
    console.print(f"[bold]{plan.playbook}[/] on", end=" ")
    console.print(plan.target, markup=False)
    stage = {number: place for place, together in enumerate(plan.stages, start=1) for number in together}
    rows = [(stage[n], s.actuator, s.action, s.target, dict(s.params) or "") for n, s in enumerate(plan.steps, 1)]
    console.print(table("Steps", ("stage", "actuator", "action", "target", "parameters"), rows))
    taken, left = f"{radius.capacity_share:.0%}", f"{radius.capacity_left:.0%}"
    said = f"takes {taken} of {radius.service}'s live capacity, leaves {left} of the full one{load_text(radius)}"
    console.print(said, markup=False, soft_wrap=True)
    console.print(f"approval: {plan.approval_reason}", markup=False, soft_wrap=True)
    for undo in plan.undo:
        console.print(f"undo: {undo}", markup=False, soft_wrap=True)


def approve(
    subject: Annotated[str, typer.Argument(metavar="ID", help="What is decided: MIT-7, FIX-2 or THR-3.")],
    person: Annotated[str, typer.Option(help="Your name in people.yaml.")],
    code: Annotated[str, typer.Option(prompt="One-time code", hide_input=True, help="From your authenticator app.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Say no.")] = False,
    comment: Annotated[str, typer.Option(help="Goes on the timeline.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Approve (or refuse) what waits for a person; it is shown, and the decision is bound to exactly that."""
    from tasks.approval import decide
    from tasks.question import question_about, standing_of

    with opened(config) as res:
        with res.store.reading() as tx:
            question = question_about(res, tx, subject.upper())
            _print_subject(tx, question.subject)
            if standing := standing_of(tx, question):
                out().print(f"approvals: {standing}", markup=False, soft_wrap=True)
        decision = decide(
            res,
            subject=question.subject,
            plan_hash=question.plan_hash,
            person=person,
            code=code,
            answer="refuse" if refuse else "approve",
            comment=comment,
            channel="cli",
        )
    said = f"{decision.person} said {decision.answer} to {decision.subject} (plan {decision.plan_hash[:12]})"
    out().print(f"{said}: {decision.standing}", markup=False, soft_wrap=True)


def _print_subject(tx: "Transaction", id: str) -> None:
    if (mitigation := tx.mitigations.get(id)) is not None:
        print_plan(mitigation.plan)
    elif (fix := tx.fixes.get(id)) is not None:
        out().print(fix.diff, markup=False, soft_wrap=True)
    elif (version := tx.thresholds.get(id)) is not None:
        out().print(version.rule, markup=False, soft_wrap=True)


def release(
    mitigation: IdArgument,
    why: Annotated[str, typer.Option(help="Goes on the timeline.")] = "released by hand",
    by: Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")] = "",
    at_once: Annotated[bool, typer.Option("--at-once", help="Everything now, without looking in between.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Undo a mitigation and verify the undo. It works without Prefect and with automation switched off.

    What was effective comes back a little at a time where its playbook says so (release), and stays out when it hurts.
    """
    from quell.incidents.errors import Unavailable
    from quell.incidents.mitigation import MitigationState

    with opened(config) as res, out().status(f"{mitigation.upper()} is put back"):
        ended = _release(res, find_mitigation(res, mitigation).id, by or whoami(), why, at_once=at_once)
    if ended.state is MitigationState.EFFECTIVE:
        raise Unavailable(f"{ended.id} is in force again: {ended.recovery_reason}")
    if ended.state in (MitigationState.REFUSED, MitigationState.EXPIRED):
        out().print(f"{ended.id} was never applied; it is withdrawn")
        return
    if ended.state is not MitigationState.UNDONE:
        raise Unavailable(f"{ended.id} is {ended.state}, not undone: `quell incident show` says why; try again")
    out().print(f"{ended.id} is {state(ended.state)}, verified at {moment(ended.ended_at)}")


def _release(res: "Resources", id: str, by: str, why: str, *, at_once: bool) -> "Mitigation":
    """Release and say how far it is."""
    import time

    from tasks.effect import undo_mitigation
    from tasks.release import release_mitigation

    if at_once:
        return undo_mitigation(res, id, by, why)
    said: list[float] = []

    def wait(seconds: float) -> None:
        share = find_mitigation(res, id).eased_to
        if share and share not in said:
            said.append(share)
            out().print(f"{id} has {share:.0%} of its share again")
        time.sleep(seconds)

    return release_mitigation(res, id, by, why, sleep=wait)


def find_mitigation(res: "Resources", id: str) -> "Mitigation":
    from quell.incidents.errors import NotFound

    with res.store.reading() as tx:
        found = tx.mitigations.get(id.upper())
    if found is None:
        raise NotFound(f'mitigation "{id}" does not exist; `quell incident show INC-n` lists those of an incident')
    return found
