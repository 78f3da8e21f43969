"""The past: stretches of "normal" in which a metric was itself in trouble are left out of it.

Whoever exports the hour before an incident often exports the end of another one. Such a stretch widens what counts as
usual, and hides a fault of the same size. It is told from noise by its length: single spikes stay in, because they are
part of normal; rows that stay far away for as long as half of the incident's window do not.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FAR = 6.0  # half-spreads beyond which a row is far away
TWICE, HALF = 1.0, 0.5  # and by so much of the level, upwards and downwards
MOST = 0.45  # of the known rows; where more is far away, that is what is normal
FEWEST_LEFT = 10
MAD = 1.4826


def leave_out_episodes(before: Floats, rows: int) -> Floats:
    """`before` (rows x columns) with NaN in the stretches of at least half of `rows` rows that are far away."""
    shortest = max(3, (rows + 1) // 2)
    if before.shape[0] < max(FEWEST_LEFT, 2 * shortest):
        return before
    known = np.isfinite(before)
    centre = np.nanmedian(before, axis=0)
    residual = np.where(known, before - centre, 0.0)
    far = np.zeros(before.shape, bool)
    for side, ratio in ((1.0, TWICE), (-1.0, HALF)):
        # The noise is that of the other side: an episode lies on one side only, and cannot widen its own bar.
        other = np.nanmedian(np.where(known & (side * residual <= 0), np.abs(residual), np.nan), axis=0) * MAD
        bar = np.maximum(FAR * np.nan_to_num(other), ratio * np.abs(centre))
        far |= _long_runs(known & (side * residual > bar), shortest)
    share = far.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    left = (known & ~far).sum(axis=0)
    far &= (share <= MOST) & (left >= FEWEST_LEFT)
    return np.where(far, np.nan, before)


def _long_runs(flags: npt.NDArray[np.bool_], shortest: int) -> npt.NDArray[np.bool_]:
    """The flags that stand in runs of at least `shortest` rows, column by column."""
    count = flags.shape[0] - shortest + 1
    sums = np.vstack([np.zeros((1, flags.shape[1]), np.int64), np.cumsum(flags, axis=0)])
    whole = sums[shortest:] - sums[:-shortest] == shortest
    found = np.zeros_like(flags)
    for start in range(shortest):
        found[start : start + count] |= whole
    return found
