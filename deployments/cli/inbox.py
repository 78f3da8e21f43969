"""`quell inbox`: what senders sent and nobody could read, waiting for a person to replay or to discard it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, table, whoami

if TYPE_CHECKING:
    from quell.incidents.inbox import InboxItem

app = typer.Typer(help="Events in quarantine: list, show, replay, discard.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Item id, or a beginning of it that is unique.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]


@app.command("list")
def list_held(
    every: Annotated[bool, typer.Option("--all", help="Discarded ones too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """What is held, and why."""
    from quell.incidents.inbox import Quarantine

    with opened(config) as res, res.store.reading() as tx:
        found = tx.inbox.find({"quarantine": Quarantine.HELD})
        if every:
            found += tx.inbox.find({"quarantine": Quarantine.DISCARDED})
    if as_json:
        typer.echo(json.dumps([_plain(item) for item in found], ensure_ascii=False))
        return
    rows = [(item.id, str(item.quarantine), item.source, moment(item.received_at), item.error) for item in found]
    columns = ("id", "state", "source", "received", "why it was held")
    out().print(table("", columns, rows) if rows else "nothing is in quarantine")


@app.command()
def show(id: IdArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """One item as JSON, with the body as it came."""
    from tasks.quarantine import find_quarantined

    with opened(config) as res, res.store.reading() as tx:
        item = find_quarantined(tx, id)
    typer.echo(json.dumps(_plain(item) | {"payload": dict(item.payload)}, ensure_ascii=False, indent=2))


@app.command()
def replay(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Put it through triage again; ends with 1 where it is held once more."""
    import tasks.quarantine as quarantine

    with opened(config) as res:
        item = quarantine.replay(res, id, by=by or whoami())
    if item.quarantine is not None:
        out().print(f"{item.id} is held again: {item.error}", markup=False)
        raise typer.Exit(1)
    done = "is triaged" if item.processed_at else "waits for triage"
    out().print(f"{item.id} {done}", markup=False)


@app.command()
def discard(
    id: IdArgument,
    why: Annotated[str, typer.Option(help="Why it is not needed; stays on the timeline.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Never triage it. The item and the reason are kept."""
    import tasks.quarantine as quarantine

    with opened(config) as res:
        item = quarantine.discard(res, id, by=by or whoami(), why=why)
    out().print(f"{item.id} is discarded", markup=False)


def _plain(item: "InboxItem") -> dict[str, str]:
    return {
        "id": item.id,
        "state": str(item.quarantine),
        "kind": str(item.kind),
        "source": item.source,
        "received_at": item.received_at.isoformat(),
        "error": item.error,
    }
