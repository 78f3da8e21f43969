"""A suspect: a component that may be the cause, with the evidence against it."""

from dataclasses import dataclass

CLIENT_PREFIX = "client:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """`node` is an instance, a service or `client:NAME`; `score` in 0..1 orders suspects, it is not a probability.

    `is_alerted` is false where only metrics name it: enough to look at, not enough to act on by itself.
    """

    node: str
    metric: str
    score: float
    reason: str
    change: str | None = None
    is_alerted: bool = True
