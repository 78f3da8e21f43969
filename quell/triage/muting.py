"""Muting: which silence, maintenance or inhibition holds an alert back, and until when."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.alert import Alert
from quell.incidents.labels import Labels
from quell.incidents.maintenance import Maintenance, find_maintenance
from quell.incidents.silence import Silence
from quell.triage.rules import Inhibition


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """`held_by` names what holds the alert back; `until` is None where no clock ends it."""

    reason: str
    rule: str
    rule_at: str = ""
    held_by: str
    until: datetime | None = None


Sources = Callable[[str], Iterable[Alert]]  # the firing alerts that left a footprint under a key


def find_mute(
    alert: Alert,
    labels: Labels,
    *,
    silences: Sequence[Silence],
    maintenance: Sequence[Maintenance],
    inhibit: Sequence[Inhibition],
    sources: Sources,
    now: datetime,
) -> Mute | None:
    """Asked in this order: silence, maintenance, inhibition. Of several silences the one that ends last counts."""
    return (
        _silenced(labels, silences, now)
        or _in_maintenance(labels, maintenance, now)
        or _inhibited(alert, labels, inhibit, sources)
    )


def _silenced(labels: Labels, silences: Sequence[Silence], now: datetime) -> Mute | None:
    found = [silence for silence in silences if silence.mutes(labels, now)]
    if not found:
        return None
    last = max(found, key=lambda silence: (silence.ends_at, silence.id))
    return Mute(
        reason=f"silence {last.id} by {last.created_by} until {_clock(last.ends_at)}: {last.comment}",
        rule=f"silence {last.id}",
        held_by=silence_hold(last.id),
        until=last.ends_at,
    )


def silence_hold(id: str) -> str:
    return f"silence {id}"


def _in_maintenance(labels: Labels, maintenance: Sequence[Maintenance], now: datetime) -> Mute | None:
    found = find_maintenance(maintenance, labels, now=now)
    if found is None:
        return None
    planned, end = found
    why = f" ({planned.reason})" if planned.reason else ""
    return Mute(
        reason=f'maintenance "{planned.name}"{why} until {_clock(end)}; placed then if it still fires',
        rule=f"maintenance {planned.name}",
        rule_at=planned.where,
        held_by=f"maintenance {planned.name}",
        until=end,
    )


def _inhibited(alert: Alert, labels: Labels, inhibit: Sequence[Inhibition], sources: Sources) -> Mute | None:
    for rule in inhibit:
        if not rule.is_target(labels):
            continue
        is_both = rule.is_source(labels)
        for source in sources(rule.key(labels)):
            if source.fingerprint == alert.fingerprint or (is_both and rule.is_target(source.labels)):
                continue
            about = source.instance or source.service
            named = f"{source.name} of {about}" if about else source.name
            return Mute(
                reason=f'inhibited by {named} ({source.id}), rule "{rule.name}"; placed when that ends',
                rule=f"inhibition {rule.name}",
                rule_at=rule.where,
                held_by=inhibition_hold(source.id),
            )
    return None


def inhibition_hold(source: str) -> str:
    return f"inhibition by {source}"


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
