"""A signal: one monitored query, and what its values mean."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from quell.incidents.slo import Slo


class SignalKind(StrEnum):
    ERROR_RATIO = "error_ratio"
    LATENCY = "latency"
    TRAFFIC = "traffic"
    SATURATION = "saturation"
    OTHER = "other"


class Direction(StrEnum):
    """Which side of the band is trouble."""

    HIGH = "high"
    LOW = "low"
    BOTH = "both"


DIRECTION_OF_KIND = {
    SignalKind.ERROR_RATIO: Direction.HIGH,
    SignalKind.LATENCY: Direction.HIGH,
    SignalKind.TRAFFIC: Direction.BOTH,
    SignalKind.SATURATION: Direction.HIGH,
    SignalKind.OTHER: Direction.BOTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One monitored query. `min_effect` is the smallest departure (in the signal's unit) that anyone cares about."""

    name: str
    query: str
    kind: SignalKind
    direction: Direction
    unit: str
    step: timedelta
    service: str | None = None
    is_user_facing: bool = False
    min_effect: float = 0.0
    history: timedelta = timedelta(days=14)
    description: str = ""
    slo: Slo | None = None  # of error ratios: watched by burn rate as well as by band
