"""A section of the weekly report: a table of figures and words, the same for the page, the artifact and the export."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from quell.prevention.weekly.figure import Figure, with_before
from quell.prevention.weekly.week import Week

SPREAD = ("value", "median", "90 %", "n", "week before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`cells` follow the section's columns; `name` is what the row is about."""

    name: str
    cells: tuple[Figure | str, ...]
    detail: str = ""  # longer text below the row: a diff

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(cell for cell in self.cells if isinstance(cell, Figure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """`is_spread`: each row is one figure, shown with its distribution in the columns of `SPREAD`.

    `empty` is what is said instead of a table without rows.
    """

    key: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    empty: str = ""
    is_spread: bool = False

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for row in self.rows for figure in row.figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyReport:
    """`notes` say what the whole report lacks; `made_at` is when it was computed."""

    week: Week
    made_at: datetime
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the week was over."""
        return self.week.is_over(self.made_at)

    @property
    def figures(self) -> Iterator[tuple[Section, Figure]]:
        return ((section, figure) for section in self.sections for figure in section.figures)

    def find(self, key: str) -> tuple[Section, Figure] | None:
        return next(((section, figure) for section, figure in self.figures if figure.key == key), None)


def spread_row(figure: Figure) -> Row:
    return Row(name=figure.name, cells=(figure,))


def beside(section: Section, before: Section) -> Section:
    """The section with the values of the week before in its figures."""
    known: Mapping[str, Figure] = {figure.key: figure for figure in before.figures}
    return replace(section, rows=tuple(_beside(row, known) for row in section.rows))


def _beside(row: Row, known: Mapping[str, Figure]) -> Row:
    cells = tuple(with_before([cell], known)[0] if isinstance(cell, Figure) else cell for cell in row.cells)
    return replace(row, cells=cells)


def slug(*words: str) -> str:
    """Words as part of a figure's key.

    >>> slug("isolate-bad-instance", "Instance Errors")
    'isolate-bad-instance.instance-errors'
    """
    return ".".join(re.sub(r"[^a-z0-9_-]+", "-", word.lower()).strip("-") for word in words if word) or "none"


def unique(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with keys that are all different: two names may have the same slug."""
    seen: dict[str, int] = {}

    def told_apart(figure: Figure) -> Figure:
        seen[figure.key] = seen.get(figure.key, 0) + 1
        return figure if seen[figure.key] == 1 else replace(figure, key=f"{figure.key}~{seen[figure.key]}")

    return tuple(
        replace(row, cells=tuple(told_apart(cell) if isinstance(cell, Figure) else cell for cell in row.cells))
        for row in rows
    )
