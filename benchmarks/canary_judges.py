"""Other judges of a canary, on the same requests: Kayenta's, and plain thresholds.

Kayenta's default judge (spinnaker/spinnaker, kayenta-judge, NetflixACAJudge and MannWhitneyClassifier at a445dab1)
compares time series: here 60 points of each metric, of the 50 and more that its guide asks for. Values beyond the wider
of three interquartile ranges and the 1st and 99th percentile are dropped; a metric is High when the lower end of the
98 % interval of the Hodges-Lehmann shift lies above a quarter of the shift. Metrics: mean latency, p99 and error ratio,
each of them in a group of its own, so that one High fails the canary; direction `increase`, no effect size given, as by
default.
"""

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_cases import Floats, Traffic

POINTS, _TOLERANCE, _Z = 60, 0.25, 2.3263  # 98 %, two-sided


def kayenta_fails(canary: Traffic, control: Traffic) -> bool:
    return any(
        _is_high(_without_outliers(mine), _without_outliers(usual))
        for mine, usual in zip(_series(canary), _series(control), strict=True)
    )


def ratio_of_means_fails(canary: Traffic, control: Traffic) -> bool:
    """A tenth more in mean latency or in the ratio of errors; a control without errors has no ratio and passes."""
    usual = float(control.failed.mean())
    is_failing = usual > 0 and float(canary.failed.mean()) / usual > 1.1
    return is_failing or float(canary.seconds.mean()) / float(control.seconds.mean()) > 1.1


def thresholds_fail(canary: Traffic, control: Traffic) -> bool:
    """What shall be caught as the limit: p99 a tenth higher, one request in a hundred more that fails."""
    more = float(canary.failed.mean()) - float(control.failed.mean())
    mine, usual = (float(np.quantile(side.seconds, 0.99)) for side in (canary, control))
    return more >= 0.01 or mine / usual >= 1.1


def _series(side: Traffic) -> tuple[Floats, Floats, Floats]:
    seconds, failed = np.array_split(side.seconds, POINTS), np.array_split(side.failed, POINTS)
    return (
        np.array([piece.mean() for piece in seconds]),
        np.array([np.quantile(piece, 0.99) for piece in seconds]),
        np.array([piece.mean() for piece in failed]),
    )


def _without_outliers(values: Floats) -> Floats:
    p1, p25, p75, p99 = np.quantile(values, (0.01, 0.25, 0.75, 0.99))
    low, high = min(p1, p25 - 3 * (p75 - p25)), max(p99, p75 + 3 * (p75 - p25))
    return values[(values >= low) & (values <= high)]


def _is_high(mine: Floats, usual: Floats) -> bool:
    if np.array_equal(np.sort(mine), np.sort(usual)):
        return False
    differences: NDArray[np.float64] = np.sort(np.subtract.outer(mine, usual).ravel())
    n, m = len(mine), len(usual)
    rank = n * m / 2 - _Z * math.sqrt(n * m * (n + m + 1) / 12)
    return float(differences[max(int(rank), 0)]) > _TOLERANCE * abs(float(np.median(differences)))
