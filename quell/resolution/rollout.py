"""A rollout: the canary's weights, step by step, and the weight of a control of the same size."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_WEIGHT = 256  # HAProxy's weights are 0..256, and a server gets its weight / sum of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """`weight` is the canary's, and its control's where one is set to the same size."""

    share: float
    weight: int
    is_last: bool


def plan_steps(
    shares: Sequence[float], full: int, peer_weights: Sequence[int], *, paired: bool
) -> tuple[RolloutStep, ...]:
    """The steps that lie below the instance's full weight, and that one where a share reaches it.

    More than its full weight is no rollout but an overload: of one instance in three a share of 50 % means its third.
    `paired`: one of the peers gets the same weight as the canary, and the others carry the rest. Two shares that come
    to the same weight are one step.

    >>> [(step.weight, step.is_last) for step in plan_steps((0.01, 0.1, 0.5, 1.0), 100, (100, 100), paired=False)]
    [(2, False), (22, False), (100, True)]
    >>> [step.weight for step in plan_steps((0.1,), 100, (100, 100, 100), paired=True)]
    [25]
    """
    weights: dict[int, float] = {}
    for share in sorted(shares):
        weight = min(_paired_weight(peer_weights, share) if paired else canary_weight(peer_weights, share), full)
        weights.setdefault(max(weight, 1), share)
    last = max(weights, default=0)
    return tuple(RolloutStep(share=s, weight=w, is_last=w == last) for w, s in sorted(weights.items()))


def canary_weight(peer_weights: Sequence[int], share: float, *, most: int = MOST_WEIGHT) -> int:
    """The weight that gives the canary about `share` of the traffic beside its peers, at least 1.

    >>> canary_weight([100, 100], 0.1)
    22
    """
    total = sum(peer_weights)
    if share >= 1:
        return most
    return max(1, min(most, round(total * share / (1 - share)))) if total else 1


def _paired_weight(peer_weights: Sequence[int], share: float) -> int:
    """The same where the last of the peers gets the canary's weight too."""
    others = sum(peer_weights[:-1])
    return MOST_WEIGHT if share >= 0.5 else max(1, round(others * share / (1 - 2 * share)))
