"""How rare a row's departures are, in decades, and how the streams become one number.

Record evidence is unbounded: larger than almost anything in weeks. Local evidence (large for these minutes, over a
spread) is laid on the same scale so that it reaches the recommended threshold where it should and saturates just above.
It counts only where the row is something in the unit of the series too: a blip in a quiet night is nothing. The largest
one counts: streams are correlated, sums would reward noise. Rows finer than five minutes must be rarer, because people
count false alarms by the week.
"""

import numpy as np

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray

BORDER = 2.67  # decades at the recommended threshold
# Record evidence: decades at the centre, a mean of the 99.9 % quantile and the record, and ln(u) per decade.
CENTRE = 2.54
QUANTILE_SHARE = 0.4
SLOPE = 0.8
AGE_DISCOUNT = 0.2  # decades per decade of positive samples below 1000
FINE_DISCOUNT = 0.12 / np.log(5.0)  # decades per unit of ln(rows a day / 288)
SMALLEST_CENTRE = np.log(1e-6)  # relative to the scale of the series
SMALLEST = np.log(1e-7)
SOMETHING = 1.04  # decades of record evidence below which local evidence counts for nothing
# Local evidence: raw decades where the usual tail lies, that tail, with which a series' own one is mixed, and how the
# result lies on the scale.
LOCAL_CENTRE = 2.5
PRIOR_99, PRIOR_999 = np.log(3.0), np.log(6.0)
OWN_SHARE = 0.35  # of each of the two quantiles
HEAVY_SHARE = 0.8  # of what the own 99.9 % quantile exceeds the usual one by
WIDEST_SLOPE = 9.0
LOCAL_BORDER = 3.16  # raw decades that reach the border
LOCAL_SLOPE = 0.2  # decades per raw decade below it
LOCAL_ROOM = 0.01  # decades above it
LOCAL_KNEE = 0.1
LOCAL_PLAIN = 1.4  # raw decades above it, from where the slope is that of below again
YOUNG_PENALTY = 20.0  # in ln(u), over the number of samples, while the own tail is unknown
MOST = 20.0


@compiled
def fine_discount(period: int) -> float:
    """What rows finer than five minutes must be rarer by."""
    return FINE_DISCOUNT * np.log(period / 288.0) if period > 288 else 0.0


@compiled
def record_centre(memory: FloatArray, stream: int, log_scale: float) -> float:
    """The ln(u) that record evidence has CENTRE decades at, but for the discount of a young tail."""
    samples, floor = memory[m.TAILS_AT + t.COUNT + stream], log_scale - 20.7
    centre = largest = max(t.record(memory, m.TAILS_AT, stream), floor)
    if samples >= t.FEWEST:
        usual = max(memory[m.TAILS_AT + t.Q999 + stream], floor)
        centre = QUANTILE_SHARE * usual + (1.0 - QUANTILE_SHARE) * largest
    else:
        centre += YOUNG_PENALTY / max(samples, 1.0)
    return max(centre, SMALLEST_CENTRE + log_scale)


@compiled
def age_discount(memory: FloatArray, stream: int) -> float:
    """Decades that a tail with few positive samples is believed less."""
    positive = memory[m.TAILS_AT + t.POSITIVE + stream]
    return 0.0 if positive >= 1000.0 else AGE_DISCOUNT * (3.0 - np.log10(max(positive, 1.0)))


@compiled
def record_decades(memory: FloatArray, stream: int, log_value: float, log_scale: float) -> float:
    """Decades against the largest values of the past; 0 for what is too small to be anything."""
    if log_value < SMALLEST + log_scale:
        return 0.0
    centre = record_centre(memory, stream, log_scale)
    return CENTRE + (log_value - centre) / SLOPE - age_discount(memory, stream)


@compiled
def scale_of(memory: FloatArray) -> float:
    """The usual size of the values as a logarithm, in the unit in which raw streams are kept."""
    return t.log_of(memory[m.SCALE]) - t.log_of(memory[m.ANCHOR])


@compiled
def local_tail(memory: FloatArray, stream: int) -> tuple[float, float]:
    """Where a local stream's usual tail lies, in ln(u), and its ln(u) per decade."""
    samples = memory[m.TAILS_AT + t.COUNT + stream]
    if samples < t.FEWEST:
        return 0.5 * (PRIOR_99 + PRIOR_999) + YOUNG_PENALTY / max(samples, 1.0), SLOPE
    q99 = max(memory[m.TAILS_AT + t.Q99 + stream], 0.0)
    q999 = max(memory[m.TAILS_AT + t.Q999 + stream], 0.0)
    usual = OWN_SHARE * (q99 + q999) + (0.5 - OWN_SHARE) * (PRIOR_99 + PRIOR_999)
    usual += HEAVY_SHARE * max(q999 - PRIOR_999, 0.0)
    return usual, min(max(q999 - q99, SLOPE), WIDEST_SLOPE)


@compiled
def bent(beyond: float) -> float:
    """Decades above the border for raw decades above theirs: doubtful evidence saturates, overwhelming one does not."""
    return LOCAL_ROOM * (1.0 - 1.0 / (1.0 + min(beyond, LOCAL_PLAIN) / LOCAL_KNEE))


@compiled
def on_scale(raw: float) -> float:
    """Raw decades of local evidence on the common scale."""
    beyond = raw - LOCAL_BORDER
    if beyond < 0.0:
        return BORDER + LOCAL_SLOPE * beyond
    return BORDER + bent(beyond) + LOCAL_SLOPE * max(beyond - LOCAL_PLAIN, 0.0)


@compiled
def off_scale(decades: float) -> float:
    """The raw decades of local evidence that reach this point of the common scale."""
    beyond = decades - BORDER
    if beyond < 0.0:
        return LOCAL_BORDER + beyond / LOCAL_SLOPE
    plain = beyond - bent(LOCAL_PLAIN)
    if plain > 0.0:
        return LOCAL_BORDER + LOCAL_PLAIN + plain / LOCAL_SLOPE
    return LOCAL_BORDER + LOCAL_KNEE * (1.0 / (1.0 - beyond / LOCAL_ROOM) - 1.0)


@compiled
def take_logs(memory: FloatArray) -> None:
    """The logarithms of the present departures; raw ones relative to the first value, so that scale does not matter."""
    log_anchor = t.log_of(memory[m.ANCHOR])
    for stream in range(s.COUNT):
        departure = memory[m.DEPARTURES_AT + stream]
        log_value = np.log(departure) - log_anchor * s.IS_RAW[stream] if departure > 0.0 else t.NOTHING
        memory[m.LOGS_AT + stream] = np.nan if np.isnan(departure) else log_value


@compiled
def counts(memory: FloatArray, stream: int, side: int, least: float, only_points: bool, fewest: int) -> bool:
    """Whether a stream has a say: known well enough, on the side that is trouble, and large enough to matter.

    Below 100 samples only the views speak that need no rare ones: the local ones, and the point against its record.
    """
    if only_points and not s.IS_POINT[stream]:
        return False
    log_value, effect = memory[m.LOGS_AT + stream], memory[m.EFFECTS_AT + stream]
    samples, speaks_young = memory[m.TAILS_AT + t.COUNT + stream], s.IS_LOCAL[stream] or stream <= s.POINT_DOWN
    if np.isnan(log_value) or samples < (min(fewest, t.FEWEST) if speaks_young else t.FEWEST):
        return False
    return not (abs(effect) < least or effect * side < 0.0)


@compiled
def best_record(memory: FloatArray, side: int, least: float, only_points: bool, fewest: int) -> tuple[float, int]:
    """The strongest record evidence and its stream, -1 for none."""
    best, winner = 0.0, -1
    log_scale = scale_of(memory)
    for stream in range(s.COUNT):
        if s.IS_RECORD[stream] and counts(memory, stream, side, least, only_points, fewest):
            log_value = memory[m.LOGS_AT + stream]
            decades = record_decades(memory, stream, log_value, log_scale * s.IS_RAW[stream])
            if winner < 0 or decades > best:
                best, winner = decades, stream
    return best, winner


@compiled
def best_local(memory: FloatArray, side: int, least: float, only_points: bool, fewest: int) -> tuple[float, int]:
    """The strongest local evidence, on the common scale, and its stream, -1 for none."""
    best, winner = 0.0, -1
    for stream in range(s.COUNT):
        if s.IS_LOCAL[stream] and counts(memory, stream, side, least, only_points, fewest):
            usual, slope = local_tail(memory, stream)
            raw = LOCAL_CENTRE + (memory[m.LOGS_AT + stream] - usual) / slope
            if winner < 0 or raw > best:
                best, winner = raw, stream
    return on_scale(best) if winner >= 0 else 0.0, winner


@compiled
def rate(memory: FloatArray, period: int, side: int, least: float, only_points: bool, fewest: int) -> tuple[float, int]:
    """The decades of the present row and the stream that says so (-1: none can say anything yet).

    `side` is 1 or -1 where only that side is trouble, `least` the smallest effect that is. Below `fewest` samples (at
    most 100) nothing is said.
    """
    record, recorder = best_record(memory, side, least, only_points, fewest)
    local, localizer = best_local(memory, side, least, only_points, fewest)
    if recorder < 0 and localizer < 0:
        return 0.0, silent_or_first(memory, fewest)
    if recorder >= 0 and record < SOMETHING:
        local = min(local, BORDER - 1e-4)
    record -= fine_discount(period)
    if localizer >= 0 and (recorder < 0 or local > record):
        return min(max(local, 0.0), MOST), localizer
    return min(max(record, 0.0), MOST), recorder


@compiled
def silent_or_first(memory: FloatArray, fewest: int) -> int:
    """-1 while no stream has seen enough; else the fluctuation, which always has a value."""
    known = memory[m.TAILS_AT + t.COUNT + s.FLUCTUATION_UP] >= min(fewest, t.FEWEST)
    return s.FLUCTUATION_UP if known else -1


@compiled
def learn_tails(memory: FloatArray, bins: t.BinArray) -> None:
    """Take the present departures into the tails."""
    anchor = memory[m.ANCHOR] if memory[m.ANCHOR] > 0.0 else 1.0
    for stream in range(s.COUNT):
        departure = memory[m.DEPARTURES_AT + stream]
        if not np.isnan(departure):
            unit = anchor if s.IS_RAW[stream] else 1.0
            t.learn(memory, m.TAILS_AT, bins, stream, departure, unit)
    t.next_row(bins)
