"""The same burn rates as Prometheus rules, for those who want them evaluated there."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from quell.detection.burn_rate import ERROR_BUDGET_BURN, duration_text, reachable, windowed
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import SERVICE, SEVERITY, SIGNAL
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnUrgency, BurnWindow, Slo

RECORD = "quell:slo_errors:ratio_rate"  # + the window


def slo_rules(
    signal: Signal, windows: Sequence[BurnWindow], labels: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The content of a rule file: a recording rule for each window, an alert for each pair of windows.

    The alerts carry `labels` beside their own.
    Raises InvalidInput where the signal has no slo or no window could ever fire.
    """
    if signal.slo is None:
        raise InvalidInput(f"signal {signal.name} has no slo: give it one in signals.yaml")
    pairs = reachable(signal.slo, windows)
    if not pairs:
        raise InvalidInput(
            f"signal {signal.name}: an objective of {signal.slo.objective:g} over {duration_text(signal.slo.period)} "
            "is too low for any burn rate alert: raise the objective, or watch the ratio itself"
        )
    spans = sorted({span for pair in pairs for span in (pair.short, pair.long)})
    return {
        "groups": [
            {"name": f"quell-slo-{signal.name}-record", "rules": [_record(signal, span) for span in spans]},
            {"name": f"quell-slo-{signal.name}", "rules": [_alert(signal, signal.slo, pair, labels) for pair in pairs]},
        ]
    }


def _record(signal: Signal, span: timedelta) -> dict[str, Any]:
    return {
        "record": f"{RECORD}{duration_text(span)}",
        "expr": windowed(signal.query, span, signal.step),
        "labels": _labels(signal),
    }


def _alert(signal: Signal, slo: Slo, pair: BurnWindow, labels: Mapping[str, str]) -> dict[str, Any]:
    factor = pair.factor(slo.period)
    limit = f"({factor:.6g} * {slo.error_budget:.6g})"
    long, short = duration_text(pair.long), duration_text(pair.short)
    chosen = f'{{{SIGNAL}="{signal.name}"}}'
    pages = "critical" if signal.is_user_facing else "major"
    return {
        "alert": ERROR_BUDGET_BURN,
        "expr": f"{RECORD}{long}{chosen} > {limit} and {RECORD}{short}{chosen} > {limit}",
        "labels": {
            **_labels(signal),
            SEVERITY: pages if pair.urgency is BurnUrgency.PAGE else "minor",
            "window": long,
            **labels,
        },
        "annotations": {
            "summary": f"{signal.name} burns its error budget more than {factor:.3g} times as fast as allowed",
            "description": f"over {long} and still over {short}; objective {slo.objective:g} in "
            f"{duration_text(slo.period)}; {pair.budget_share:.0%} of the budget is gone in {long} at this rate",
            "value": "{{ $value | humanizePercentage }}",
        },
    }


def _labels(signal: Signal) -> dict[str, str]:
    return {SIGNAL: signal.name} | ({SERVICE: signal.service} if signal.service else {})
