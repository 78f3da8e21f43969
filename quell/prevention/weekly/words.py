"""Figures in words, the same on the page, in the artifact and on the command line."""

from quell.prevention.weekly.figure import Figure, Unit
from quell.prevention.weekly.section import Row, Section

NO_DATA = "no data (n = 0)"


def value_in_words(value: float | None, unit: Unit) -> str:
    """
    >>> value_in_words(95, Unit.SECONDS), value_in_words(0.5, Unit.SHARE), value_in_words(None, Unit.COUNT)
    ('1 min 35 s', '50 %', 'no data (n = 0)')
    >>> value_in_words(1234, Unit.COUNT), value_in_words(4.25, Unit.PER_INCIDENT), value_in_words(0.5, Unit.SECONDS)
    ('1,234', '4.25', '0.5 s')
    """
    if value is None:
        return NO_DATA
    match unit:
        case Unit.SECONDS | Unit.CAPACITY:
            return span_in_words(value)
        case Unit.SHARE:
            return f"{value * 100:.0f} %"
        case Unit.COUNT:
            return f"{value:,.0f}"
        case Unit.PER_WEEK | Unit.PER_INCIDENT:
            return f"{value:.3g}"


def span_in_words(seconds: float) -> str:
    """
    >>> span_in_words(0.04), span_in_words(59.6), span_in_words(3660), span_in_words(200_000)
    ('0.04 s', '1 min 0 s', '1 h 1 min', '2 d 8 h')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {round(whole % 86_400 / 3600)} h"


# Where axes of times have their lines, in seconds.
TICKS = (1, 10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000)


def tick_in_words(seconds: int) -> str:
    """
    >>> [tick_in_words(seconds) for seconds in TICKS[:7]]
    ['1 s', '10 s', '1 min', '10 min', '1 h', '6 h', '1 d']
    """
    size, unit = next(
        (size, unit) for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")) if seconds >= size
    )
    return f"{seconds // size} {unit}"


def figure_in_words(figure: Figure) -> str:
    """The value, and how much is still to come."""
    words = value_in_words(figure.value, figure.unit)
    return f"{words}, {figure.waiting} not there yet" if figure.waiting else words


def before_in_words(figure: Figure) -> str:
    """The week before with its sample size, and which way it went.

    >>> before_in_words(Figure(key="", name="", unit=Unit.SECONDS, value=60, n=4, before=120, n_before=3))
    '▼ 50 % from 2 min 0 s (n = 3)'
    """
    if figure.n_before is None:
        return ""
    if figure.before is None:
        return "no data (n = 0)"
    then = value_in_words(figure.before, figure.unit)
    then += "" if figure.unit is Unit.COUNT else f" (n = {figure.n_before:,})"
    if figure.value is None:
        return then
    if figure.value == figure.before:
        return f"same as {then}"
    arrow = "▲" if figure.value > figure.before else "▼"
    if figure.unit is Unit.SHARE or figure.before == 0:
        return f"{arrow} from {then}"
    return f"{arrow} {abs(figure.value / figure.before - 1) * 100:.0f} % from {then}"


def cells_in_words(section: Section, row: Row) -> tuple[str, ...]:
    """The cells of a row as plain text, in the order of the section's columns."""
    if section.is_spread:
        return spread_in_words(row.figures[0])
    return tuple(cell if isinstance(cell, str) else cell_in_words(cell) for cell in row.cells)


def spread_in_words(figure: Figure) -> tuple[str, ...]:
    """Value, median, 90th percentile, sample size and the week before."""
    return (
        figure_in_words(figure),
        "" if figure.median is None else value_in_words(figure.median, figure.unit),
        "" if figure.p90 is None else value_in_words(figure.p90, figure.unit),
        f"{figure.n:,}",
        before_in_words(figure),
    )


def cell_in_words(figure: Figure) -> str:
    """The value with its sample size, and the week before where it is known."""
    return figure_in_words(figure) + aside_in_words(figure)


def aside_in_words(figure: Figure) -> str:
    """What stands behind the value in a table of several figures."""
    if figure.value is None or figure.unit is Unit.PER_WEEK:
        return ""
    n = "" if figure.unit is Unit.COUNT else f" (n = {figure.n:,})"
    before = "" if figure.value == figure.before else before_in_words(figure)
    return f"{n}; {before}" if before else n
