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

    `own` and each of `peers` are values at `times`. Before: the moments at which `own` was outside; after: the last
    `hold`.
    """
    after = (times > now.timestamp() - rule.hold.total_seconds()) & (times <= now.timestamp())
    before = np.isfinite(own) & (own > limit) & ~after
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
    """The median at some moments less the median at others; None where one of them has no sample."""
    known = np.isfinite(values)
    first, last = values[known & before], values[known & after]
    return float(np.median(first) - np.median(last)) if len(first) and len(last) else None
