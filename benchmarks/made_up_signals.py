"""Made-up signals at one minute with incidents in them: a day's wave, quiet weekends, noise that lasts, bursts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.signal import lfilter

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Trouble
from quell.prevention.limits import Limits
from quell.prevention.recomputation import Recomputation, recompute_limits
from quell.prevention.threshold import Budget

STEP = timedelta(minutes=1)
POINTS_A_DAY = 1_440
BEGUN = datetime(2026, 9, 7, tzinfo=UTC)  # a Monday
BURSTS = 0.0003  # share of the minutes in which a burst of a few minutes begins
INCIDENTS = 3
INCIDENT = timedelta(minutes=40)
BUDGET = Budget(alarms_per_week=0.5, hold=timedelta(minutes=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    signal: Signal
    history: SeriesMatrix
    troubles: tuple[Trouble, ...]
    old: Limits


def made_up_signal(number: int, days: int) -> MadeUp:
    """One signal of one series; the same number gives the same values."""
    random = np.random.default_rng(number)
    points = days * POINTS_A_DAY
    moment = np.arange(points)
    level = float(random.lognormal(3.0, 1.0))
    wave = 2.0 + np.sin(2.0 * np.pi * (moment / POINTS_A_DAY + random.random()))
    weekend = np.where(moment // POINTS_A_DAY % 7 >= 5, 0.6, 1.0)
    noise = np.asarray(lfilter([0.15], [1.0, -0.85], random.standard_normal(points)))  # lasts for minutes
    bursts = np.asarray(lfilter([1.0], [1.0, -0.5], random.exponential(2.0, points) * (random.random(points) < BURSTS)))
    values: FloatArray = level * np.maximum(wave * weekend + noise + bursts, 0.0)
    troubles = tuple(_trouble(number, at, values) for at in sorted(random.choice(points - 60, INCIDENTS).tolist()))
    values[random.random(points) < 0.001] = np.nan
    times = BEGUN.timestamp() + 60.0 * moment
    return MadeUp(
        signal=Signal(
            name=f"signal-{number}",
            query="up",
            kind=SignalKind.LATENCY,
            direction=Direction.HIGH,
            unit="ms",
            step=STEP,
            history=timedelta(days=days),
        ),
        history=SeriesMatrix(timestamps=times, values=values[:, np.newaxis], labels=({"service": "made-up"},)),
        troubles=troubles,
        old=Limits(upper=level * 5.0),
    )


def recomputed(one: MadeUp) -> Recomputation:
    return recompute_limits(one.signal, one.history, BUDGET, troubles=one.troubles, old=one.old)


def _trouble(number: int, at: int, values: FloatArray) -> Trouble:
    """Doubles the values while it lasts."""
    start = BEGUN + at * STEP
    values[at : at + INCIDENT // STEP] *= 2.0
    return Trouble(incident=f"INC-{number}-{at}", start=start, end=start + INCIDENT, margin=timedelta(seconds=30))
