"""Which slices of the past a stored baseline keeps: around each of the last seven days, what the next rows look at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quell.detection.compiled import compiled
from quell.detection.phase import DAYS, Past

REACH = 6  # slots around a phase that any view looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """`source` names the slot of each entry, -1 for one to come. `is_whole`: one stretch, because the slices touch."""

    period: int
    room: int
    slot: int
    is_whole: bool
    source: NDArray[np.int64]
    shift: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @property
    def entries(self) -> int:
        return len(self.source)


def plan_slices(*, period: int, room: int, slot: int) -> Slices:
    """For the rows from `slot` on, as many as there is room for."""
    days = np.arange(DAYS + 1)
    width = room + 2 * REACH + 1
    is_whole = width >= period
    if is_whole:
        start = slot - DAYS * period - REACH
        source = np.arange(start, slot + room)
        shift, low, high = -days * period - start, np.zeros(DAYS + 1), np.full(DAYS + 1, len(source))
    else:
        source = (np.arange(width) + (slot - REACH - days * period)[:, np.newaxis]).ravel()
        shift, low, high = days * width - slot + REACH, days * width, (days + 1) * width
    return Slices(
        period=period,
        room=room,
        slot=slot,
        is_whole=is_whole,
        source=np.where(source < slot, source, -1),
        shift=shift.astype(np.int64),
        low=low.astype(np.int64),
        high=high.astype(np.int64),
    )


@compiled
def point_at(past: Past, slot: int, is_whole: bool) -> None:
    """Let nobody look at the present row or beyond; separate slices end before it anyway."""
    if is_whole:
        for day in range(DAYS + 1):
            past.high[day] = slot + past.shift[0]
