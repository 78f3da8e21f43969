"""Noise: alert rules on which nobody ever acts, each with the evidence and a proposed cure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.labels import SIGNAL

LEAST_EPISODES = 3  # fewer say nothing about a rule
SHORT = timedelta(minutes=5)
MANY_FOR_ONE = 5.0
_HIGH_LABELS = frozenset({"critical", "page", "emergency", "major", "error", "high"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What came of an incident. `acts` are what people or approved mitigations did: acknowledged, decided, ..."""

    acts: frozenset[str]
    is_dismissed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyRule:
    """One rule (alert name and service) over the time looked at; `acted` counts incidents that anybody acted on."""

    alertname: str
    service: str
    episodes: int
    incidents: int
    acted: int
    dismissed_share: float
    typical: timedelta | None  # the median length of an episode that ended
    cure: str

    @property
    def is_noise(self) -> bool:
        return self.acted == 0 and self.episodes >= LEAST_EPISODES


def rate_rules(alerts: Sequence[Alert], followed: Mapping[str, Followed]) -> list[NoisyRule]:
    """Every rule, the noisiest first: never acted on, then by episodes. Muted and doubled alerts bothered nobody."""
    rules: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in alerts:
        if alert.outcome not in (None, AlertOutcome.MUTED, AlertOutcome.DUPLICATE):
            rules[alert.name, alert.service or ""].append(alert)
    rated = [_rate(name, service, episodes, followed) for (name, service), episodes in rules.items()]
    return sorted(rated, key=lambda rule: (not rule.is_noise, -rule.episodes, rule.alertname, rule.service))


def _rate(name: str, service: str, episodes: Sequence[Alert], followed: Mapping[str, Followed]) -> NoisyRule:
    incidents = {alert.incident for alert in episodes if alert.incident}
    known = [followed[incident] for incident in incidents if incident in followed]
    lengths = sorted(alert.ends_at - alert.starts_at for alert in episodes if alert.ends_at is not None)
    dismissed = sum(one.is_dismissed for one in known) / len(known) if known else 0.0
    return NoisyRule(
        alertname=name,
        service=service,
        episodes=len(episodes),
        incidents=len(incidents),
        acted=sum(bool(one.acts) for one in known),
        dismissed_share=dismissed,
        typical=lengths[len(lengths) // 2] if lengths else None,
        cure=_cure(episodes, lengths, len(incidents), dismissed),
    )


def _cure(episodes: Sequence[Alert], lengths: Sequence[timedelta], incidents: int, dismissed: float) -> str:
    """The mildest change that would have spared most of it."""
    signals = sorted({alert.labels[SIGNAL] for alert in episodes if alert.labels.get(SIGNAL)})
    if signals:
        return f"recompute the threshold of {', '.join(signals)}: run the flow recompute-thresholds"
    if lengths and len(lengths) == len(episodes) and lengths[len(lengths) // 2] < SHORT:
        ninth = lengths[min(math.ceil(len(lengths) * 0.9), len(lengths)) - 1]
        minutes = max(math.ceil(ninth.total_seconds() / 60), 1)
        spared = sum(length < timedelta(minutes=minutes) for length in lengths)
        return f"raise `for` to {minutes}m: {spared} of {len(episodes)} episodes were over by then"
    if incidents and len(episodes) / incidents >= MANY_FOR_ONE:
        return f"group it: {len(episodes)} episodes were {incidents} incidents; alert on the sum, not on each instance"
    if dismissed >= 0.5:
        return f"delete it: {dismissed:.0%} of its incidents were dismissed as false"
    label = next((alert.severity_label for alert in episodes if alert.severity_label in _HIGH_LABELS), None)
    if label is not None:
        return f"lower its severity from {label}: nobody acted on {len(episodes)} episodes"
    return f"delete it, or write a runbook: nobody acted on {len(episodes)} episodes"
