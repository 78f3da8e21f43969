"""`quell`: all commands, and how each of them ends."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deployments.cli import (
    anomaly,
    audit,
    automation,
    bisect,
    check,
    document,
    drill,
    fix,
    guard,
    inbox,
    incident,
    mitigation,
    noise,
    notify,
    people,
    playbook,
    report,
    review,
    score,
    silence,
    simulate,
    slo,
    source,
    suspects,
    threshold,
    weekly,
    why,
)
from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import err
from quell.incidents.errors import QuellError


class Commands(TyperGroup):
    """Errors that Quell raises on purpose end as one message and exit code 1; Ctrl-C ends with 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except QuellError as error:
            err().print(f"quell: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            err().print("quell: interrupted")
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=Commands,
    help="Runs the whole life of an incident: detect, triage, respond, resolve, prevent.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
    rich_markup_mode="rich",
)
app.command()(check.check)
app.add_typer(why.app, name="why")
app.add_typer(incident.app, name="incident")
app.add_typer(playbook.app, name="playbook")
app.command()(mitigation.mitigate)
app.command()(mitigation.approve)
app.command()(mitigation.release)
app.command()(report.change)
app.command()(report.report)
app.command()(simulate.simulate)
app.add_typer(silence.app, name="silence")
app.command()(score.score)
app.command()(suspects.suspects)
app.add_typer(automation.app, name="automation")
app.add_typer(threshold.app, name="threshold")
app.add_typer(review.app, name="review")
app.add_typer(anomaly.app, name="anomaly")
app.add_typer(notify.app, name="notify")
app.command()(noise.noise)
app.add_typer(drill.app, name="drill")
app.command()(weekly.weekly)
app.add_typer(slo.app, name="slo")
app.add_typer(audit.app, name="audit")
app.add_typer(people.app, name="people")
app.add_typer(source.app, name="source")
app.add_typer(inbox.app, name="inbox")
app.add_typer(guard.app, name="guard")
app.command()(document.document)
app.command()(bisect.bisect)
app.add_typer(fix.app, name="fix")


@app.command()
def up(
    config: ConfigOption = DEFAULT_FOLDER,
    data: Annotated[Path, typer.Option(help="Folder for the Prefect server's database and for logs.")] = Path(".quell"),
) -> None:
    """Start everything: Prefect server, deployments, worker, sweeper, responder, gateway."""
    from deployments.cli.up import up as start

    start(config, data)


if __name__ == "__main__":
    app()
