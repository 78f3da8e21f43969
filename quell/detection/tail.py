"""The tail of a stream of non-negative numbers, with forgetting: its 99 % and 99.9 % quantile and its record.

A histogram over ln(u) holds the past with a half-life of 5000 samples; one cursor per quantile follows it, so that a
sample costs the same however long the history. The record decays with a half-life of 30,000 samples. Assumption: rarity
in the past is rarity to come. A tail says nothing below 100 samples. Zeros count as samples
without a logarithm. Tails lie in a flat array from place `at` on, their histograms in another from `bins_at` on.
"""

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray

BinArray = NDArray[np.float32]

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
def clear(tails: FloatArray, at: int) -> None:
    for field in range(FIELDS):
        tails[at + field] = 0.0
    tails[at + WEIGHT] = 1.0
    tails[at + RECORD] = tails[at + Q99] = tails[at + Q999] = NOTHING


@compiled
def learn(tails: FloatArray, at: int, bins: BinArray, bins_at: int, log_value: float) -> None:
    """Take one sample in; `log_value` is NOTHING for zero."""
    place = 0
    if log_value > NOTHING:
        place = min(max(int((log_value - LOWEST) / WIDTH), 1), BINS - 1)
        tails[at + POSITIVE] += 1.0
    weight = tails[at + WEIGHT]
    bins[bins_at + place] += weight
    tails[at + TOTAL] += weight
    if place > tails[at + CURSOR_99]:
        tails[at + ABOVE_99] += weight
    if place > tails[at + CURSOR_999]:
        tails[at + ABOVE_999] += weight
    tails[at + COUNT] += 1.0
    tails[at + WEIGHT] = weight * GROWTH
    if tails[at + WEIGHT] > LARGEST_WEIGHT:
        shrink(tails, at, bins, bins_at)
    count = int(tails[at + COUNT])
    if count == FEWEST or (count > FEWEST and count & 7 == 0):  # they move slowly: every 8th sample is often enough
        tails[at + Q99] = follow(tails, at, bins, bins_at, 0.01, CURSOR_99, ABOVE_99)
        tails[at + Q999] = follow(tails, at, bins, bins_at, 0.001, CURSOR_999, ABOVE_999)


@compiled
def follow(tails: FloatArray, at: int, bins: BinArray, bins_at: int, share: float, cursor: int, above: int) -> float:
    """Move a cursor to the bin in which the quantile lies, and interpolate in it."""
    place, over, wanted = int(tails[at + cursor]), tails[at + above], share * tails[at + TOTAL]
    while place < BINS - 1 and over > wanted:
        place += 1
        over -= bins[bins_at + place]
    while place > 0 and over + bins[bins_at + place] <= wanted:
        over += bins[bins_at + place]
        place -= 1
    tails[at + cursor], tails[at + above] = place, over
    if place == 0:
        return NOTHING
    inside = bins[bins_at + place]
    part = (wanted - over) / inside if inside > 0.0 else 0.0
    return LOWEST + WIDTH * (place + 1 - part)


@compiled
def shrink(tails: FloatArray, at: int, bins: BinArray, bins_at: int) -> None:
    """Divide everything by the present weight, before it grows out of its type."""
    weight = tails[at + WEIGHT]
    tails[at + TOTAL] = tails[at + ABOVE_99] = tails[at + ABOVE_999] = 0.0
    for place in range(BINS):
        inside = bins[bins_at + place] / weight
        bins[bins_at + place] = inside
        tails[at + TOTAL] += inside
        tails[at + ABOVE_99] += inside * (place > tails[at + CURSOR_99])
        tails[at + ABOVE_999] += inside * (place > tails[at + CURSOR_999])
    tails[at + WEIGHT] = 1.0


@compiled
def remember_record(tails: FloatArray, at: int, log_value: float) -> None:
    """The largest sample so far, fading."""
    tails[at + RECORD] = max(tails[at + RECORD] - RECORD_LOSS, log_value)
