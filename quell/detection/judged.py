"""What a sweep says of all series of a signal: columns, of which a verdict in words is made when somebody looks.

A hundred thousand normal series cost a few arrays; only those in trouble become objects with a sentence each.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from quell.detection.columns import BoolArray, IntArray
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray
from quell.incidents.verdict import Verdict, VerdictKind

KINDS = tuple(VerdictKind)
CODE = {kind: code for code, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """One entry per series; iterating gives each verdict with the moment (epoch seconds) when its trouble began.

    `kind` holds indices into KINDS; a number that is not finite is none. `known` says which series the baseline knows,
    `why` puts one series' verdict into a sentence.
    """

    signal: str
    at: datetime
    baseline: str | None  # its version
    labels: tuple[Labels, ...]
    prints: FingerprintArray
    kind: IntArray
    known: BoolArray
    value: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray  # to four digits
    samples: IntArray
    since: FloatArray
    why: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Verdict, float]]:
        return ((self.verdict(place), float(self.since[place])) for place in range(len(self)))

    def id(self, place: int) -> str:
        """The id of a series' latest verdict."""
        return f"{self.signal}:{int(self.prints[place]):016x}"

    def verdict(self, place: int) -> Verdict:
        """The verdict on one series, in words."""
        return Verdict(
            id=self.id(place),
            signal=self.signal,
            labels=self.labels[place],
            at=self.at,
            kind=KINDS[int(self.kind[place])],
            value=_number(self.value[place]),
            expected=_number(self.expected[place]),
            lower=_number(self.lower[place]),
            upper=_number(self.upper[place]),
            score=float(self.score[place]),
            samples=int(self.samples[place]),
            reason=self.why(place),
            baseline=self.baseline if self.known[place] else None,
        )

    def has_kind(self, kinds: Iterable[VerdictKind]) -> BoolArray:
        """Which series got one of these kinds."""
        return np.isin(self.kind, [CODE[kind] for kind in kinds])

    def places(self, kinds: Iterable[VerdictKind]) -> list[int]:
        """The series that got one of these kinds, in order."""
        return np.flatnonzero(self.has_kind(kinds)).tolist()

    def counts(self) -> dict[str, int]:
        """How many series got each kind, of those that any got."""
        of_code: NDArray[np.intp] = np.bincount(self.kind, minlength=len(KINDS))
        return {kind.value: int(count) for kind, count in zip(KINDS, of_code, strict=True) if count}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
