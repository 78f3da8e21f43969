"""The streams: ways to look at a row, each a non-negative departure that is rated against its own past.

A view is what people are told; it may consist of two streams, up and down. `record` streams count when they come near
the largest value of weeks, `local` streams (departures over the spread of the last rows) when they are large for their
kind. `point` streams compare the row itself with rows before the present trouble; the others look at the last rows too
and lag behind its end, `level` streams (means of many rows) by far. The arrays go into compiled functions. Source of
the choice: the ablation in docs/.
"""

from dataclasses import KW_ONLY, dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Stream:
    """`is_raw`: in the unit of the series, not over a spread. `side`: 1 up, -1 down, 0 either."""

    view: str
    side: int
    _: KW_ONLY
    is_raw: bool = False
    is_record: bool = False
    is_local: bool = False
    is_point: bool = False
    is_level: bool = False


STREAMS: tuple[Stream, ...] = (
    Stream("point", 1, is_raw=True, is_record=True, is_point=True),
    Stream("point", -1, is_raw=True, is_record=True, is_point=True),
    Stream("jump", 1, is_raw=True, is_record=True),
    Stream("jump", -1, is_raw=True, is_record=True),
    Stream("nearest phase", 0, is_raw=True, is_record=True, is_level=True),
    Stream("phase level", 0, is_raw=True, is_record=True, is_level=True),
    Stream("level", 0, is_raw=True, is_record=True, is_level=True),
    Stream("daily shape", 1, is_record=True, is_local=True, is_point=True),
    Stream("daily shape", -1, is_record=True, is_local=True, is_point=True),
    Stream("fluctuation", 1, is_local=True, is_point=True),
    Stream("fluctuation", -1, is_local=True, is_point=True),
    Stream("step", 1, is_local=True),
    Stream("step", -1, is_local=True),
)
COUNT = len(STREAMS)
NO_VIEW = "none"
VIEWS: tuple[str, ...] = (NO_VIEW, *dict.fromkeys(stream.view for stream in STREAMS))
VIEW_OF = np.array([VIEWS.index(stream.view) for stream in STREAMS], dtype=np.int64)
IS_RAW = np.array([stream.is_raw for stream in STREAMS])
IS_RECORD = np.array([stream.is_record for stream in STREAMS])
IS_LOCAL = np.array([stream.is_local for stream in STREAMS])
IS_POINT = np.array([stream.is_point for stream in STREAMS])
IS_LEVEL = np.array([stream.is_level for stream in STREAMS])
POINT_UP, POINT_DOWN, JUMP_UP, JUMP_DOWN, NEAREST, PHASE_LEVEL, LEVEL = range(7)
SHAPE_UP, SHAPE_DOWN, FLUCTUATION_UP, FLUCTUATION_DOWN, STEP_UP, STEP_DOWN = range(7, COUNT)
