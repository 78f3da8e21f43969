"""Refusals in words: what history, shadow and being in force say of who is refused."""

from collections.abc import Mapping

from quell.incidents.standing import span_in_words
from quell.prevention.refusals import Refusals


def refusals_in_words(predicted: Mapping[str, float], shadow: Refusals | None, in_force: Refusals | None) -> str:
    """What history, shadow and being in force say of who is refused.

    >>> from datetime import UTC, datetime, timedelta
    >>> now = datetime(2026, 11, 2, tzinfo=UTC)
    >>> shadow = Refusals(since=now, until=now, measured=timedelta(hours=26), offered=9000.0, refused=18.0)
    >>> refusals_in_words({"offered": 200_000.0, "refused": 0.0}, shadow, None)
    'history: none of 200,000 requests refused; shadow of 1.08 d: 18 of 9,000 (0.2 %)'
    """
    parts = ["history: " + count_in_words(predicted.get("refused", 0.0), predicted.get("offered", 0.0), "requests ")]
    if shadow is not None:
        parts.append(f"shadow of {span_in_words(shadow.measured)}: {_seen_in_words(shadow)}")
    if in_force is not None:
        parts.append(f"in force for {span_in_words(in_force.measured)}: {_seen_in_words(in_force)}")
    return "; ".join(parts)


def _seen_in_words(record: Refusals) -> str:
    if not record.measured:
        return "nothing was measured yet"
    beside = f", and {record.in_incidents:,.0f} in incidents" if record.in_incidents else ""
    return count_in_words(record.refused, record.offered) + beside


def count_in_words(refused: float, offered: float, noun: str = "") -> str:
    """
    >>> count_in_words(3, 1000, "requests "), count_in_words(0, 10)
    ('3 of 1,000 requests refused (0.3 %)', 'none of 10')
    """
    said = f"{noun}refused" if noun else ""
    if refused < 0.5:
        return f"none of {offered:,.0f} {said}".rstrip()
    share = f"({refused / offered * 100:.2g} %)" if offered else ""
    return " ".join(f"{refused:,.0f} of {offered:,.0f} {said} {share}".split())
