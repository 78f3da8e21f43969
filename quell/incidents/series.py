"""Series as matrices: what a metric source returns and every phase computes on."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from quell.incidents.labels import FingerprintArray, Labels, fingerprints

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesMatrix:
    """Several series on one time grid.

    `timestamps` has shape (T,), epoch seconds, rising; `values` has shape (T, S), NaN where a sample is missing;
    `labels` has S entries. T and S may be 0. `prints` are the labels' fingerprints where somebody has them already;
    `warnings` say why a source answered only in part.
    """

    timestamps: FloatArray
    values: FloatArray
    labels: tuple[Labels, ...]
    prints: FingerprintArray | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.timestamps), len(self.labels)):
            raise ValueError(
                f"values have shape {self.values.shape}, expected ({len(self.timestamps)}, {len(self.labels)})"
            )
        if self.prints is not None and len(self.prints) != len(self.labels):
            raise ValueError(f"there are {len(self.prints)} fingerprints of {len(self.labels)} series")

    @property
    def fingerprints(self) -> FingerprintArray:
        """One number for each series; equal labels have equal ones."""
        return fingerprints(self.labels) if self.prints is None else self.prints

    def without(self, periods: tuple[tuple[datetime, datetime], ...]) -> "SeriesMatrix":
        """The same matrix without the rows inside the periods (start and end included)."""
        keep = np.ones(len(self.timestamps), dtype=bool)
        for start, end in periods:
            keep &= ~((self.timestamps >= start.timestamp()) & (self.timestamps <= end.timestamp()))
        return replace(self, timestamps=self.timestamps[keep], values=self.values[keep])
