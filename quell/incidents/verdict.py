"""A verdict: what detection says of one series at one moment, with its reason."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quell.incidents.labels import Labels


class VerdictKind(StrEnum):
    """Missing data is never healthy: no data, stale, a drop to zero and too few samples are told apart."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    NO_DATA = "no_data"
    STALE = "stale"
    DROP_TO_ZERO = "drop_to_zero"
    WARMING_UP = "warming_up"

    @property
    def is_trouble(self) -> bool:
        return self in (
            VerdictKind.ANOMALOUS,
            VerdictKind.NO_DATA,
            VerdictKind.STALE,
            VerdictKind.DROP_TO_ZERO,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one series at one moment; numbers are in the signal's unit, None where there is none."""

    id: str
    signal: str
    labels: Labels
    at: datetime
    kind: VerdictKind
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    samples: int
    reason: str
    baseline: str | None = None
