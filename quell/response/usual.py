"""What each client usually sends, learned in calm times, so that a surge can be told from everyday use."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

_MEMORY = 60  # readings: with one each ten seconds, ten minutes
_LEAST_RATE = 0.02  # requests per second; who sends less is forgotten
_LEAST_SEEN = 6  # readings, before a client counts as known
_MOST_CLIENTS = 2000
_SPREAD = 3.0  # standard deviations
_SLACK = 1.0  # requests per second, on top: of small numbers the spread says little


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """Mean and variance of a client's rate (requests per second), exponentially weighted (West, CACM 22(9), 1979)."""

    mean: float
    variance: float = 0.0
    seen: int = 1

    @property
    def most(self) -> float:
        """More than this is not everyday use."""
        return self.mean + _SPREAD * sqrt(self.variance) + _SLACK

    @property
    def is_known(self) -> bool:
        return self.seen >= _LEAST_SEEN


def learn(known: Mapping[str, Usual], rates: Mapping[str, float]) -> Mapping[str, Usual]:
    """One more reading of everybody's rate; who sent nothing fades away. The first readings count evenly."""
    learned: dict[str, Usual] = {}
    for name in {*known, *rates}:
        rate, before = rates.get(name, 0.0), known.get(name)
        after = Usual(mean=rate) if before is None else _toward(before, rate)
        if after.mean >= _LEAST_RATE:
            learned[name] = after
    largest = sorted(learned, key=lambda name: (-learned[name].mean, name))[:_MOST_CLIENTS]
    return {name: learned[name] for name in largest}


def most_of(known: Mapping[str, Usual]) -> Mapping[str, float]:
    """The bound of everyday use of each client that is known well enough."""
    return {name: usual.most for name, usual in known.items() if usual.is_known}


def _toward(before: Usual, rate: float) -> Usual:
    weight = max(1 / (before.seen + 1), 1 / _MEMORY)
    apart = rate - before.mean
    return Usual(
        mean=before.mean + weight * apart,
        variance=(1 - weight) * (before.variance + weight * apart * apart),
        seen=before.seen + 1,
    )
