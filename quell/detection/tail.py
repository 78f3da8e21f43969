"""The tail of a stream of non-negative numbers, with forgetting: its 99 % and 99.9 % quantile and its record.

A histogram over ln(u) holds the past with a half-life of 5000 samples; one cursor per quantile follows it, so that a
sample costs the same however long the history. The record decays with a half-life of 30,000 samples. Assumption: rarity
in the past is rarity to come. A tail says nothing below 100 samples. Zeros count as samples without a logarithm.
"""

import numpy as np

from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray

BINS = 512
WIDTH = 0.1  # of a bin, in ln(u)
LOWEST = -26.0  # ln(u) at the lower edge of bin 1; bin 0 holds everything below, and zero
QUANTILE_HALF_LIFE = 5000.0
RECORD_HALF_LIFE = 30_000.0
FEWEST = 100
GROWTH = 2.0 ** (1.0 / QUANTILE_HALF_LIFE)  # a new sample weighs more, instead of all old ones less
RECORD_LOSS = np.log(2.0) / RECORD_HALF_LIFE
LARGEST_WEIGHT = 1e12
NOTHING = -1e9  # ln(u) where there was nothing above zero

# Fields of a tail.
TOTAL, WEIGHT, ABOVE_99, ABOVE_999, CURSOR_99, CURSOR_999, COUNT, POSITIVE, RECORD, Q99, Q999 = range(11)
FIELDS = 11


@compiled
def clear(tail: FloatArray, histogram: FloatArray) -> None:
    histogram[:] = 0.0
    tail[:] = 0.0
    tail[WEIGHT] = 1.0
    tail[RECORD] = tail[Q99] = tail[Q999] = NOTHING


@compiled
def learn(tail: FloatArray, histogram: FloatArray, log_value: float) -> None:
    """Take one sample in; `log_value` is NOTHING for zero."""
    place = 0
    if log_value > NOTHING:
        place = min(max(int((log_value - LOWEST) / WIDTH), 1), BINS - 1)
        tail[POSITIVE] += 1.0
    weight = tail[WEIGHT]
    histogram[place] += weight
    tail[TOTAL] += weight
    if place > tail[CURSOR_99]:
        tail[ABOVE_99] += weight
    if place > tail[CURSOR_999]:
        tail[ABOVE_999] += weight
    tail[COUNT] += 1.0
    tail[WEIGHT] = weight * GROWTH
    if tail[WEIGHT] > LARGEST_WEIGHT:
        shrink(tail, histogram)
    if tail[COUNT] >= FEWEST:
        tail[Q99] = follow(tail, histogram, 0.01, CURSOR_99, ABOVE_99)
        tail[Q999] = follow(tail, histogram, 0.001, CURSOR_999, ABOVE_999)


@compiled
def follow(tail: FloatArray, histogram: FloatArray, share: float, cursor: int, above: int) -> float:
    """Move a cursor to the bin in which the quantile lies, and interpolate in it."""
    place, over, wanted = int(tail[cursor]), tail[above], share * tail[TOTAL]
    while place < BINS - 1 and over > wanted:
        place += 1
        over -= histogram[place]
    while place > 0 and over + histogram[place] <= wanted:
        over += histogram[place]
        place -= 1
    tail[cursor], tail[above] = place, over
    if place == 0:
        return NOTHING
    part = (wanted - over) / histogram[place] if histogram[place] > 0.0 else 0.0
    return LOWEST + WIDTH * (place + 1 - part)


@compiled
def shrink(tail: FloatArray, histogram: FloatArray) -> None:
    """Divide everything by the present weight, before it grows out of its type."""
    histogram /= tail[WEIGHT]
    tail[TOTAL] = histogram.sum()
    tail[ABOVE_99] = histogram[int(tail[CURSOR_99]) + 1 :].sum()
    tail[ABOVE_999] = histogram[int(tail[CURSOR_999]) + 1 :].sum()
    tail[WEIGHT] = 1.0


@compiled
def remember_record(tail: FloatArray, log_value: float) -> None:
    """The largest sample so far, fading."""
    tail[RECORD] = max(tail[RECORD] - RECORD_LOSS, log_value)
