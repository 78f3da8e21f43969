"""A suspect: a component that may be the cause, with the evidence against it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """`node` is an instance or service; `score` in 0..1 orders suspects, it is not a probability."""

    node: str
    metric: str
    score: float
    reason: str
    change: str | None = None
