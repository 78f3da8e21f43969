"""`quell threshold`: the versions of each signal's limit."""

from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table, whoami

app = typer.Typer(help="List, promote and revert the limits that were proposed from history.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Version id, as in THR-3.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it; by default the login name.")]


@app.command("list")
def list_thresholds(
    signal: Annotated[str, typer.Option(help="Only this signal.")] = "", config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Every version, newest first, with its evidence."""
    where = {"signal": signal} if signal else None
    with opened(config) as res, res.store.reading() as tx:
        found = tx.thresholds.find(where, order="updated_at", descending=True)
    rows = [
        (
            v.id, state(v.state), v.signal, _limit(v.lower), _limit(v.upper), moment(v.updated_at),
            "; ".join(f"{name}: {value}" for name, value in v.evidence.items()),
        )
        for v in found
    ]  # fmt: skip
    columns = ("id", "state", "signal", "lower", "upper", "changed", "evidence")
    out().print(table("", columns, rows) if rows else "no threshold version; `recompute-thresholds` proposes them")


def _limit(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


@app.command()
def promote(id: IdArgument, by: ByOption = "", config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Put an approved version into force (`quell approve THR-n` first); the one before it is superseded."""
    from tasks.thresholds import promote_threshold

    with opened(config) as res:
        promote_threshold(res, id.upper(), by or whoami())
    out().print(f"{id.upper()} is active", markup=False)


@app.command()
def revert(
    id: IdArgument,
    why: Annotated[str, typer.Option(help="Goes on the timeline.")],
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Take a version out of force; the one that it replaced is active again. A proposal is declined."""
    from tasks.thresholds import revert_threshold

    with opened(config) as res:
        revert_threshold(res, id.upper(), by or whoami(), why)
    out().print(f"{id.upper()} is reverted", markup=False)
