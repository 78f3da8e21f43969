"""`quell playbook`: the playbooks, what each may do by itself and why, and what one would do now."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.mitigation import guardrails_said, preview, print_plan
from deployments.cli.playbook_care import check, drilled
from deployments.cli.playbook_library import add, show_library
from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, share, span, table, whoami

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quell.response.playbook import Playbook
    from tasks.playbooks import PlaybookRecord

app = typer.Typer(help="Playbooks: what they would do, and what they may do by themselves.", no_args_is_help=True)
app.command("library")(show_library)
app.command("add")(add)
app.command("check")(check)
app.command("drilled")(drilled)
NameArgument = Annotated[str, typer.Argument(help="The playbook's name, as `quell playbook list` shows it.")]


@app.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """All playbooks, what each may do by itself for each kind of alert that it answered, and its record."""
    from quell.incidents.outcome import harm_in_words, middle
    from tasks.playbooks import playbook_records

    with opened(config) as res:
        found = playbook_records(res)
    if as_json:
        typer.echo(json.dumps([_plain(record) for record in found], ensure_ascii=False))
        return
    rows = [
        (
            *(record.playbook, record.answers or "none yet", record.standing.level),
            f"{done.uses} used, {done.effective} effective, {done.failed} failed",
            *(share(done.success_share), span(middle(done.to_effect)), harm_in_words(done.harm)),
            moment(done.last_used_at),
        )
        for record in found
        if (done := record.outcomes)
    ]
    columns = ("playbook", "alert", "may", "record", "success", "time to effect", "harm", "last used (UTC)")
    out().print(table("", columns, rows) if rows else "no playbook is configured: see playbooks/ in the configuration")


@app.command("show")
def show(name: NameArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """One playbook: what it answers, its steps, what recovered means, its limits and its record."""
    from tasks.playbooks import get_playbook, playbook_records

    with opened(config) as res:
        book = get_playbook(res, name)
        records = [record for record in playbook_records(res) if record.playbook == book.name]
    out().print(table(book.name, ("", ""), _described(book)))
    rows = [(r.answers or "any", r.standing.level, r.standing.reason) for r in records]
    out().print(table("what it may do by itself", ("alert", "may", "because"), rows))


@app.command("plan")
def plan(
    name: NameArgument,
    service: Annotated[str, typer.Option(help="The service that is in trouble.")],
    target: Annotated[str, typer.Option(help="Instance or client; not needed for whole services.")] = "",
    incident: Annotated[str, typer.Option(help="The incident that it belongs to, if any.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """What the playbook would do now, what that takes away, and what the guardrails say. Nothing is changed."""
    with opened(config) as res:
        made, answer = preview(
            res, playbook=name, service=service, target=target, incident=incident or None, by=whoami(), reason=""
        )
    print_plan(made)
    out().print(f"guardrails: {guardrails_said(answer)}", markup=False, soft_wrap=True)


def _described(book: "Playbook") -> "Sequence[tuple[str, str]]":
    from quell.incidents.matcher import format_matchers

    recovery, approval, limits = book.recovery, book.approval, book.limits
    below = "the baseline's band" if recovery.below is None else f"{recovery.below:g}"
    asks = "always" if approval.always else f"above {approval.above_capacity_share:.0%} of the live capacity"
    steps = [f"{step.actuator}: {step.action} {step.target}" for step in book.steps]
    hold, deadline = recovery.hold.total_seconds(), recovery.deadline.total_seconds()
    return [
        ("what", book.description),
        ("owner", book.owner),
        ("answers", f"{format_matchers(book.matchers)}, {book.target_kind}, confidence from {book.min_confidence:g}"),
        ("steps", "; ".join(steps) or f"none: it pages {book.owner}"),
        ("recovered", f"{recovery.signal} below {below} for {hold:g} s, within {deadline:g} s" if steps else ""),
        ("asks", f"{asks}: {' or '.join(approval.roles)}"),
        (
            "limits",
            f"leaves {limits.capacity_floor:.0%} of the capacity, {limits.per_hour} an hour for a service, "
            f"{limits.cooldown.total_seconds():g} s between two on a target",
        ),
        ("tells", _told(book)),
        ("ends by itself", f"after {book.expires_after.total_seconds() / 60:g} min"),
        ("runbook", book.runbook or "none"),
    ]


def _told(book: "Playbook") -> str:
    """Whom, of what; what the routes of notifications.yaml say by themselves is not repeated."""
    rule = book.notification
    if not rule.kinds:
        return "as the routes in notifications.yaml say"
    return f"{', '.join(rule.to) or 'by the routes'} of {', '.join(rule.kinds)}"


def _plain(record: "PlaybookRecord") -> dict[str, Any]:
    from quell.incidents.outcome import middle

    done = record.outcomes
    effect = middle(done.to_effect)
    return {
        "playbook": record.playbook,
        "alert": record.answers,
        "level": record.standing.level,
        "reason": record.standing.reason,
        "used": done.uses,
        "effective": done.effective,
        "failed": done.failed,
        "success_share": done.success_share,
        "median_seconds_to_effect": None if effect is None else effect.total_seconds(),
        "harm": {
            "false_isolations": done.harm.false_isolations,
            "undo_failed": done.harm.undo_failed,
            "capacity_seconds": done.harm.capacity.total_seconds(),
            "wrongly_refused_requests": done.harm.wrongly_refused,
        },
        "last_used_at": done.last_used_at.isoformat() if done.last_used_at else None,
    }
