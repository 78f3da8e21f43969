"""What can be wrong between [standing_limits] and the signal that measures traffic by client."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

from quell.config.problem import Problem, not_defined
from quell.config.source import Source
from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput
from quell.incidents.signal import SignalKind

_SECTION = "standing_limits"
_RANGE = re.compile(r"\[(?P<span>\w+)\]")
_WINDOW = "10s"  # the type's default


def check_standing(quell: Source, signals_file: Source) -> Iterator[Problem]:
    """The signal exists, measures over the limiter's window, and is looked at often enough; HAProxy is there."""
    section, connections = _mapping(quell.data.get(_SECTION)), _mapping(quell.data.get("connections"))
    if not section:
        return
    for key in ("haproxy_socket", "haproxy_maps"):
        if connections.get(key) in (None, ""):  # what is no text is told of at its own line
            yield quell.problem((_SECTION,), f"{_SECTION} needs connections.{key}: HAProxy is what refuses")
    signals, name = _mapping(signals_file.data.get("signals")), section.get("signal")
    if not signals_file.is_read or not isinstance(name, str):
        return
    if name not in signals:
        yield quell.problem((_SECTION, "signal"), not_defined("signal", name, signals))
        return
    yield from _check_signal(quell, section, name, _mapping(signals[name]))


def _check_signal(quell: Source, section: Mapping[str, Any], name: str, signal: Mapping[str, Any]) -> Iterator[Problem]:
    if signal.get("kind") != SignalKind.TRAFFIC:
        text = f'signal "{name}" is of kind {signal.get("kind")}; standing limits need traffic, in requests per second'
        yield quell.problem((_SECTION, "signal"), text)
    written = str(section.get("window", _WINDOW))
    window = _span(written)
    if window is None:
        return
    spans = {match["span"] for match in _RANGE.finditer(str(signal.get("query")))}
    for span in sorted(span for span in spans if _span(span) not in (None, window)):
        text = f'window is {written}, and signal "{name}" measures over [{span}]: measure in the window that is limited'
        yield quell.problem((_SECTION, "window") if "window" in section else (_SECTION,), text)
    step = _span(str(signal.get("step")))
    if step is not None and step > window:
        text = f'signal "{name}" has step {signal["step"]}, longer than window {written}: peaks would not be seen'
        yield quell.problem((_SECTION, "signal"), text)


def _span(text: str) -> timedelta | None:
    with suppress(InvalidInput):
        return parse_duration(text)
    return None


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
