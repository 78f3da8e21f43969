"""`quell silence`: mute alerts for a while, with author and comment; exchange silences with Alertmanager."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table, whoami

if TYPE_CHECKING:
    from quell.incidents.silence import Silence
    from tasks.silences import Exchange

app = typer.Typer(help="Mute alerts for a while; import from and export to Alertmanager.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Silence id, as in SIL-3, or Alertmanager's.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]


@app.command()
def add(
    matchers: Annotated[
        list[str], typer.Argument(help='As in Alertmanager: service="checkout" instance=~"checkout-.*"')
    ],
    comment: Annotated[str, typer.Option(help="Why; everybody sees it.")],
    lasting: Annotated[str, typer.Option("--for", help="How long, as in 2h.")] = "1h",
    until: Annotated[datetime | None, typer.Option(help="When it ends, in UTC; instead of --for.")] = None,
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Mute new alerts that match, from now on. What is in an incident already stays there."""
    from datetime import UTC

    from quell.config.value import parse_duration
    from tasks.silences import add_silence

    with opened(config) as res:
        end = until.replace(tzinfo=UTC) if until else res.clock() + parse_duration(lasting)
        silence = add_silence(res, ", ".join(matchers), ends_at=end, by=by or whoami(), comment=comment)
    out().print(f"{silence.id} mutes until {moment(silence.ends_at)}")


@app.command("list")
def list_silences(
    every: Annotated[bool, typer.Option("--all", help="Expired ones too.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """The silences in force and to come."""
    with opened(config) as res, res.store.reading() as tx:
        now = res.clock()
        found = tx.silences.find(after=None if every else ("ends_at", now), order="ends_at")
        rows = [_row(silence, now) for silence in found]
    if not rows:
        out().print("no silence" if every else "no silence in force (--all shows expired ones)")
        return
    out().print(table("", ("id", "state", "matchers", "until", "by", "comment"), rows))


@app.command()
def show(id: IdArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """One silence, and the alerts that it holds back now."""
    from quell.triage.muting import silence_hold
    from tasks.silences import find_silence

    with opened(config) as res, res.store.reading() as tx:
        silence = find_silence(tx, id)
        out().print(table("", ("id", "state", "matchers", "until", "by", "comment"), [_row(silence, res.clock())]))
        out().print(f"from {moment(silence.starts_at)}, in Alertmanager {silence.alertmanager or 'unknown'}")
        held = tx.alerts.find({"held_by": silence_hold(silence.id)}, limit=100)
        if held:
            rows = [(a.id, state(a.status), a.name, moment(a.starts_at)) for a in held]
            out().print(table("Muted by it", ("alert", "status", "name", "began"), rows))


@app.command()
def expire(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """End it now; what it muted and still fires is placed at once."""
    from tasks.silences import end_silence

    with opened(config) as res:
        out().print(f"{end_silence(res, id, by=by or whoami()).id} is expired")


@app.command("import")
def import_(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Take over the silences of the Alertmanager that quell.toml names, under their ids."""
    from tasks.silences import import_silences

    with opened(config) as res:
        _print(import_silences(res))


@app.command()
def export(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Give the silences to Alertmanager, and end there what ended here."""
    from tasks.silences import export_silences

    with opened(config) as res:
        _print(export_silences(res))


def _row(silence: "Silence", now: datetime) -> tuple[str, ...]:
    from quell.incidents.matcher import format_matchers

    selection = format_matchers(silence.matchers)
    return (silence.id, silence.state(now), selection, moment(silence.ends_at), silence.created_by, silence.comment)


def _print(done: "Exchange") -> None:
    parts = [("added", done.added), ("changed", done.changed), ("expired", done.expired)]
    said = [f"{len(ids)} {word}" for word, ids in parts if ids] + [f"{done.unchanged} unchanged"]
    out().print(", ".join(said))
    for reason in done.skipped:
        out().print(f"skipped: {reason}", markup=False)
