"""Series as matrices: what a metric source returns and every phase computes on."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from quell.incidents.labels import Labels

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesMatrix:
    """Several series on one time grid.

    `timestamps` has shape (T,), epoch seconds, rising; `values` has shape (T, S), NaN where a sample is missing;
    `labels` has S entries. T and S may be 0.
    """

    timestamps: FloatArray
    values: FloatArray
    labels: tuple[Labels, ...]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.timestamps), len(self.labels)):
            raise ValueError(
                f"values have shape {self.values.shape}, expected ({len(self.timestamps)}, {len(self.labels)})"
            )

    def without(self, periods: tuple[tuple[datetime, datetime], ...]) -> "SeriesMatrix":
        """The same matrix without the rows inside the periods (start and end included)."""
        keep = np.ones(len(self.timestamps), dtype=bool)
        for start, end in periods:
            keep &= ~((self.timestamps >= start.timestamp()) & (self.timestamps <= end.timestamp()))
        return SeriesMatrix(timestamps=self.timestamps[keep], values=self.values[keep], labels=self.labels)
