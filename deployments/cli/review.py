"""`quell review`: post-mortems on the command line: read them, sign them, keep their action items moving."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, table, whoami

if TYPE_CHECKING:
    from quell.incidents.review import Review
    from quell.ports import Transaction

app = typer.Typer(help="Post-mortems: read, sign, waive, close, and their action items.", no_args_is_help=True)
action_app = typer.Typer(help="Action items of a post-mortem.", no_args_is_help=True)
app.add_typer(action_app, name="action")

IncidentArgument = Annotated[str, typer.Argument(help="Incident id, as in INC-7.")]
ItemArgument = Annotated[str, typer.Argument(help="Action item id, as in INC-7/A2.")]
ByOption = Annotated[str, typer.Option("--by", help="A name of people.yaml; by default the login name.")]
CodeOption = Annotated[str, typer.Option(prompt="One-time code", hide_input=True, help="From your authenticator app.")]
_DEFAULT_DUE = timedelta(days=14)


@app.command()
def show(
    id: IncidentArgument,
    markdown: Annotated[bool, typer.Option("--markdown", help="The whole document, as markdown.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Where a post-mortem stands: sections and who looks after them, sign-offs, action items, what is missing."""
    from tasks.review_record import get_review

    with opened(config) as res, res.store.reading() as tx:
        review = get_review(tx, id.upper())
        if markdown:
            typer.echo(review.markdown, nl=False)
            return
        _print_review(tx, review)


def _print_review(tx: "Transaction", review: "Review") -> None:
    from quell.prevention.sign_off import missing_to_close
    from tasks.guard_standing import standing_of
    from tasks.record import get_incident

    incident, guards, console = get_incident(tx, review.id), standing_of(tx, review.id), out()
    console.print(f"{review.id} is {incident.state}: {review.title}, edition {review.edition}", markup=False)
    sections = [(s.id, s.title, s.assignee or "nobody", f"by {s.edited_by}" if s.edited_by else "draft")
                for s in review.sections]  # fmt: skip
    signs = [(s.team, s.due, f"{s.person}, {moment(s.at)}" if s.person else "not yet") for s in review.sign_offs]
    items = [(i.id, i.text, i.owner, i.due, moment(i.done_at) or "open", i.export.url if i.export else "")
             for i in review.action_items]  # fmt: skip
    console.print(table("Sections", ("section", "title", "looks after it", "text"), sections))
    console.print(table("Sign-offs", ("team", "due", "signed by"), signs))
    console.print(table("Action items", ("id", "what", "owner", "due", "done", "issue"), items))
    rows = [
        (g.name, g.state, g.accepted_by, moment(g.accepted_at), g.said) for g in (*guards.accepted, *guards.waiting)
    ]
    if rows:
        console.print(table("Guards", ("guard", "state", "accepted by", "at", "what it says of the bad file"), rows))
    if review.guard_waiver:
        waiver = review.guard_waiver
        console.print(f"guard waived by {waiver.by}, {moment(waiver.at)}: {waiver.why}", markup=False, soft_wrap=True)
    for missing in missing_to_close(review, guards) if incident.state == "reviewed" else ():
        console.print(f"missing: {missing}", markup=False, soft_wrap=True)


@app.command()
def overdue(
    every: Annotated[bool, typer.Option("--all", help="Also what is not due yet.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Sign-offs, action items and guards past their date, the longest first."""
    from tasks.review_overdue import list_duties, list_overdue

    with opened(config) as res, res.store.reading() as tx:
        today = res.clock().date()
        found = list_duties(tx, today) if every else list_overdue(tx, today)
    rows = [(d.incident, d.what, d.subject, d.who, d.due, f"{max(d.days, 0)} days", d.text) for d in found]
    columns = ("incident", "what", "which", "who", "due", "overdue for", "text")
    out().print(table("", columns, rows) if rows else "nothing waits" if every else "nothing is overdue")


@app.command()
def sign(
    id: IncidentArgument,
    team: Annotated[str, typer.Option(help="The team for which you sign.")],
    code: CodeOption,
    edition: Annotated[int, typer.Option(help="The edition that you have read: `quell review show` names it.")],
    comment: Annotated[str, typer.Option(help="Stands beside the signature.")] = "",
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Sign for your team; the last signature closes the incident, if a person accepted its guard."""
    _work(config, id, "sign", by, code, subject=team, version=edition, text=comment)


@app.command()
def waive(
    id: IncidentArgument,
    why: Annotated[str, typer.Option(help="Why there is no guard to accept, and what watches for it instead.")],
    code: CodeOption,
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Let the incident be closed without an accepted guard; the reason stays in the record."""
    _work(config, id, "waive-guard", by, code, text=why)


@app.command()
def close(id: IncidentArgument, code: CodeOption, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Close the incident, or say what it still lacks."""
    _work(config, id, "close", by, code)


@action_app.command("add")
def add_action(
    id: IncidentArgument,
    text: Annotated[str, typer.Argument(help="What is to be done.")],
    owner: Annotated[str, typer.Option(help="A person or a team.")],
    code: CodeOption,
    due: Annotated[str, typer.Option(help="As 2026-12-31; by default in two weeks.")] = "",
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Add an action item."""
    due = due or f"{(datetime.now(UTC) + _DEFAULT_DUE).date()}"
    _work(config, id, "add-action", by, code, text=text, owner=owner, due=due)


@action_app.command("done")
def finish_action(
    item: ItemArgument, code: CodeOption, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Say that it is done."""
    _work(config, item.partition("/")[0], "finish-action", by, code, subject=item.upper())


@action_app.command("export")
def export_action(
    item: ItemArgument, code: CodeOption, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Make it an issue of the tracker that quell.toml names."""
    _work(config, item.partition("/")[0], "export", by, code, subject=item.upper())


def _work(
    config: Path,
    incident: str,
    action: str,
    by: str,
    code: str,
    *,
    subject: str = "",
    text: str = "",
    owner: str = "",
    due: str = "",
    version: int = 0,
) -> None:
    from quell.prevention.review_act import ReviewDetails
    from tasks.review_desk import act_on_review

    details = ReviewDetails(subject=subject, text=text, owner=owner, due=due, version=version)
    with opened(config) as res:
        said = act_on_review(
            res,
            action=action,
            incident=incident.upper(),
            person=by or whoami(),
            code=code,
            is_signed_in=False,
            details=details,
        )
    out().print(said, markup=False, soft_wrap=True)
