"""A quantity: a number with a unit as configuration files write it, so that 500ms and 2s can be compared."""

import re
from collections.abc import Iterable, Mapping

UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"": 1e-3, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "cpu": {"": 1.0, "m": 1e-3},
    "size": {
        "": 1.0, "b": 1.0, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
        "ki": 2.0**10, "kib": 2.0**10, "mi": 2.0**20, "mib": 2.0**20, "gi": 2.0**30, "gib": 2.0**30, "ti": 2.0**40,
        "tib": 2.0**40,
    },
    "number": {"": 1.0, "%": 0.01},
}  # fmt: skip
"""A bare number of a time is milliseconds, as in HAProxy; of a size, bytes; of a CPU share, cores, as in Kubernetes."""
_SHAPE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)")


def read_quantity(text: object, unit: str) -> float | None:
    """The value in seconds, bytes, cores or as it stands; None where the text is no such quantity.

    >>> read_quantity("500ms", "time"), read_quantity("5m", "time"), read_quantity("500m", "cpu")
    (0.5, 300.0, 0.5)
    >>> read_quantity("64Mi", "size"), read_quantity("64 parsecs", "size"), read_quantity(True, "number")
    (67108864.0, None, None)
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    found = _SHAPE.fullmatch(str(text).strip())
    if found is None:
        return None
    factor = UNITS[unit].get(found[2].lower())
    return None if factor is None else float(found[1]) * factor


def guess_unit(name: str, texts: Iterable[object]) -> str | None:
    """Which unit all the texts are written in; the key's name decides between minutes, millions and millicores.

    >>> guess_unit("timeout server", ["15s", "150ms"]), guess_unit("cpu", ["500m"]), guess_unit("maxconn", ["20"])
    ('time', 'cpu', 'number')
    >>> guess_unit("limits.memory", ["512Mi", "64Mi"]), guess_unit("name", ["be_checkout"])
    ('size', None)
    """
    given = list(texts)
    order = ["number", "time", "size", "cpu"]
    words = name.lower()
    if "cpu" in words:
        order = ["cpu"]
    elif any(word in words for word in ("memory", "size", "storage", "bytes", "buffer", "bufsize")):
        order = ["number", "size"]
    return next((u for u in order if given and all(read_quantity(text, u) is not None for text in given)), None)
