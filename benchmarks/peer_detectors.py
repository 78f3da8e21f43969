"""Other detectors, each with settings that its own documentation would call sensible. Runs in the peers' environment.

`python peer_detectors.py NAME INPUT.npz OUTPUT.npz`: INPUT holds times_0, values_0, times_1, ...; OUTPUT gets score_0,
... (one per row, higher is more anomalous) and the seconds that fitting and scoring took. A detector that must be
trained is trained on the first 15 % of a series, at least 300 rows, which are scored too; nothing sees labels.
"""

import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
WINDOW = 10  # rows that a windowed detector sees at once
FEWEST = 300


def training_rows(values: Array) -> int:
    return min(max(int(0.15 * len(values)), FEWEST), len(values))


def rows_per_day(times: Array) -> int:
    return max(round(86_400 / float(np.median(np.diff(times)))), 2)


def river_gaussian(_: Array, values: Array) -> Array:
    """river.anomaly.GaussianScorer: the tail probability under a normal distribution fitted to all rows so far.

    Its rolling form cannot be used: the variance of its window falls below zero and ends as a complex number.
    """
    from river import anomaly

    model, out = anomaly.GaussianScorer(window_size=None, grace_period=100), np.empty(len(values))
    for row, value in enumerate(values.tolist()):
        out[row] = model.score_one(None, value)
        model.learn_one(None, value)
    return out


def river_trees(_: Array, values: Array) -> Array:
    """river.anomaly.HalfSpaceTrees on value and change, scaled to 0..1 as its documentation asks."""
    from river import anomaly, compose, preprocessing

    model = compose.Pipeline(
        preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=0)
    )
    out, before = np.empty(len(values)), float(values[0])
    for row, value in enumerate(values.tolist()):
        features = {"value": value, "change": value - before}
        out[row], before = model.score_one(features), value
        model.learn_one(features)
    return out


def adtk_persist(times: Array, values: Array) -> Array:
    """adtk's PersistAD (each value against the median of the 30 before it), its distance instead of its yes or no."""
    import pandas as pd
    from adtk.transformer import DoubleRollingAggregate

    series = pd.Series(values, index=pd.to_datetime(times, unit="s"))
    change = DoubleRollingAggregate(agg="median", window=(30, 1), center=False, diff="l1").transform(series).to_numpy()
    low, high = np.nanquantile(change[: training_rows(values)], [0.25, 0.75])
    return np.nan_to_num(change / max(high - low, 1e-9 * (1.0 + np.abs(values).max())))


def merlion_model(model: Any, times: Array, values: Array) -> Array:
    import pandas as pd
    from merlion.utils import TimeSeries

    # Merlion wants rising, distinct times: where a file repeats one, an even grid stands in.
    index = pd.to_datetime(np.arange(len(values)) * float(np.median(np.diff(times))) + times[0], unit="s")
    whole, cut = pd.DataFrame({"value": values}, index=index), training_rows(values)
    trained = model.train(TimeSeries.from_pd(whole.iloc[:cut]))
    rest = model.get_anomaly_score(TimeSeries.from_pd(whole.iloc[cut:]), TimeSeries.from_pd(whole.iloc[:cut]))
    scored = pd.concat([trained.to_pd(), rest.to_pd()]).iloc[:, 0]
    scored = scored[~scored.index.duplicated(keep="last")].reindex(index)
    return np.nan_to_num(np.abs(scored.to_numpy()))


def merlion_zms(times: Array, values: Array) -> Array:
    """Merlion's ZMS: z-scores of differences over several lags."""
    from merlion.models.anomaly.zms import ZMS, ZMSConfig
    from merlion.transform import normalize

    # Merlion 2.0.2 takes `float` of an array of one, which numpy 2.4 refuses.
    normalize.__dict__["float"] = lambda array: np.asarray(array).item()
    return merlion_model(ZMS(ZMSConfig()), times, values)


def merlion_residual(times: Array, values: Array) -> Array:
    """Merlion's spectral residual (Ren et al. 2019)."""
    from merlion.models.anomaly.spectral_residual import SpectralResidual, SpectralResidualConfig

    return merlion_model(SpectralResidual(SpectralResidualConfig()), times, values)


def windowed(model: Any, values: Array) -> Array:
    """Windows of the last 10 values, each standardised by the training part."""
    cut = training_rows(values)
    scaled = (values - values[:cut].mean()) / (values[:cut].std() or 1.0)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.full(WINDOW - 1, scaled[0]), scaled]), WINDOW)
    model.fit(windows[:cut])
    return model.decision_function(windows)


def pyod_forest(_: Array, values: Array) -> Array:
    """pyod's isolation forest on windows of 10 rows."""
    from pyod.models.iforest import IForest

    return windowed(IForest(random_state=0), values)


def pyod_histogram(_: Array, values: Array) -> Array:
    """pyod's HBOS on windows of 10 rows."""
    from pyod.models.hbos import HBOS

    return windowed(HBOS(), values)


def statsforecast_seasonal(times: Array, values: Array) -> Array:
    """statsforecast's seasonal exponential smoothing (a day), one step ahead, over the spread of its last errors."""
    from statsforecast.models import SeasonalExponentialSmoothing, SimpleExponentialSmoothing

    day = rows_per_day(times)
    enough = len(values) > 3 * day
    model: Any = SeasonalExponentialSmoothing(day, alpha=0.3) if enough else SimpleExponentialSmoothing(alpha=0.3)
    fitted = model.forecast(values.astype(np.float64), h=1, fitted=True)["fitted"]
    return over_spread(np.abs(np.nan_to_num(values - fitted)))


def over_spread(errors: Array) -> Array:
    import pandas as pd

    spread = pd.Series(errors).rolling(200, min_periods=20).std().shift(1).to_numpy()
    return np.nan_to_num(errors / np.maximum(spread, 1e-9 + 1e-3 * errors.mean()))


def prophet_band(times: Array, values: Array) -> Array:
    """Prophet, fitted on the training part (at most its last 3000 rows): distance over the width of its interval."""
    import pandas as pd
    from prophet import Prophet

    logging.getLogger("cmdstanpy").disabled = True
    table = pd.DataFrame({"ds": pd.to_datetime(times, unit="s"), "y": values})
    model = Prophet(uncertainty_samples=100)
    model.fit(table.iloc[: training_rows(values)].tail(3000))
    found = model.predict(table[["ds"]])
    width = np.maximum((found["yhat_upper"] - found["yhat_lower"]).to_numpy(), 1e-9)
    return np.abs(values - found["yhat"].to_numpy()) / width


DETECTORS: dict[str, Callable[[Array, Array], Array]] = {
    "river GaussianScorer": river_gaussian,
    "river HalfSpaceTrees": river_trees,
    "adtk PersistAD": adtk_persist,
    "merlion ZMS": merlion_zms,
    "merlion SpectralResidual": merlion_residual,
    "pyod IForest, windows": pyod_forest,
    "pyod HBOS, windows": pyod_histogram,
    "statsforecast seasonal ETS": statsforecast_seasonal,
    "prophet": prophet_band,
}


def main() -> None:
    name, source, target = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    series = np.load(source)
    detector, out, seconds = DETECTORS[name], {}, 0.0
    start = 60.0 * np.arange(2000.0)
    detector(start, np.sin(start / 5000.0) + 0.01 * np.cos(start))  # imports and compiles; not in the time
    for number in range(len(series.files) // 2):
        times, values = series[f"times_{number}"], series[f"values_{number}"]
        began = time.perf_counter()
        out[f"score_{number}"] = np.nan_to_num(np.asarray(detector(times, values), dtype=np.float64))
        seconds += time.perf_counter() - began
    np.savez(target, seconds=seconds, **out)


if __name__ == "__main__":
    main()
