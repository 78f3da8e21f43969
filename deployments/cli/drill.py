"""`quell drill`: game days in a sandbox, and how they went."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, table, whoami

if TYPE_CHECKING:
    from quell.incidents.drill import Drill

app = typer.Typer(help="Break one thing in a sandbox on purpose, and score how the whole path deals with it.")


@app.command()
def faults(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """What can be broken there."""
    from tasks.drill import ground_of

    with opened(config) as res:
        for name, target in ground_of(res).faults().items():
            out().print(f"{name:18} {f'strikes one {target}' if target else 'strikes everything'}")


@app.command()
def run(
    fault: Annotated[str, typer.Argument(help="See `quell drill faults`.")],
    target: Annotated[str, typer.Option(help="The instance, client or service; default: the fault's own.")] = "",
    by: Annotated[str, typer.Option(help="Your name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Hold a drill now, in this process; exit 1 when a part failed. Quell itself must be up (`quell up`)."""
    from tasks.drill import ground_of, run_drill

    with opened(config) as res:
        ground = ground_of(res)
        named = ground.faults().get(fault, "")
        with out().status(f"drill {fault}: waiting for Quell to deal with it"):
            held = run_drill(res, ground, fault, {named: target} if named and target else {}, by or whoami())
    _show(held)
    if not held.is_passed:
        raise typer.Exit(1)


@app.command("list")
def list_drills(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Drills that were held, the newest first."""
    from tasks.drill import find_drills

    with opened(config) as res, res.store.reading() as tx:
        held = find_drills(tx)
    if as_json:
        typer.echo(json.dumps([_plain(drill) for drill in held], ensure_ascii=False))
        return
    rows = [(d.id, moment(d.began_at), d.strike.words, d.incident or "", d.sentence.partition(": ")[2]) for d in held]
    out().print(table("", ("drill", "when", "fault", "incident", "outcome"), rows) if rows else "no drill was held yet")


@app.command()
def show(
    drill: Annotated[str, typer.Argument(metavar="DRILL-n")],
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """The scorecard of one."""
    from tasks.drill import get_drill

    with opened(config) as res, res.store.reading() as tx:
        held = get_drill(tx, drill)
    _show(held)


def _show(drill: "Drill") -> None:
    rows = [
        (name, str(part.mark), "" if part.seconds is None else f"{part.seconds:.1f} s", part.words)
        for name, part in drill.parts.items()
    ]
    out().print(drill.sentence, markup=False)
    out().print(table("", ("part", "mark", "after", "evidence"), rows))


def _plain(drill: "Drill") -> dict[str, object]:
    import msgspec

    return msgspec.to_builtins(drill)
