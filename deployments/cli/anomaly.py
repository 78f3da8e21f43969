"""`quell anomaly`: what sweeps found worth a look, and what people say of it."""

from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, table, whoami

app = typer.Typer(help="List anomalies near the limit or new, and label them.", no_args_is_help=True)


@app.command("list")
def list_anomalies(
    signal: Annotated[str, typer.Option(help="Only this signal.")] = "",
    labelled: Annotated[
        bool, typer.Option("--labelled", help="Those that have a label, instead of those that wait.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """What waits for a person's word, the newest first."""
    from quell.incidents.anomaly import AnomalyLabel

    where: dict[str, object] = {"label": tuple(AnomalyLabel) if labelled else None}
    if signal:
        where["signal"] = signal
    with opened(config) as res, res.store.reading() as tx:
        found = tx.anomalies.find(where, order="last_at", descending=True, limit=limit)
    rows = [
        (a.id, moment(a.last_at), a.name, f"{a.label} by {a.labelled_by}: {a.why}" if a.label else a.because, a.reason)
        for a in found
    ]
    columns = ("id", "last seen", "series", "label" if labelled else "why look", "explanation")
    nothing = "no anomaly has a label" if labelled else "no anomaly waits for review"
    out().print(table("", columns, rows) if rows else nothing)


@app.command("label")
def label_command(
    id: Annotated[str, typer.Argument(help="Anomaly id, as in ANO-3.")],
    label: Annotated[str, typer.Argument(help="real, false or expected.")],
    why: Annotated[str, typer.Option(help="For the next reader; `expected` needs it.")] = "",
    by: Annotated[str, typer.Option("--by", help="A name of people.yaml; by default the login name.")] = "",
    code: Annotated[str, typer.Option(help="One-time code, to prove the name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Say what an anomaly was. Times labelled real are left out of fitting; the label stands on the timeline."""
    from tasks.anomalies import label as record

    with opened(config) as res:
        labelled = record(
            res, anomaly=id.upper(), label=label, person=by or whoami(), why=why, code=code, channel="cli"
        )
    out().print(f"{labelled.id} is {labelled.label}, says {labelled.labelled_by}", markup=False)
