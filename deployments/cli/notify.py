"""`quell notify`: what was told to whom, what waits or has failed, and a sample to see that an address works."""

import json
from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, moment, out, table

app = typer.Typer(help="Notifications: what was sent, waits, is held or has failed.", no_args_is_help=True)


@app.command("list")
def list_notifications(
    state: Annotated[str, typer.Option(help="queued, sending, sent, failed, held, digested or obsolete.")] = "",
    receiver: Annotated[str, typer.Option(help="Only this receiver.")] = "",
    incident: Annotated[str, typer.Option(help="Only of this incident.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """The newest first; the last column says why it is held, or how it failed."""
    from quell.incidents.errors import InvalidInput
    from quell.incidents.notification import NotificationState

    if state and state not in list(NotificationState):
        raise InvalidInput(f'state "{state}" is none of {", ".join(NotificationState)}')
    given = {"state": state, "receiver": receiver, "incident": incident.upper()}
    with opened(config) as res, res.store.reading() as tx:
        where = {key: value for key, value in given.items() if value}
        found = tx.notifications.find(where, order="created_at", descending=True, limit=limit)
        failed = tx.notifications.count({"state": NotificationState.FAILED})
    rows = [
        (
            *(moment(n.created_at), n.kind.replace("_", " "), n.receiver, n.incident or "", n.state, str(n.attempts)),
            *(moment(n.due_at), n.reason or (n.errors[-1] if n.errors else n.title)),
        )
        for n in found
    ]
    columns = ("at", "what", "receiver", "incident", "state", "attempts", "due", "about")
    if as_json:
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False))
        return
    out().print(table("", columns, rows) if rows else "nothing was notified")
    if failed:
        err().print(f"{failed} notifications were given up: `quell notify list --state failed`", style="bold red")


@app.command("test")
def send_sample(
    receiver: Annotated[str, typer.Argument(help="A receiver of notifications.yaml.")],
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Send a sample to every address of a receiver, now and past quiet hours; exit 1 where one is not reached."""
    from quell.adapters.notify import send
    from quell.config.load import read_config
    from quell.config.problem import not_defined
    from quell.incidents.errors import InvalidInput, Unavailable
    from quell.triage.notification import Message

    receivers = read_config(config).notifying.receivers
    if receiver not in receivers:
        raise InvalidInput(not_defined("receiver", receiver, receivers))
    text = f"This is a test of the receiver {receiver}. Nothing is wrong."
    sample = Message(title=f"Test of {receiver}", text=text, markdown=text)
    failed = 0
    for reference in receivers[receiver].urls:
        try:
            send(reference, sample, timeout=receivers[receiver].timeout, severity="info")
            out().print(f"{reference}: reached", markup=False)
        except Unavailable as error:
            failed += 1
            err().print(str(error), style="red", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
