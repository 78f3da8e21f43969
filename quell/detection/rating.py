"""How rare a row's departures are, in decades, and how the streams become one number.

Record evidence, s = 2.5 + (ln u - (ln Q999 + ln record) / 2) / 0.8, is unbounded: larger than almost anything in weeks.
Local evidence, the same against quantiles of a departure that is already over its spread, saturates just above the
point where record evidence leads. The largest one counts: streams are correlated, sums would reward noise.
"""

import numpy as np

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray

CENTRE = 2.5  # decades at the middle between the 99.9 % quantile and the record
SLOPE = 0.8  # in ln(u) per decade
LOCAL_SHIFT = 0.5
LOCAL_KNEE = 2.6
LOCAL_ROOM = 0.1
LOCAL_PRIOR = 0.15 * np.log(3.0) + 0.15 * np.log(6.0)  # of the tail of a standardised departure
SMALLEST_CENTRE = np.log(1e-6)  # relative to the scale of the series
SMALLEST = np.log(1e-7)
AGE_DISCOUNT = 0.1  # decades per decade of rows below 1000
MOST = 20.0


@compiled
def log_of(value: float) -> float:
    return np.log(value) if value > 1e-290 else t.NOTHING


@compiled
def record_decades(memory: FloatArray, at: int, log_value: float, log_scale: float) -> float:
    """Decades against the largest values of the past; 0 for what is too small to be anything."""
    if log_value < SMALLEST + log_scale:
        return 0.0
    floor = log_scale - 20.7
    centre = max(
        0.5 * (max(memory[at + t.Q999], floor) + max(memory[at + t.RECORD], floor)), SMALLEST_CENTRE + log_scale
    )
    decades, positive = CENTRE + (log_value - centre) / SLOPE, memory[at + t.POSITIVE]
    return decades if positive >= 1000.0 else decades - AGE_DISCOUNT * (3.0 - np.log10(max(positive, 1.0)))


@compiled
def local_decades(memory: FloatArray, at: int, log_value: float) -> float:
    """Decades of a departure that is already over its spread, against its own tail shrunk to a usual one."""
    usual = 0.35 * max(memory[at + t.Q99], 0.0) + 0.35 * max(memory[at + t.Q999], 0.0) + LOCAL_PRIOR
    decades = CENTRE + (log_value - usual) / SLOPE - LOCAL_SHIFT
    if decades > LOCAL_KNEE:
        return LOCAL_KNEE + LOCAL_ROOM - LOCAL_ROOM / (1.0 + (decades - LOCAL_KNEE) / LOCAL_ROOM)
    return decades


@compiled
def take_logs(memory: FloatArray) -> None:
    """The logarithms of the present departures; raw ones relative to the first value, so that scale does not matter."""
    log_anchor = log_of(memory[m.ANCHOR])
    for stream in range(s.COUNT):
        departure = memory[m.DEPARTURES_AT + stream]
        log_value = np.log(departure) - log_anchor * s.IS_RAW[stream] if departure > 0.0 else t.NOTHING
        memory[m.LOGS_AT + stream] = np.nan if np.isnan(departure) else log_value


@compiled
def rate(memory: FloatArray) -> tuple[float, int]:
    """The decades of the present row and the stream that says so (-1: none can say anything yet)."""
    best, winner = 0.0, -1
    log_scale = log_of(memory[m.SCALE]) - log_of(memory[m.ANCHOR])
    for stream in range(s.COUNT):
        at, log_value = m.TAILS_AT + stream * t.FIELDS, memory[m.LOGS_AT + stream]
        if memory[at + t.COUNT] < t.FEWEST or np.isnan(log_value):
            continue
        if winner < 0:
            winner = stream
        decades = 0.0
        if s.IS_RECORD[stream]:
            decades = record_decades(memory, at, log_value, log_scale * s.IS_RAW[stream])
        if s.IS_LOCAL[stream]:
            decades = max(decades, local_decades(memory, at, log_value))
        if decades > best:
            best, winner = decades, stream
    return min(best, MOST), winner


@compiled
def learn_row(memory: FloatArray, bins: t.BinArray) -> None:
    """Take the present departures into the tails; without bins (length 0) only the records move on."""
    for stream in range(s.COUNT):
        log_value = memory[m.LOGS_AT + stream]
        if np.isnan(log_value):
            continue
        at = m.TAILS_AT + stream * t.FIELDS
        if len(bins):
            t.learn(memory, at, bins, stream * t.BINS, log_value)
        t.remember_record(memory, at, log_value)
