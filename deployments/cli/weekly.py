"""`quell weekly`: the figures of one week, on the terminal or as a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, out, table

if TYPE_CHECKING:
    from quell.prevention.weekly.section import Row, Section, WeeklyReport


def weekly(
    week: Annotated[str, typer.Option(help="ISO week, as in 2026-W47; by default the last one that is over.")] = "",
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every figure to this CSV file.")] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write every figure to this Parquet file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report as markdown.")] = None,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """How the week went: times, causes, noise, approvals, what works, thresholds, run health. All times are UTC."""
    from quell.adapters.weekly_file import write_csv, write_parquet
    from quell.prevention.weekly.export import export_rows
    from quell.prevention.weekly.markdown import write_markdown

    with opened(config) as res:
        from tasks.weekly import chosen_week, link_of, weekly_report  # Prefect reads its settings when it is imported

        chosen = chosen_week(res, week)
        report, link = weekly_report(res, chosen), link_of(res, chosen)
    if csv is not None:
        csv.write_text(write_csv(export_rows(report)), encoding="utf-8", newline="")
    if parquet is not None:
        parquet.write_bytes(write_parquet(export_rows(report)))
    if markdown is not None:
        markdown.write_text(write_markdown(report, link), encoding="utf-8")
    written = [file for file in (csv, parquet, markdown) if file is not None]
    if written:
        out().print(f"week {chosen.name}: {', '.join(map(str, written))}", markup=False, soft_wrap=True)
        return
    _show(report)


def _show(report: "WeeklyReport") -> None:
    out().print(f"Week {report.week.name}: {report.week.days}", style="bold")
    for note in report.notes:
        err().print(note, style="yellow", markup=False, soft_wrap=True)
    for section in report.sections:
        out().print()
        if not section.rows:
            out().print(f"{section.title}: {section.empty}", markup=False, soft_wrap=True)
            continue
        out().print(table(section.title, ("", *section.columns), [_cells(section, row) for row in section.rows]))
        for row in section.rows:
            if row.detail:
                out().print(row.detail, markup=False, soft_wrap=True)


def _cells(section: "Section", row: "Row") -> tuple[str, ...]:
    from quell.prevention.weekly.words import cells_in_words

    return (row.name, *cells_in_words(section, row))
