"""Peers: whether users of services that nobody touched recovered alike, so that the recovery is not ours.

A difference of differences: how far the own signal fell, against how far the signals of the peers fell between the
same moments. Medians over time and over peers, so that one outlier decides nothing.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from quell.incidents.series import FloatArray
from quell.response.playbook import RecoveryRule

_ALIKE = 0.5  # share of the own improvement that the peers show too
_LEAST_SAMPLES = 3  # of a peer, before and after each; all of them where there are fewer moments to compare
_LEAST_SHARE = 0.5  # of the moments that are compared


def recovered_alike(
    rule: RecoveryRule,
    times: FloatArray,
    own: FloatArray,
    peers: Mapping[str, FloatArray],
    *,
    limit: float,
    now: datetime,
) -> str:
    """How far the peers recovered with us, in words; empty where the improvement is ours or nobody can be compared.

    `own` and each of `peers` are values at `times`. Before: the moments at which `own` was outside; after: those of
    the last `hold`. A peer counts when it has samples at half of the former and of the latter, and at three at least.
    """
    last = (times > now.timestamp() - rule.hold.total_seconds()) & (times <= now.timestamp())
    before, after = np.isfinite(own) & (own > limit) & ~last, np.isfinite(own) & last
    own_fall = _fall(own, before, after)
    falls = {name: fall for name, values in peers.items() if (fall := _fall(values, before, after)) is not None}
    if own_fall is None or own_fall <= 0 or not falls:
        return ""
    theirs = float(np.median(list(falls.values())))
    if theirs < _ALIKE * own_fall:
        return ""
    names = ", ".join(sorted(falls)[:5])
    return (
        f"peers recovered alike: {rule.signal} fell by {own_fall:.4g}, untouched peers ({names}) by {theirs:.4g} in "
        f"the median between the same moments: {theirs / own_fall:.0%} of it, under {_ALIKE:.0%} it would be ours"
    )


def _fall(values: FloatArray, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float | None:
    """The median at some moments less the median at others; None where there are too few samples to say so."""
    known = np.isfinite(values)
    if not _are_enough(known, before) or not _are_enough(known, after):
        return None
    return float(np.median(values[known & before]) - np.median(values[known & after]))


def _are_enough(known: NDArray[np.bool_], moments: NDArray[np.bool_]) -> bool:
    count = int(np.sum(moments))
    there = int(np.sum(known & moments))
    return count > 0 and there >= max(min(_LEAST_SAMPLES, count), _LEAST_SHARE * count)
