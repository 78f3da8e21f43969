"""Links: addresses of dashboards and logs, made of templates filled with service, instance and time range."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from quell.incidents.incident import Incident

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_BEFORE = timedelta(minutes=15)
_AFTER = timedelta(minutes=5)
PLACEHOLDERS = (
    "service", "instance", "incident", "severity", "team",
    "from", "to", "from_ms", "to_ms", "from_s", "to_s",
)  # fmt: skip


def unknown_placeholders(template: str) -> tuple[str, ...]:
    """What stands in braces and is none of PLACEHOLDERS.

    >>> unknown_placeholders("https://logs.example/?q={servcie}&from={from_ms}")
    ('servcie',)
    """
    return tuple(name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS)


def fill_link(template: str, values: Mapping[str, str]) -> str | None:
    """The address with every value percent-encoded; None where a value is not known: it would lead nowhere.

    >>> fill_link("https://logs.example/?q={service}", {"service": "a&b c"})
    'https://logs.example/?q=a%26b%20c'
    """
    if any(not values.get(name) for name in _PLACEHOLDER.findall(template)):
        return None
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)


def link_values(incident: Incident, *, instance: str | None, team: str, now: datetime) -> Mapping[str, str]:
    """What the placeholders stand for: the time from a quarter of an hour before the onset to the end, or to now."""
    start, end = incident.onset_at - _BEFORE, (incident.resolved_at or now) + _AFTER
    times = {
        name: text
        for key, at in (("from", start), ("to", end))
        for name, text in (
            (key, at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            (f"{key}_ms", str(int(at.timestamp() * 1000))),
            (f"{key}_s", str(int(at.timestamp()))),
        )
    }
    return {
        "service": incident.service,
        "instance": instance or "",
        "incident": incident.id,
        "severity": incident.severity,
        "team": team,
        **times,
    }


def fill_links(templates: Mapping[str, str], values: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Name and address of each link that can be filled."""
    for name, template in templates.items():
        filled = fill_link(template, values)
        if filled is not None:
            yield name, filled
