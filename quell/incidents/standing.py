"""Standing limits: how many requests each client may send in the limiter's window, as the text of a limiter's map.

A safeguard for high-frequency use that stays on: it is no answer to an incident, and an incident's throttle stands
beside it, so that the stricter of the two counts.
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from quell.incidents.errors import InvalidInput

# Names of clients are compared in lower case, so that no client can be called like one of these.
NEW = "NEW"  # each client that the map does not name
OTHERS = "OTHERS"  # all of those together, and requests without a name: they never take a named client's place
MOST = 1_000_000_000  # HAProxy's counters have 32 bits
_NAME = re.compile(r"[a-z0-9_.:/@+\-][a-z0-9_.:#/@+\-]{0,63}")


def can_be_named(client: str) -> bool:
    """Whether a map can hold the name: one word of 1 to 64 characters that begins no comment."""
    return _NAME.fullmatch(client) is not None


def write_limits(limits: Mapping[str, int], *, version: str, window: timedelta) -> str:
    """The whole map. Its first lines say where it comes from; approvals are bound to this text.

    >>> print(write_limits({"web": 40, NEW: 9}, version="THR-3", window=timedelta(seconds=10)), end="")
    # THR-3: requests in 10 s for each client; NEW is one that has no line, OTHERS all of those together.
    # Quell writes this file; `quell threshold revert THR-3` takes it back.
    NEW 9
    web 40
    """
    first = sorted(set(limits) & {NEW, OTHERS})
    lines = [
        f"# {version}: requests in {window.total_seconds():g} s for each client; "
        "NEW is one that has no line, OTHERS all of those together.",
        f"# Quell writes this file; `quell threshold revert {version}` takes it back.",
        *(f"{name} {limits[name]}" for name in (*first, *sorted(set(limits) - {NEW, OTHERS}))),
    ]
    return "".join(f"{line}\n" for line in lines)


def read_limits(text: str) -> Mapping[str, int]:
    """Client -> requests in the window. Raises InvalidInput that names the line.

    >>> read_limits("# comment\\nNEW 9\\nweb 40\\n")
    {'NEW': 9, 'web': 40}
    """
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        if name not in (NEW, OTHERS) and not can_be_named(name):
            raise InvalidInput(f"line {number} of the standing limits: {name!r} is no client's name in lower case")
        if not value.isdigit() or not 1 <= int(value) <= MOST:
            raise InvalidInput(
                f"line {number} of the standing limits: {name} has {value!r}, it must be a whole number 1..{MOST}"
            )
        found[name] = int(value)
    return found


def in_words(requests: int, window: timedelta) -> str:
    """
    >>> in_words(40, timedelta(seconds=10))
    '40 requests in 10 s'
    """
    return f"{requests:,} requests in {window.total_seconds():g} s"


def span_in_words(span: timedelta) -> str:
    """
    >>> span_in_words(timedelta(days=1)), span_in_words(timedelta(minutes=90)), span_in_words(timedelta(seconds=45))
    ('1 d', '1.5 h', '45 s')
    """
    seconds = span.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
