"""`quell why`: which rule did what with an alert, and what speaks against each suspect of an incident."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table

if TYPE_CHECKING:
    from quell.incidents.alert import Alert
    from quell.incidents.incident import Incident
    from quell.ports import Transaction

_MOST_SHOWN = 100

app = typer.Typer(help="Why an alert or an incident was treated as it was.", no_args_is_help=True)


@app.command()
def alert(
    id: Annotated[str, typer.Argument(help="Alert id, or its fingerprint for every episode of it.")],
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """The outcome of an alert and its reason."""
    from quell.incidents.errors import NotFound

    with opened(config) as res, res.store.reading() as tx:
        one = tx.alerts.get(id)
        found = [one] if one else tx.alerts.find({"fingerprint": id}, order="starts_at")
        if not found:
            raise NotFound(f'alert "{id}" does not exist; `quell incident show ID` lists the alerts of an incident')
        for each in found:
            _print_alert(each)


@app.command()
def incident(
    id: Annotated[str, typer.Argument(help="Incident id, as in INC-42.")], config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Why the incident was opened, what joined it, and the evidence against each suspect."""
    from deployments.cli.incident import find_incident

    console = out()
    with opened(config) as res, res.store.reading() as tx:
        found = find_incident(tx, id)
        console.print(f"[bold]{found.id}[/] {state(found.state)}", end=" ")
        console.print(found.title, markup=False)
        console.print(f"opened because {found.opened_because}", markup=False, soft_wrap=True)
        rows = [
            (f"{rank}.", s.node, f"{s.score:.2f}", s.metric, s.reason, s.change or "")
            for rank, s in enumerate(found.suspects, start=1)
        ]
        if rows:
            columns = ("", "suspect", "score", "metric", "evidence", "change")
            console.print(table("Suspects", columns, rows))
        else:
            console.print("no suspect: nothing stood out")
        _print_grouping(tx, found)


def _print_grouping(tx: "Transaction", incident: "Incident") -> None:
    """Which rules brought how many alerts, then the alerts themselves; the first of them only in a storm."""
    from quell.triage.why import explain_incident

    console = out()
    alerts = tx.alerts.find({"incident": incident.id}, order="starts_at")
    told = explain_incident(incident, alerts)
    for label, text in (("impact", told.impact), ("merged into", told.merged_into)):
        if text:
            console.print(f"{label}: {text}", markup=False, soft_wrap=True)
    if told.kept_apart:
        console.print(f"kept apart from {', '.join(told.kept_apart)} by a person")
    rows = [(str(r.alerts), r.outcome, r.rule, r.rule_at, r.example) for r in told.rules]
    console.print(table("Rules", ("alerts", "outcome", "rule", "written at", "one reason"), rows))
    shown = [(a.name, state(a.status), a.outcome or "undecided", a.outcome_reason) for a in alerts[:_MOST_SHOWN]]
    console.print(table("Alerts", ("alert", "status", "outcome", "why"), shown))
    if len(alerts) > _MOST_SHOWN:
        console.print(f"and {len(alerts) - _MOST_SHOWN} more; `quell why alert ID` tells of each")


def _print_alert(alert: "Alert") -> None:
    from quell.incidents.labels import format_labels
    from quell.triage.why import explain_alert

    console = out()
    console.print(f"[bold]{alert.id}[/] {state(alert.status)}", end=" ")
    console.print(f"{alert.name} {format_labels(alert.labels)}", markup=False, soft_wrap=True)
    ended = f", ended {moment(alert.ends_at)}" if alert.ends_at else ""
    console.print(f"  from {alert.source}, started {moment(alert.starts_at)}{ended}", markup=False)
    told = explain_alert(alert)
    console.print(f"  {told.headline}", markup=False, soft_wrap=True)
    for step in told.steps:
        by = f" [{step.rule}{f' at {step.rule_at}' if step.rule_at else ''}]" if step.rule else ""
        to = f" ({step.incident})" if step.incident else ""
        text = f"  {moment(step.at)} {step.outcome}{to}{by}: {step.reason}"
        console.print(text, markup=False, soft_wrap=True)
    if told.next_at:
        console.print(f"  looked at again {moment(told.next_at)}", markup=False)
