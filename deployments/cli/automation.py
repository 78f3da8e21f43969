"""`quell automation`: the kill switch."""

from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import out, whoami

app = typer.Typer(help="The kill switch: stops the next step of everything; undo still works.", no_args_is_help=True)
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]
DOCUMENT = "automation"


@app.command()
def on(
    by: ByOption = "",
    why: Annotated[str, typer.Option(help="Goes on the timeline.")] = "the danger is over",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Let Quell act again."""
    _switch(enabled=True, by=by, why=why, config=config)


@app.command()
def off(
    by: ByOption = "",
    why: Annotated[str, typer.Option(help="Goes on the timeline.")] = "stopped by hand",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Stop the next step of everything, now. What is in force stays until it is released."""
    _switch(enabled=False, by=by, why=why, config=config)


@app.command()
def status(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Whether Quell may act; exit 0 when on, 1 when off."""
    from tasks.automation import automation_enabled

    with opened(config) as res, res.store.reading() as tx:
        enabled = automation_enabled(tx)
        document = tx.documents.get(DOCUMENT)
    body = document.body if document else {}
    since = f", since {body['at']} by {body['by']}: {body['why']}" if body else " (never switched)"
    out().print(f"automation is {'on' if enabled else 'OFF'}{since}", markup=False, soft_wrap=True)
    if not enabled:
        raise typer.Exit(1)


def _switch(*, enabled: bool, by: str, why: str, config: "ConfigOption") -> None:
    from tasks.automation import set_automation

    with opened(config) as res:
        set_automation(res, enabled, by or whoami(), why)
    out().print(f"automation is {'on' if enabled else 'OFF'}")
