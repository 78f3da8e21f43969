"""The tails of the streams, with forgetting: of each its 99 % and 99.9 % quantile and its record.

A histogram over ln(u) holds the upper part of the past with a half-life of 5000 rows; one cursor per quantile follows
it, so that a sample costs the same however long the history, and what lies far below the quantiles is only counted. The
record decays with a half-life of 30,000 samples. Assumption: rarity in the past is rarity to come. A tail says nothing
below 100 samples. Zeros count as samples without a logarithm.

What judging reads lies in the series' memory, what only learning needs in the histograms' own array: in both, one field
of all streams after the other.
"""

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled
from quell.detection.streams import COUNT as STREAMS
from quell.incidents.series import FloatArray

BinArray = NDArray[np.float64]

BINS = 512
WIDTH = 0.1  # of a bin, in ln(u)
LOWEST = -26.0  # ln(u) at the lower edge of bin 1; bin 0 stands for what is only counted, and for zero
ONE_EVENT = np.log(5.0)  # in ln(u), how far a new record may stand above the one before for PENDING_ROWS
PENDING_ROWS = 300.0
BELOW = 8  # bins below the lower quantile that are still told apart
QUANTILE_HALF_LIFE = 5000.0
RECORD_HALF_LIFE = 30_000.0
FEWEST = 100
GROWTH = 2.0 ** (1.0 / QUANTILE_HALF_LIFE)  # a new row weighs more, instead of all old ones less
RECORD_LOSS = np.log(2.0) / RECORD_HALF_LIFE
LARGEST_WEIGHT = 1e12
NOTHING = -1e9  # ln(u) where there was nothing above zero
SELDOM = 32 - 1  # quantiles are followed at least every 32 samples

# Fields in a series' memory; the record and the quantiles as logarithms. RAISED: the record before its decay.
COUNT, POSITIVE, RAISED, Q99, Q999 = (field * STREAMS for field in range(5))
SIZE = 5 * STREAMS
# Fields of the histograms, then their bins, then the weight of the next row.
TOTAL, ABOVE_99, ABOVE_999, CURSOR_99, CURSOR_999, CUT, CUT_BIN, BEFORE, PENDING, PENDING_AT = (
    field * STREAMS for field in range(10)
)
BINS_AT = 10 * STREAMS
WEIGHT = BINS_AT + STREAMS * BINS
HISTOGRAMS = WEIGHT + 1


@compiled
def clear(tails: FloatArray, at: int, bins: BinArray) -> None:
    for field in range(SIZE):
        tails[at + field] = 0.0 if field < RAISED else NOTHING
    for place in range(HISTOGRAMS):
        bins[place] = 0.0
    bins[WEIGHT] = 1.0


@compiled
def log_of(value: float) -> float:
    return np.log(value) if value > 1e-290 else NOTHING


@compiled
def record(tails: FloatArray, at: int, stream: int) -> float:
    """The largest sample so far as a logarithm, fading."""
    return tails[at + RAISED + stream] - RECORD_LOSS * tails[at + COUNT + stream]


@compiled
def learn(tails: FloatArray, at: int, bins: BinArray, stream: int, value: float, unit: float) -> None:
    """Take one sample in; logarithms are taken of value / unit. `next_row` follows when all streams are through."""
    count = tails[at + COUNT + stream] + 1.0
    tails[at + COUNT + stream] = count
    bins[TOTAL + stream] += bins[WEIGHT]
    tails[at + POSITIVE + stream] += value > 0.0
    has_moved = int(count) & SELDOM == 0
    if value > bins[CUT + stream]:
        has_moved |= _learn_large(tails, at, bins, stream, np.log(value / unit))
    if count == FEWEST or (has_moved and count > FEWEST):
        follow_both(tails, at, bins, stream, unit)


@compiled
def _learn_large(tails: FloatArray, at: int, bins: BinArray, stream: int, log_value: float) -> bool:
    """Take in a sample above the cut; whether it lies in the tail, so that the quantiles move."""
    place = min(max(int((log_value - LOWEST) / WIDTH), 1), BINS - 1)
    weight = bins[WEIGHT]
    bins[BINS_AT + stream * BINS + place] += weight
    if place > bins[CURSOR_99 + stream]:
        bins[ABOVE_99 + stream] += weight
        if place > bins[CURSOR_999 + stream]:
            bins[ABOVE_999 + stream] += weight
    _raise_record(tails, at, bins, stream, log_value + RECORD_LOSS * tails[at + COUNT + stream])
    return place >= bins[CURSOR_99 + stream]


@compiled
def _raise_record(tails: FloatArray, at: int, bins: BinArray, stream: int, raised: float) -> None:
    """Let a new record stand, but for some time no higher above the one before than ONE_EVENT.

    An incident that has just begun, and is not known as one yet, shall not hide itself; what nobody called an incident
    after PENDING_ROWS is how the series is.
    """
    count, known = tails[at + COUNT + stream], tails[at + RAISED + stream]
    if bins[PENDING_AT + stream] > 0.0 and count - bins[PENDING_AT + stream] > PENDING_ROWS:
        known = max(known, bins[PENDING + stream])
        bins[PENDING_AT + stream] = 0.0
    if raised > known and tails[at + POSITIVE + stream] > FEWEST:
        if bins[PENDING_AT + stream] == 0.0:
            bins[BEFORE + stream], bins[PENDING + stream] = known, raised
            bins[PENDING_AT + stream] = count
        bins[PENDING + stream] = max(bins[PENDING + stream], raised)
        raised = min(raised, bins[BEFORE + stream] + ONE_EVENT)
    tails[at + RAISED + stream] = max(known, raised)


@compiled
def next_row(bins: BinArray) -> None:
    """Let the next row weigh more than this one."""
    bins[WEIGHT] *= GROWTH
    if bins[WEIGHT] > LARGEST_WEIGHT:
        shrink(bins)


@compiled
def follow_both(tails: FloatArray, at: int, bins: BinArray, stream: int, unit: float) -> None:
    """Bring the quantiles up to date, and with them the cut up to which samples are only counted."""
    before = bins[CURSOR_99 + stream]
    tails[at + Q99 + stream] = follow(bins, stream, 0.01, CURSOR_99, ABOVE_99)
    tails[at + Q999 + stream] = follow(bins, stream, 0.001, CURSOR_999, ABOVE_999)
    if bins[CURSOR_99 + stream] != before:
        place = max(bins[CURSOR_99 + stream] - BELOW, 0.0)
        bins[CUT_BIN + stream] = place
        bins[CUT + stream] = unit * np.exp(LOWEST + WIDTH * place) if place > 0.0 else 0.0


@compiled
def follow(bins: BinArray, stream: int, share: float, cursor: int, above: int) -> float:
    """Move a cursor to the bin in which the quantile lies, and interpolate in it."""
    at = BINS_AT + stream * BINS
    place, over, wanted = int(bins[cursor + stream]), bins[above + stream], share * bins[TOTAL + stream]
    while place < BINS - 1 and over > wanted:
        place += 1
        over -= bins[at + place]
    lowest = int(bins[CUT_BIN + stream])  # below it nothing is told apart: the cut must come down first
    while place > lowest and over + bins[at + place] <= wanted:
        over += bins[at + place]
        place -= 1
    bins[cursor + stream], bins[above + stream] = place, over
    if place == 0:
        return NOTHING
    inside = bins[at + place]
    part = (wanted - over) / inside if inside > 0.0 else 0.0
    return LOWEST + WIDTH * (place + 1 - part)


@compiled
def shrink(bins: BinArray) -> None:
    """Divide everything by the present weight, before it grows out of its type."""
    weight = bins[WEIGHT]
    for place in range(BINS_AT, WEIGHT):
        bins[place] /= weight
    for stream in range(STREAMS):
        bins[TOTAL + stream] /= weight
        bins[ABOVE_99 + stream] /= weight
        bins[ABOVE_999 + stream] /= weight
    bins[WEIGHT] = 1.0
