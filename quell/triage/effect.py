"""An effect: what one alert measures, on which node, and how far that is from what is expected."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.alert import Alert
from quell.incidents.labels import SIGNAL
from quell.incidents.service import Catalog
from quell.incidents.signal import Signal, SignalKind
from quell.incidents.suspect import CLIENT_PREFIX
from quell.triage.relation import service_of

CLIENT = "client"
DROP_WEIGHT = 0.4  # less traffic than expected is what trouble looks like from below, seldom its cause
STRENGTH_OF_LABEL = {"critical": 0.7, "page": 0.7, "major": 0.55, "error": 0.55, "high": 0.55}
WEAK_LABEL = 0.4

_KIND_WORDS = (
    (SignalKind.ERROR_RATIO, re.compile(r"err|fail|5xx|availab", re.I)),
    (SignalKind.LATENCY, re.compile(r"laten|slow|p9\d|duration", re.I)),
    (SignalKind.TRAFFIC, re.compile(r"traffic|client|surge|rps|requests", re.I)),
    (SignalKind.SATURATION, re.compile(r"cpu|memory|disk|saturat|queue", re.I)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """`node` is an instance, a service or `client:NAME`; `strength` in 0..1 says how far from expected, in any unit."""

    node: str
    service: str
    metric: str
    kind: SignalKind
    value: float | None
    expected: float | None
    strength: float
    words: str
    at: datetime


def effect_of(alert: Alert, catalog: Catalog, signals: Mapping[str, Signal] | None = None) -> Effect:
    """Read an alert's labels and its annotations `value`, `expected`, `upper`; without numbers the severity counts."""
    signal = (signals or {}).get(alert.labels.get(SIGNAL, ""))
    kind = signal.kind if signal else kind_of(f"{alert.labels.get(SIGNAL, '')} {alert.name}")
    service = service_of(alert, catalog)
    value, expected, upper = (number(alert.annotations.get(key)) for key in ("value", "expected", "upper"))
    return Effect(
        node=_node(alert, service),
        service=service,
        metric=alert.labels.get(SIGNAL) or alert.name,
        kind=kind,
        value=value,
        expected=expected,
        strength=_strength(alert, kind, value, expected, upper),
        words=_words(alert, kind, value, expected, signal.unit if signal else ""),
        at=alert.starts_at,
    )


def kind_of(name: str) -> SignalKind:
    """What a signal or alert of this name measures, as far as its words tell.

    >>> str(kind_of("InstanceErrors")), str(kind_of("NoisyClient"))
    ('error_ratio', 'traffic')
    """
    return next((kind for kind, words in _KIND_WORDS if words.search(name)), SignalKind.OTHER)


def number(text: str | None) -> float | None:
    """
    >>> number("61.5 %"), number("0.3"), number("NaN"), number("many")
    (0.615, 0.3, None, None)
    """
    cleaned = (text or "").strip()
    scale = 0.01 if cleaned.endswith("%") else 1.0
    try:
        value = float(cleaned.rstrip("% ")) * scale
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _node(alert: Alert, service: str) -> str:
    if alert.instance:
        return alert.instance
    client = alert.labels.get(CLIENT)
    return f"{CLIENT_PREFIX}{client}" if client else service


def _strength(
    alert: Alert, kind: SignalKind, value: float | None, expected: float | None, upper: float | None
) -> float:
    """Errors by the share of requests lost, everything else by the ratio to what was expected; both saturate at 1."""
    if value is None:
        return STRENGTH_OF_LABEL.get((alert.severity_label or "").lower(), WEAK_LABEL)
    if kind is SignalKind.ERROR_RATIO:
        excess = max(0.0, value - (expected or 0.0))
        return excess / (excess + 0.1)
    base = upper if upper and upper > 0 else expected
    if not base or base <= 0:
        return WEAK_LABEL
    if value <= (expected or base):
        return WEAK_LABEL * DROP_WEIGHT
    growth = math.log(max(value / base, 1.0)) + 0.2
    return growth / (growth + 0.4)


def _words(alert: Alert, kind: SignalKind, value: float | None, expected: float | None, unit: str) -> str:
    if value is None:
        return alert.annotations.get("summary") or alert.name
    usual = "" if expected is None else f" (expected {_amount(expected, kind, unit)})"
    match kind:
        case SignalKind.ERROR_RATIO:
            return f"{_amount(value, kind, unit)} of requests fail{usual}"
        case SignalKind.LATENCY:
            return f"requests take {_amount(value, kind, unit)}{usual}"
        case SignalKind.TRAFFIC:
            return f"{_amount(value, kind, unit)}{usual}"
        case _:
            return f"{alert.labels.get(SIGNAL) or alert.name} is {_amount(value, kind, unit)}{usual}"


def _amount(value: float, kind: SignalKind, unit: str) -> str:
    if kind is SignalKind.ERROR_RATIO:
        return f"{value:.0%}".replace("%", " %") if value >= 0.1 else f"{value * 100:.1f} %"
    if kind is SignalKind.LATENCY and unit in ("", "s", "seconds"):
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
    if kind is SignalKind.TRAFFIC and unit == "":
        unit = "requests/s"
    return f"{value:.3g} {unit}".strip()
