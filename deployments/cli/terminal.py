"""What commands print: tables and panels on standard output, problems on standard error."""

import getpass
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STATE_STYLES = {
    "open": "bold red",
    "triaged": "red",
    "firing": "red",
    "critical": "bold red",
    "major": "yellow",
    "mitigating": "yellow",
    "awaiting_approval": "bold yellow",
    "applying": "yellow",
    "undo_failed": "bold red",
    "ineffective": "red",
    "contained": "cyan",
    "resolving": "cyan",
    "applied": "cyan",
    "effective": "green",
    "resolved": "green",
    "active": "green",
    "undone": "green",
}


_WIDE = 200  # columns where nobody says how many there are: a file or a pipe has no edge, and 80 fold dates and names


def out() -> Console:
    """Made per use, so that redirected and captured output is respected."""
    is_unknown = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, emoji=False, width=_WIDE if is_unknown else None)


def err() -> Console:
    return Console(stderr=True, highlight=False, emoji=False)


def state(value: str) -> str:
    style = STATE_STYLES.get(value)
    return f"[{style}]{value}[/]" if style else value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Cells are plain text unless they come from `state`; anything else that looks like markup is shown as it is."""
    made = Table(title=title or None, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) if _is_markup(cell) else escape(str(cell)) for cell in row))
    return made


def _is_markup(cell: object) -> bool:
    return isinstance(cell, str) and any(cell == f"[{style}]{name}[/]" for name, style in STATE_STYLES.items())


def moment(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")


def span(value: timedelta | None) -> str:
    """A length of time for people.

    >>> span(timedelta(seconds=95))
    '1m35s'
    """
    if value is None:
        return "–"
    seconds = value.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def share(value: float | None) -> str:
    """A share of something for people; of nothing there is none.

    >>> share(0.955), share(None)
    ('96 %', '–')
    """
    return "–" if value is None else f"{value * 100:.0f} %"


def whoami() -> str:
    """The name that goes on the timeline when none is given."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"
