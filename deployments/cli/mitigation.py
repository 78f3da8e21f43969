"""`quell mitigate`, `approve`, `release`: a mitigation by hand, from the plan to the undo."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table, whoami

if TYPE_CHECKING:
    from quell.incidents.mitigation import Mitigation, Plan
    from quell.ports import Transaction
    from quell.response.playbook import Playbook
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
        plan, answer = preview(res, playbook=playbook, service=service, target=target, incident=incident or None)
        _print_plan(plan)
        if not apply:
            out().print(f"guardrails: {_said(answer)}", markup=False, soft_wrap=True)
            out().print("dry run: nothing was changed; add --apply to do it", style="bold")
            return
        if not reason:
            raise Refused("reason is empty: say with --reason why; it goes on the timeline")
        _start(res, playbook, service, target, incident, by or whoami(), reason)


def _start(res: "Resources", playbook: str, service: str, target: str, incident: str, by: str, reason: str) -> None:
    from tasks.mitigation import plan_manual
    from tasks.runs import run_url, start_run

    planned = plan_manual(res, playbook, service, target, incident or None, by, reason)
    run = start_run(
        "mitigate/mitigate",
        {"mitigation": planned.id, "dry_run": False},
        key=f"mitigate {planned.id}",
        name=f"mitigate {planned.incident or 'by hand'} {playbook} {target or service}",
        tags=[tag for tag in (planned.id, planned.incident, service, "response") if tag],
    )
    out().print(f"{planned.id} runs: {run_url(run)}", markup=False, soft_wrap=True)
    if planned.plan.needs_approval:
        out().print(f"it waits for somebody else's approval: quell approve {planned.id} --person NAME", markup=False)


def preview(
    res: "Resources", *, playbook: str, service: str, target: str, incident: str | None
) -> "tuple[Plan, Answer]":
    """The plan as it would be made now, and what the guardrails say of it; only reads."""
    from quell.incidents.mitigation import HOLDING_STATES, PENDING_STATES
    from quell.response import guardrail
    from quell.response.plan import make_plan
    from quell.response.target import named_target
    from tasks.automation import automation_enabled

    book = find_playbook(res, playbook)
    chosen = named_target(book, service, target, res.config.catalog)
    actuators = {step.actuator: res.actuators[step.actuator] for step in book.steps}
    servers = [i.server for i in chosen.service.instances if i.server]
    live = {server: share for a in actuators.values() for server, share in a.capacity(servers).items()}
    plan = make_plan(
        book,
        chosen,
        incident=incident,
        live=live,
        describe_undo=lambda step: actuators[step.actuator].describe_undo(step),
    )
    with res.store.reading() as tx:
        answer = guardrail.check(
            plan,
            book.limits,
            service=chosen.service,
            catalog=res.config.catalog,
            live=live,
            automation_enabled=automation_enabled(tx),
            active=tx.mitigations.find({"state": tuple(HOLDING_STATES | PENDING_STATES)}),
            last_ended_at=_last_ended(tx, plan.target),
            now=res.clock(),
        )
    return plan, answer


def find_playbook(res: "Resources", name: str) -> "Playbook":
    from quell.config.problem import not_defined
    from quell.incidents.errors import NotFound

    if name not in res.config.playbooks:
        raise NotFound(not_defined("playbook", name, res.config.playbooks))
    return res.config.playbooks[name]


def _last_ended(tx: "Transaction", target: str) -> datetime | None:
    from quell.incidents.mitigation import MitigationState

    ended = tx.mitigations.find({"target": target, "state": MitigationState.UNDONE})
    return max((m.ended_at for m in ended if m.ended_at), default=None)


def _said(answer: "Answer") -> str:
    from quell.response.refusal import Allowed

    if isinstance(answer, Allowed):
        return f"allowed: {answer.reason}"
    return f"REFUSED by {answer.rule}: {answer.value}, limit {answer.limit}; {answer.advice}"


def _print_plan(plan: "Plan") -> None:
    console = out()
    radius = plan.blast_radius
    console.print(f"[bold]{plan.playbook}[/] on", end=" ")
    console.print(plan.target, markup=False)
    rows = [(n, s.actuator, s.action, s.target, dict(s.params) or "") for n, s in enumerate(plan.steps, start=1)]
    console.print(table("Steps", ("", "actuator", "action", "target", "parameters"), rows))
    console.print(
        f"takes {radius.capacity_share:.0%} of {radius.service}'s live capacity, leaves {radius.capacity_left:.0%} of all",
        markup=False,
    )
    console.print(f"approval: {plan.approval_reason}", markup=False, soft_wrap=True)
    for undo in plan.undo:
        console.print(f"undo: {undo}", markup=False, soft_wrap=True)


def approve(
    mitigation: IdArgument,
    person: Annotated[str, typer.Option(help="Your name in people.yaml.")],
    code: Annotated[str, typer.Option(prompt="One-time code", hide_input=True, help="From your authenticator app.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Say no.")] = False,
    comment: Annotated[str, typer.Option(help="Goes on the timeline.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Approve (or refuse) the plan that waits; its effects are shown, and the decision is bound to exactly them."""
    from tasks.approval import decide

    with opened(config) as res:
        found = find_mitigation(res, mitigation)
        _print_plan(found.plan)
        decision = decide(
            res,
            subject=found.id,
            plan_hash=found.plan_hash,
            person=person,
            code=code,
            answer="refuse" if refuse else "approve",
            comment=comment,
            channel="cli",
        )
    out().print(f"{decision.person} said {decision.answer} to {found.id} (plan {found.plan_hash[:12]})", markup=False)


def release(
    mitigation: IdArgument,
    why: Annotated[str, typer.Option(help="Goes on the timeline.")] = "released by hand",
    by: Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Undo a mitigation now and verify the undo. It works without Prefect and with automation switched off."""
    from quell.incidents.errors import Unavailable
    from quell.incidents.mitigation import MitigationState
    from tasks.mitigation import undo_mitigation

    with opened(config) as res:
        ended = undo_mitigation(res, find_mitigation(res, mitigation).id, by or whoami(), why)
    if ended.state is not MitigationState.UNDONE:
        raise Unavailable(f"{ended.id} is {ended.state}, not undone: `quell incident show` says why; try again")
    out().print(f"{ended.id} is {state(ended.state)}, verified at {moment(ended.ended_at)}")


def find_mitigation(res: "Resources", id: str) -> "Mitigation":
    from quell.incidents.errors import NotFound

    with res.store.reading() as tx:
        found = tx.mitigations.get(id.upper())
    if found is None:
        raise NotFound(f'mitigation "{id}" does not exist; `quell incident show INC-n` lists those of an incident')
    return found
