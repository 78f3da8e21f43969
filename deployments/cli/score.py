"""`quell score`: the sweep's detector on files, or on a signal's history, without touching anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import err, out, table
from quell.incidents.errors import InvalidInput

if TYPE_CHECKING:
    from deployments.cli.scored_series import Outcome

SHOWN = 40  # lines of the summary, warnings of a call


def score(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made where missing.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV or Parquet files with the columns timestamp and value.")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also write STEM.html: value, band and anomalies, to zoom into.")
    ] = False,
    signal: Annotated[
        str | None, typer.Option("--signal", help="Score a configured signal's history instead of files.")
    ] = None,
    since: Annotated[str, typer.Option("--since", help="How far back the signal's history is read.")] = "14d",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Run the sweep's detector over history; each row is judged on what came before it only.

    One CSV per input, of the same stem: timestamp, value, expected, lower, upper, anomaly_score (0 to 1, 0.5 is the
    recommended threshold) and verdict. Other columns of the input are ignored. Nothing needs to be configured, except
    for --signal.
    """
    if bool(files) == (signal is not None):
        raise InvalidInput("quell score needs files or --signal NAME, one of the two")
    if signal is not None:
        from deployments.cli.score_signal import score_signal

        outcomes = score_signal(signal, since, config, folder, with_plot=plot)
    else:
        from deployments.cli.score_files import score_files

        outcomes = score_files(files or [], folder, with_plot=plot)
    report(outcomes, folder, with_plot=plot)


def report(outcomes: "Sequence[Outcome]", folder: Path, *, with_plot: bool) -> None:
    """Warnings, the summary, then the failures; exit 1 where there are any."""
    warnings = [warning for outcome in outcomes for warning in outcome.warnings]
    for warning in warnings[:SHOWN]:
        err().print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    if len(warnings) > SHOWN:
        err().print(f"warning: {len(warnings) - SHOWN} more files with repeated or backward timestamps", style="yellow")
    good, bad = [o for o in outcomes if not o.error], [o for o in outcomes if o.error]
    if good:
        _print_summary(good, folder, with_plot)
    for outcome in bad:
        err().print(f"failed: {outcome.error}", style="red", markup=False, soft_wrap=True)
    if bad:
        err().print(f"{len(bad)} of {len(outcomes)} not scored, {len(good)} written to {folder}", style="bold red")
        raise typer.Exit(1)


def _print_summary(good: "Sequence[Outcome]", folder: Path, with_plot: bool) -> None:
    most = sorted(good, key=lambda outcome: -outcome.episodes)[:SHOWN]
    rows = [
        (o.written_to.stem, f"{o.rows:,}", f"{o.episodes:,}", f"{o.anomalous:,}", f"{o.no_data:,}")
        for o in sorted(most, key=lambda outcome: outcome.written_to.name)
    ]
    made = table("", ("series", "rows", "anomalies", "their rows", "no data"), rows)
    made.columns[0].no_wrap, made.columns[0].overflow = True, "ellipsis"
    for column in made.columns[1:]:
        column.justify, column.no_wrap = "right", True
    out().print(made)
    rest = f", {len(good) - SHOWN} with fewer anomalies not shown" if len(good) > SHOWN else ""
    what = "CSV and HTML" if with_plot else "CSV"
    total = f"{len(good)} series, {sum(o.rows for o in good):,} rows, {sum(o.episodes for o in good):,} anomalies"
    out().print(f"{total}{rest}; {what} in {folder}", soft_wrap=True, markup=False)
