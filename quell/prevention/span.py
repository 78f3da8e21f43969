"""Times as a post-mortem writes them."""

from datetime import datetime, timedelta


def format_span(span: timedelta | None) -> str:
    """A length of time for people.

    >>> format_span(timedelta(seconds=95.4)), format_span(timedelta(seconds=7200)), format_span(None)
    ('1 min 35 s', '2 h 0 min', 'not reached')
    """
    if span is None:
        return "not reached"
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def format_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")
