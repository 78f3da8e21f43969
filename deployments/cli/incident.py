"""`quell incident`: list, show, acknowledge, dismiss, merge, split."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, span, state, table, whoami

if TYPE_CHECKING:
    from quell.incidents.incident import Incident
    from quell.ports import Transaction

app = typer.Typer(help="List, show, acknowledge, dismiss, merge and split incidents.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Incident id, as in INC-42.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]


def find_incident(tx: "Transaction", id: str) -> "Incident":
    """Raises NotFound with the newest ids, since people mistype numbers."""
    from quell.incidents.errors import NotFound

    found = tx.incidents.get(id.upper())
    if found is None:
        newest = ", ".join(i.id for i in tx.incidents.find(order="id", descending=True, limit=3))
        raise NotFound(f'incident "{id}" does not exist; {f"the newest are {newest}" if newest else "there is none"}')
    return found


@app.command("list")
def list_incidents(
    every: Annotated[bool, typer.Option("--all", help="Closed and dismissed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 30,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """The incidents, newest first."""
    from quell.incidents.incident import ACTIVE_STATES, IncidentState, incident_times

    shown = tuple(ACTIVE_STATES | {IncidentState.RESOLVED, IncidentState.REVIEWED})
    with opened(config) as res, res.store.reading() as tx:
        found = tx.incidents.find(None if every else {"state": shown}, order="opened_at", descending=True, limit=limit)
    rows = [
        (
            i.id, state(i.state), state(i.severity), i.service, i.title, moment(i.opened_at),
            span(incident_times(i).to_contain), span(incident_times(i).to_resolve),
        )
        for i in found
    ]  # fmt: skip
    if not rows:
        out().print("no incident" if every else "no incident that needs anybody (--all shows closed ones)")
        return
    columns = ("id", "state", "severity", "service", "title", "opened", "contained in", "resolved in")
    out().print(table("", columns, rows))


@app.command()
def show(id: IdArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Everything about one incident: times, suspects, changes, mitigations, timeline."""
    with opened(config) as res, res.store.reading() as tx:
        incident = find_incident(tx, id)
        _print_head(incident)
        _print_parts(tx, incident)
        rows = [(moment(e.at), e.by, e.kind, e.text) for e in tx.timeline.of(incident.id)]
        out().print(table("Timeline", ("at", "by", "what", "why"), rows))


def _print_head(incident: "Incident") -> None:
    from quell.incidents.incident import incident_times

    console = out()
    console.print(f"[bold]{incident.id}[/] {state(incident.state)} {state(incident.severity)}", end=" ")
    console.print(incident.title, markup=False, soft_wrap=True)
    times = incident_times(incident)
    console.print(
        f"onset {moment(incident.onset_at)}, detected in {span(times.to_detect)}, acknowledged in "
        f"{span(times.to_acknowledge)}, contained in {span(times.to_contain)}, resolved in {span(times.to_resolve)}",
        soft_wrap=True,
    )


def _print_parts(tx: "Transaction", incident: "Incident") -> None:
    console = out()
    suspects = [(s.node, f"{s.score:.2f}", s.metric, s.reason) for s in incident.suspects]
    alerts = [
        (a.id, state(a.status), a.name, a.outcome or "undecided")
        for a in tx.alerts.find({"incident": incident.id}, order="starts_at")
    ]
    changes = [
        (c.id, moment(c.at), c.instance or c.service, c.summary) for c in map(tx.changes.get, incident.changes) if c
    ]
    mitigations = [
        (m.id, state(m.state), m.playbook, m.target, m.recovery_reason or m.plan.approval_reason)
        for m in tx.mitigations.find({"incident": incident.id})
    ]
    fixes = [(f.id, state(f.state), f.file, f.canary_result) for f in tx.fixes.find({"incident": incident.id})]
    reports = [(moment(r.at), r.reporter, r.text) for r in tx.reports.find({"incident": incident.id})]
    for title, columns, rows in (
        ("Suspects", ("suspect", "score", "metric", "evidence"), suspects),
        ("Alerts", ("id", "status", "name", "outcome"), alerts),
        ("Reports", ("at", "by", "text"), reports),
        ("Changes", ("id", "at", "where", "what"), changes),
        ("Mitigations", ("id", "state", "playbook", "target", "why"), mitigations),
        ("What safeguards cost", ("id", "cost"), _costs(tx, incident)),
        ("Fixes", ("id", "state", "file", "canary"), fixes),
    ):
        if rows:
            console.print(table(title, columns, rows), "")


def _costs(tx: "Transaction", incident: "Incident") -> list[tuple[str, str]]:
    from quell.response.cost import cost_in_words
    from tasks.safeguards import cost_of

    found = ((m.id, cost_of(tx, m.id)) for m in tx.mitigations.find({"incident": incident.id}))
    return [(id, cost_in_words(cost)) for id, cost in found if cost is not None]


@app.command()
def ack(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Say that somebody looks after it; stops the clock of MTTA. A second acknowledgement changes nothing."""
    from tasks.acts import acknowledge_incident

    with opened(config) as res:
        with res.store.reading() as tx:
            incident = find_incident(tx, id)
        out().print(acknowledge_incident(res, incident.id, by=by or whoami()))


@app.command()
def dismiss(
    id: IdArgument,
    why: Annotated[str, typer.Option(help="Why it is a false positive; goes on the timeline.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Close it as a false positive; detection learns from what was dismissed."""
    from tasks.acts import dismiss_incident

    with opened(config) as res:
        with res.store.reading() as tx:
            incident = find_incident(tx, id)
        out().print(dismiss_incident(res, incident.id, by=by or whoami(), why=why))


@app.command()
def merge(
    into: Annotated[str, typer.Argument(help="The incident that stays.")],
    other: Annotated[str, typer.Argument(help="The incident that is taken up by it.")],
    why: Annotated[str, typer.Option(help="Why they are one; goes on both timelines.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Two incidents are one: alerts, reports, changes and mitigations move, the other ends as merged."""
    from tasks.regroup import merge_incidents

    with opened(config) as res:
        kept = merge_incidents(res, into.upper(), other.upper(), by or whoami(), why)
    out().print(f"{other.upper()} is merged into {kept.id}")


@app.command()
def split(
    id: IdArgument,
    alert: Annotated[list[str], typer.Option("--alert", help="Alert id; give it once per alert.")],
    why: Annotated[str, typer.Option(help="Why they are two; goes on both timelines.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """One incident is two: these alerts become an incident of their own and are never joined to the old one again."""
    from tasks.regroup import split_incident

    with opened(config) as res:
        new = split_incident(res, id.upper(), alert, by or whoami(), why)
    out().print(f"{len(alert)} alerts of {id.upper()} are now {new.id}")
