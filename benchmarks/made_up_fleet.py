"""Many made-up series on one grid: a day's wave of its own phase and size, noise, and now and then a spike."""

import numpy as np

from quell.incidents.series import FloatArray

POINTS_A_DAY = 288  # one every five minutes
SPIKES = 0.0005  # share of the rows
_AT_ONCE = 2_000  # series; the random numbers of more would double the memory that is measured


def made_up(rows: int, series: int, seed: int = 1) -> FloatArray:
    """Values of shape (rows, series); the same seed gives the same values."""
    values, moment = np.empty((rows, series)), np.arange(rows)[:, np.newaxis]
    for start in range(0, series, _AT_ONCE):
        part = values[:, start : start + _AT_ONCE]
        random = np.random.default_rng([seed, start])
        count = part.shape[1]
        level, phase = random.lognormal(3.0, 1.0, count), random.random(count) * 2.0 * np.pi
        part[:] = level * (3.0 + np.sin(2.0 * np.pi * moment / POINTS_A_DAY + phase))
        part += level * 0.1 * random.standard_normal(part.shape)
        part += level * 5.0 * (random.random(part.shape) < SPIKES)
    return values
