"""A rule: the limits of one signal as a Prometheus rule group."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from quell.incidents.labels import SERVICE, SEVERITY, SIGNAL
from quell.incidents.signal import Signal

THRESHOLD_LABEL = "quell_threshold"


def alert_name(signal: str, side: str) -> str:
    """The alert's name in Prometheus's style.

    >>> alert_name("shop-error-ratio", "high")
    'QuellShopErrorRatioHigh'
    """
    return "Quell" + "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", signal)) + side.capitalize()


def rule_group(
    signal: Signal,
    *,
    threshold: str,
    upper: float | None,
    lower: float | None,
    hold: timedelta,
    evidence: Mapping[str, str],
) -> dict[str, Any]:
    """One group for one signal, with one alert per limit; the evidence stands in the annotations."""
    sides = [("high", ">", upper), ("low", "<", lower)]
    rules = [
        _alert(signal, threshold, side, comparison, limit, hold, evidence)
        for side, comparison, limit in sides
        if limit is not None
    ]
    return {"groups": [{"name": f"quell-{signal.name}", "rules": rules}]}


def _alert(
    signal: Signal,
    threshold: str,
    side: str,
    comparison: str,
    limit: float,
    hold: timedelta,
    evidence: Mapping[str, str],
) -> dict[str, Any]:
    labels = {SEVERITY: "critical" if signal.is_user_facing else "major", SIGNAL: signal.name}
    if signal.service:
        labels[SERVICE] = signal.service
    words = "above" if comparison == ">" else "below"
    return {
        "alert": alert_name(signal.name, side),
        "expr": f"({signal.query.strip()}) {comparison} {limit!r}",
        "for": f"{max(0, int(hold.total_seconds()))}s",
        "labels": {**labels, THRESHOLD_LABEL: threshold},
        "annotations": {
            "summary": f"{signal.name} is {words} its limit {limit:g} {signal.unit}".strip(),
            "description": (signal.description or signal.name) + ": now {{ $value | humanize }}",
            # Prometheus expands templates in annotations: evidence must not look like one
            **{f"evidence_{_name(key)}": text.replace("{{", "{ {") for key, text in evidence.items()},
        },
    }


def _name(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
