"""Flapping: an alert that comes and goes too often to be told of each time."""

from collections.abc import Iterable

from quell.incidents.alert import Alert
from quell.triage.rules import Flapping


def flaps(alert: Alert, episodes: Iterable[Alert], rule: Flapping) -> str:
    """How it flaps, in words, or nothing: more than `changes` changes of state `within` before this start."""
    since = alert.starts_at - rule.within
    moments = {alert.starts_at}
    for known in episodes:
        moments |= {at for at in (known.starts_at, known.ends_at) if at is not None and since < at <= alert.starts_at}
    if len(moments) <= rule.changes:
        return ""
    return f"it flaps: {len(moments)} changes of state within {rule.within.total_seconds() / 60:g} min"
