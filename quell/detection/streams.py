"""The streams: ways to look at a row, each a non-negative departure that is rated against its own past.

A view is what people are told; it may consist of two streams, up and down. `record` streams count when they come near
the largest value of weeks, `local` streams (departures over the spread of the last rows) when they are large for their
kind. `point` streams compare the row itself with rows before the present trouble; the others look at means or at the
last rows and lag behind its end. The arrays go into compiled functions. Source of the choice: the ablation in docs/.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """`is_raw`: in the unit of the series, not over a spread. `side`: 1 up, -1 down, 0 either."""

    view: str
    side: int
    is_raw: bool
    is_record: bool
    is_local: bool
    is_point: bool


def _stream(
    view: str, side: int, *, raw: bool = False, record: bool = False, local: bool = False, point: bool = False
) -> Stream:
    return Stream(view=view, side=side, is_raw=raw, is_record=record, is_local=local, is_point=point)


STREAMS: tuple[Stream, ...] = (
    _stream("point", 1, raw=True, record=True, point=True),
    _stream("point", -1, raw=True, record=True, point=True),
    _stream("jump", 1, raw=True, record=True),
    _stream("jump", -1, raw=True, record=True),
    _stream("nearest phase", 0, raw=True, record=True),
    _stream("phase level", 0, raw=True, record=True),
    _stream("level", 0, raw=True, record=True),
    _stream("daily shape", 1, record=True, local=True, point=True),
    _stream("daily shape", -1, record=True, local=True, point=True),
    _stream("fluctuation", 1, local=True, point=True),
    _stream("fluctuation", -1, local=True, point=True),
    _stream("step", 1, local=True),
    _stream("step", -1, local=True),
)
COUNT = len(STREAMS)
NO_VIEW = "none"
VIEWS: tuple[str, ...] = (NO_VIEW, *dict.fromkeys(stream.view for stream in STREAMS))
VIEW_OF = np.array([VIEWS.index(stream.view) for stream in STREAMS], dtype=np.int64)
IS_RAW = np.array([stream.is_raw for stream in STREAMS])
IS_RECORD = np.array([stream.is_record for stream in STREAMS])
IS_LOCAL = np.array([stream.is_local for stream in STREAMS])
IS_POINT = np.array([stream.is_point for stream in STREAMS])
POINT_UP, POINT_DOWN, JUMP_UP, JUMP_DOWN, NEAREST, PHASE_LEVEL, LEVEL = range(7)
SHAPE_UP, SHAPE_DOWN, FLUCTUATION_UP, FLUCTUATION_DOWN, STEP_UP, STEP_DOWN = range(7, COUNT)
