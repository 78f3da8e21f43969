"""`quell why`: what triage did with an alert, and what speaks against each suspect of an incident."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table

if TYPE_CHECKING:
    from quell.incidents.alert import Alert
    from quell.ports import Transaction

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
        console.print(table("Alerts", ("alert", "status", "outcome", "why"), _alert_rows(tx, id)))


def _alert_rows(tx: "Transaction", incident: str) -> list[tuple[str, ...]]:
    return [
        (a.name, state(a.status), a.outcome or "undecided", a.outcome_reason)
        for a in tx.alerts.find({"incident": incident}, order="starts_at")
    ]


def _print_alert(alert: "Alert") -> None:
    from quell.incidents.labels import format_labels

    console = out()
    console.print(f"[bold]{alert.id}[/] {state(alert.status)}", end=" ")
    console.print(f"{alert.name} {format_labels(alert.labels)}", markup=False, soft_wrap=True)
    ended = f", ended {moment(alert.ends_at)}" if alert.ends_at else ""
    console.print(f"  from {alert.source}, started {moment(alert.starts_at)}{ended}", markup=False)
    what = alert.outcome or "undecided"
    to = f" ({alert.incident})" if alert.incident else ""
    reason = alert.outcome_reason or "triage has not looked at it yet"
    console.print(f"  {what}{to}: {reason}", markup=False, soft_wrap=True)
