"""How every benchmark is called and how its figures are shown."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NARROWEST = 120


def parser(doc: str | None) -> argparse.ArgumentParser:
    """--json for one JSON object; the module's docstring is the help."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return made


def data_parser(doc: str | None) -> argparse.ArgumentParser:
    made = parser(doc)
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    return made


def stop(message: str) -> None:
    """What is wrong with the input, and exit 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def print_json(figures: dict[str, Any]) -> None:
    print(json.dumps(figures, indent=1))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """The first column is text, the others are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    console = Console(highlight=False, emoji=False, markup=False)
    console.width = max(console.width, NARROWEST)  # figures that are cut off are worth nothing
    console.print(made, "")


def cell(value: Any) -> str:
    """
    >>> cell(0.79512), cell(3073567), cell(None)
    ('0.795', '3,073,567', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 20 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
