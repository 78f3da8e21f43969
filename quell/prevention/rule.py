"""A rule: the limits of one signal as a Prometheus rule group."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from quell.incidents.hours import bands_in_words
from quell.incidents.labels import SERVICE, SEVERITY, SIGNAL
from quell.incidents.signal import Signal
from quell.prevention.hour_rule import record_limit, recorded
from quell.prevention.limits import Limits

THRESHOLD_LABEL = "quell_threshold"


def alert_name(signal: str, side: str) -> str:
    """The alert's name in Prometheus's style.

    >>> alert_name("shop-error-ratio", "high")
    'QuellShopErrorRatioHigh'
    """
    return "Quell" + "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", signal)) + side.capitalize()


def rule_group(
    signal: Signal, *, threshold: str, limits: Limits, hold: timedelta, evidence: Mapping[str, str]
) -> dict[str, Any]:
    """One group for one signal, with one alert per limit; the evidence stands in the annotations.

    A limit by hour of week is recorded first, so that it can be read and drawn like any other series.
    """
    rules: list[dict[str, Any]] = []
    for side, comparison, limit, bands in (
        ("high", ">", limits.upper, limits.upper_by_hour),
        ("low", "<", limits.lower, limits.lower_by_hour),
    ):
        if bands:
            rules.append(record_limit(signal, side, bands))
        if limit is not None:
            right = recorded(signal, side) if bands else repr(limit)
            said = bands_in_words(bands, f"{{:g}} {signal.unit}".format) if bands else f"{limit:g} {signal.unit}"
            rules.append(_alert(signal, threshold, side, f"{comparison} {right}", said.strip(), hold, evidence))
    return {"groups": [{"name": f"quell-{signal.name}", "rules": rules}]}


def _alert(
    signal: Signal,
    threshold: str,
    side: str,
    comparison: str,
    limit: str,
    hold: timedelta,
    evidence: Mapping[str, str],
) -> dict[str, Any]:
    labels = {SEVERITY: "critical" if signal.is_user_facing else "major", SIGNAL: signal.name}
    if signal.service:
        labels[SERVICE] = signal.service
    words = "above" if side == "high" else "below"
    return {
        "alert": alert_name(signal.name, side),
        "expr": f"({signal.query.strip()}) {comparison}",
        "for": f"{max(0, int(hold.total_seconds()))}s",
        "labels": {**labels, THRESHOLD_LABEL: threshold},
        "annotations": {
            "summary": f"{signal.name} is {words} its limit {limit}",
            "description": (signal.description or signal.name) + ": now {{ $value | humanize }}",
            # Prometheus expands templates in annotations: evidence must not look like one
            **{f"evidence_{_name(key)}": text.replace("{{", "{ {") for key, text in evidence.items()},
        },
    }


def _name(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
