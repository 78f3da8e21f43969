"""A rollout: the canary's weights, step by step, and the weight of a control of the same size.

A share is a limit on what users are exposed to, not an aim: weights are rounded down, and `weight_within` holds the
number of requests to it as they are counted. A load balancer's weights alone do not: a canary that is stopped after
ninety requests has had nine of them or ten, and ten are a ninth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_WEIGHT = 256  # HAProxy's weights are 0..256, and a server gets its weight / sum of weights
PER_MILLE = 1000
_SPARE = 2  # requests below the limit that the full weight takes: round robin may be one ahead, and one is on its way
_FLOAT_ERROR = 1e-9  # 90 * 0.1 / 0.9 is 10, not 9


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


def plan_split(shares: Sequence[float]) -> tuple[RolloutStep, ...]:
    """The steps of a split between two backends: weights are of a thousand requests. All of them is no step.

    >>> [(step.weight, step.is_last) for step in plan_split((0.01, 0.1, 0.5, 1.0))]
    [(10, False), (100, False), (500, True)]
    """
    weights = {max(math.floor(share * PER_MILLE + _FLOAT_ERROR), 1): share for share in sorted(shares) if share < 1}
    last = max(weights, default=0)
    return tuple(RolloutStep(share=s, weight=w, is_last=w == last) for w, s in sorted(weights.items()))


def weight_within(step: RolloutStep, exposed: int, served: int) -> int:
    """The weight that keeps the requests exposed so far within the step's share of all that were served in it.

    At first, and whenever fewer than two requests are left below the limit, it is half of the step's weight (so that
    what is exposed falls behind); above the limit nothing, until the others have served enough.

    >>> step = RolloutStep(share=0.1, weight=22, is_last=True)
    >>> [weight_within(step, *counts) for counts in ((0, 0), (3, 60), (6, 60), (7, 60))]
    [11, 22, 11, 0]
    """
    spare = step.share * served - exposed
    if spare < 0:
        return 0
    return step.weight if spare >= _SPARE else max(step.weight // 2, 1)


def canary_weight(peer_weights: Sequence[int], share: float, *, most: int = MOST_WEIGHT) -> int:
    """The largest weight that gives the canary no more than `share` of the traffic beside its peers, at least 1.

    >>> canary_weight([100, 100], 0.1)
    22
    """
    total = sum(peer_weights)
    if share >= 1:
        return most
    return max(1, min(most, math.floor(total * share / (1 - share) + _FLOAT_ERROR))) if total else 1


def _paired_weight(peer_weights: Sequence[int], share: float) -> int:
    """The same where the last of the peers gets the canary's weight too."""
    others = sum(peer_weights[:-1])
    return MOST_WEIGHT if share >= 0.5 else max(1, math.floor(others * share / (1 - 2 * share) + _FLOAT_ERROR))
