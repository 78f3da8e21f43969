"""Evidence: what an incident's alerts measured, condensed so that ten thousand alerts are judged as fast as ten."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from quell.incidents.alert import Alert, AlertStatus
from quell.incidents.service import Catalog
from quell.incidents.signal import SignalKind
from quell.triage.effect import Effect

MOST_STRANDS = 400  # nodes beyond are the weakest of a storm: none of them would be among the first suspects
MOST_FELT = 200


def _none() -> Mapping[str, Effect]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`strands`: the strongest effect per node and kind, with the time of the first. `felt`: what firing alerts measure
    at services that users call, by alert."""

    strands: Mapping[str, Effect] = field(default_factory=_none)
    felt: Mapping[str, Effect] = field(default_factory=_none)

    @property
    def effects(self) -> tuple[Effect, ...]:
        return tuple(self.strands.values())


def gather(evidence: Evidence, news: Iterable[tuple[Alert, Effect]], catalog: Catalog) -> Evidence:
    """The evidence after hearing of these alerts; the order does not matter."""
    strands, felt = dict(evidence.strands), dict(evidence.felt)
    for alert, effect in news:
        key = f"{effect.node}|{effect.kind}|{'' if effect.value is None else 'measured'}"
        strands[key] = _stronger(strands.get(key), effect)
        felt.pop(alert.id, None)
        if alert.status is AlertStatus.FIRING and _is_felt(effect, catalog):
            felt[alert.id] = effect
    return Evidence(strands=_strongest(strands, MOST_STRANDS), felt=_strongest(felt, MOST_FELT))


def unite_evidence(one: Evidence, other: Evidence) -> Evidence:
    strands = dict(one.strands)
    for key, effect in other.strands.items():
        strands[key] = _stronger(strands.get(key), effect)
    return Evidence(strands=_strongest(strands, MOST_STRANDS), felt=_strongest({**one.felt, **other.felt}, MOST_FELT))


def _is_felt(effect: Effect, catalog: Catalog) -> bool:
    service = catalog.service(effect.service)
    is_measured = effect.value is not None and effect.kind in (SignalKind.ERROR_RATIO, SignalKind.LATENCY)
    return is_measured and service is not None and service.is_user_facing


def _stronger(known: Effect | None, news: Effect) -> Effect:
    if known is None:
        return news
    first = min(known.at, news.at)
    return replace(max(known, news, key=_order), at=first)


def _order(effect: Effect) -> tuple[float, bool, str, float, str]:
    return (effect.strength, effect.value is not None, effect.metric, effect.value or 0.0, effect.words)


def _strongest(effects: Mapping[str, Effect], most: int) -> Mapping[str, Effect]:
    if len(effects) <= most:
        return effects
    kept = sorted(effects.items(), key=lambda item: (-item[1].strength, item[1].at, item[0]))[:most]
    return dict(kept)
