"""The weekly report as markdown, for the artifact of its flow."""

from collections.abc import Callable

from quell.prevention.table import markdown_table
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.section import Row, Section, WeeklyReport
from quell.prevention.weekly.words import aside_in_words, figure_in_words, spread_in_words

Link = Callable[[Figure], str]  # the address of what is behind a figure; empty where nothing is


def write_markdown(report: WeeklyReport, link: Link) -> str:
    """Numbers link to the page with the incidents and flow runs behind them."""
    parts = [f"# Week {report.week.name}: {report.week.days}"]
    parts += [f"_{note}_" for note in report.notes]
    parts += [_section(section, link) for section in report.sections]
    return "\n\n".join(parts) + "\n"


def _section(section: Section, link: Link) -> str:
    parts = [f"## {section.title}"]
    if not section.rows:
        return "\n\n".join([*parts, section.empty])
    rows = [_row(section, row, link) for row in section.rows]
    parts.append(markdown_table(("", *section.columns), rows))
    parts += [f"```diff\n{row.detail.rstrip()}\n```" for row in section.rows if row.detail]
    parts += [f"_{note}_" for note in section.notes]
    return "\n\n".join(parts)


def _row(section: Section, row: Row, link: Link) -> tuple[str, ...]:
    if section.is_spread:
        figure = row.figures[0]
        value, *others = spread_in_words(figure)
        return (row.name, _linked(value, figure, link), *others)
    return (row.name, *(cell if isinstance(cell, str) else _figure(cell, link) for cell in row.cells))


def _figure(figure: Figure, link: Link) -> str:
    return _linked(figure_in_words(figure), figure, link) + aside_in_words(figure)


def _linked(words: str, figure: Figure, link: Link) -> str:
    address = link(figure)
    return f"[{words}]({address})" if address else words
