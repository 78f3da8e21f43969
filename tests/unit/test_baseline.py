"""Fitting: who is known and ready, what teaches nothing, and that a baseline survives storage."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.detection.archive import decode, encode
from quell.detection.baseline import Baseline, fit
from quell.detection.fleet import Fleet
from quell.detection.judge import judge
from quell.incidents.errors import InvalidInput
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRAFFIC = Signal(
    name="traffic", query="q", kind=SignalKind.TRAFFIC, direction=Direction.BOTH, unit="req/s", step=MINUTE
)
PLAIN = replace(TRAFFIC, kind=SignalKind.OTHER, unit="")
RATIO = replace(TRAFFIC, kind=SignalKind.ERROR_RATIO, direction=Direction.HIGH, unit="ratio", min_effect=0.05)


def matrix(values: object, *, step: timedelta = MINUTE, end: datetime = NOW) -> SeriesMatrix:
    """Columns of values whose last row is at `end`."""
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(len(table), -1)
    timestamps = end.timestamp() - np.arange(len(table))[::-1] * step.total_seconds()
    labels = tuple({"instance": f"i-{n}"} for n in range(table.shape[1]))
    return SeriesMatrix(timestamps=timestamps, values=table, labels=labels)


def noise(*shape: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(size=shape)


def daily(days: int, spread: float = 1.0, series: int = 4) -> FloatArray:
    minutes = np.arange(days * 1440)
    return 50 + 20 * np.sin(2 * np.pi * minutes / 1440)[:, np.newaxis] + spread * noise(len(minutes), series)


def next_verdicts(baseline: Baseline, values: list[float], signal: Signal = PLAIN) -> list[Verdict]:
    """On one row, a minute after the history."""
    now = NOW + MINUTE
    return judge(baseline, matrix([values], end=now), signal, now=now, stale_after=timedelta(minutes=5))


def width(baseline: Baseline, signal: Signal = PLAIN, value: float = 0.0) -> FloatArray:
    """How far the band of the next row reaches above what is expected."""
    found = next_verdicts(baseline, [value] * len(baseline.labels), signal)
    return np.array([(v.upper or 0.0) - (v.expected or 0.0) for v in found])


def test_few_samples_get_a_wider_band() -> None:
    widths = [np.median(width(fit(matrix(noise(n, 300)), PLAIN, now=NOW))) for n in (30, 60, 3000)]
    assert widths == sorted(widths, reverse=True)


def test_a_heavy_tail_gets_a_wider_band_than_a_light_one_of_the_same_spread() -> None:
    heavy = np.random.default_rng(2).standard_t(3, size=(20_000, 20)) / np.sqrt(3.0)
    light = noise(20_000, 20)
    assert np.median(width(fit(matrix(heavy), PLAIN, now=NOW))) > 1.3 * np.median(
        width(fit(matrix(light), PLAIN, now=NOW))
    )


def test_a_larger_budget_of_false_alarms_narrows_the_band() -> None:
    history = matrix(noise(2000, 10))
    strict = fit(history, PLAIN, now=NOW, false_alarms_per_week=0.1)
    loose = fit(history, PLAIN, now=NOW, false_alarms_per_week=50)
    assert (width(loose) < width(strict)).all()


@pytest.mark.parametrize("level", [0.2, 1000.0])
@pytest.mark.parametrize("samples", [30, 600])
def test_a_constant_series_has_a_band_of_some_width(level: float, samples: int) -> None:
    found = width(fit(matrix(np.full(samples, level)), PLAIN, now=NOW), value=level)
    assert found[0] >= 0.01 * level * 0.999


def test_the_smallest_effect_that_matters_is_the_narrowest_band() -> None:
    assert width(fit(matrix(np.zeros(40)), RATIO, now=NOW), RATIO).tolist() == [0.05]


def test_where_the_day_repeats_it_is_what_is_expected() -> None:
    found = fit(matrix(daily(9)), TRAFFIC, now=NOW, room=400)
    assert found.seasonal.all()
    later = NOW + timedelta(hours=6)
    rows = np.full((1, 4), 50.0)
    verdicts = judge(found, matrix(rows, end=later), TRAFFIC, now=later, stale_after=MINUTE)
    true = 50 + 20 * np.sin(2 * np.pi * (9 * 1440 - 1 + 360) / 1440)
    assert [v.expected for v in verdicts] == pytest.approx([true] * 4, abs=1.0)


def test_noise_has_no_season_however_long_the_history() -> None:
    found = fit(matrix(noise(4 * 7 * 288, 10), step=5 * MINUTE), replace(PLAIN, step=5 * MINUTE), now=NOW)
    assert np.count_nonzero(found.seasonal) <= 5  # with nothing to choose, either is as near


def test_an_excluded_incident_leaves_the_band_as_it_would_have_been() -> None:
    """Whatever was measured in it; not even its length shows."""
    calm = 0.01 * np.abs(noise(2000, 3))
    start, end = NOW - timedelta(minutes=500), NOW - timedelta(minutes=300)
    struck = matrix(calm)
    inside = (struck.timestamps >= start.timestamp()) & (struck.timestamps <= end.timestamp())
    values, missing = calm.copy(), calm.copy()
    values[inside], missing[inside] = 0.6, np.nan
    spared = fit(replace(struck, values=values), RATIO, now=NOW, excluded=[(start, end)])
    never = fit(replace(struck, values=missing), RATIO, now=NOW)
    assert_same(spared, never)
    taught = fit(replace(struck, values=values), RATIO, now=NOW)
    verdicts = [next_verdicts(b, [0.3] * 3, RATIO)[0].score for b in (spared, taught)]
    assert verdicts[0] >= 0.5 > verdicts[1]


def assert_same(one: Baseline, other: Baseline) -> None:
    for owner, mine, theirs in ((Baseline, one, other), (Fleet, one.fleet, other.fleet)):
        for name in (field.name for field in fields(owner) if field.name != "fleet"):
            left, right = getattr(mine, name), getattr(theirs, name)
            if isinstance(left, np.ndarray):
                np.testing.assert_array_equal(left, right, err_msg=name)
            else:
                assert left == right, name


def test_series_fitted_together_equal_series_fitted_alone_in_any_order() -> None:
    mixed = np.column_stack([daily(4, series=20), 50 + noise(4 * 1440, 3)])
    mixed[100:900, 21] = np.nan
    together = fit(matrix(mixed), TRAFFIC, now=NOW)
    for column in (0, 17, 21):
        alone = fit(matrix(mixed[:, column]), TRAFFIC, now=NOW)
        np.testing.assert_array_equal(alone.fleet.memory[0], together.fleet.memory[column])
        assert alone.samples[0] == together.samples[column]


def test_gaps_and_infinities_teach_nothing() -> None:
    values = 50 + noise(400, 1)
    holes = np.full((800, 1), np.nan)
    holes[::2] = values
    holes[1] = np.inf
    found = fit(matrix(holes), PLAIN, now=NOW + MINUTE)
    assert found.samples.tolist() == [400]
    assert found.presence[0] == pytest.approx(0.5)


def test_a_series_without_any_number_is_no_longer_expected_and_a_short_one_is_not_ready() -> None:
    values = 50 + noise(100, 3)
    values[:, 0] = np.nan
    values[:-5, 1] = np.nan
    found = fit(matrix(values), PLAIN, now=NOW)
    assert [labels["instance"] for labels in found.labels] == ["i-1", "i-2"]
    assert found.ready.tolist() == [False, True]
    assert found.presence.tolist() == [1.0, 1.0]


def test_a_series_silent_for_a_day_is_no_longer_expected() -> None:
    values = 50 + noise(3 * 1440, 2)
    values[-1441:, 0] = np.nan
    assert [labels["instance"] for labels in fit(matrix(values), PLAIN, now=NOW).labels] == ["i-1"]


@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (0, 3)])
def test_nothing_can_be_fitted_on_nothing_without_harm(shape: tuple[int, int]) -> None:
    empty = SeriesMatrix(
        timestamps=NOW.timestamp() - np.arange(shape[0])[::-1] * 60.0,
        values=np.empty(shape),
        labels=tuple({"n": str(n)} for n in range(shape[1])),
    )
    found = fit(empty, PLAIN, now=NOW)
    assert found.labels == ()
    assert_same(found, decode(*encode(found)))


def test_a_baseline_survives_storage() -> None:
    found = fit(matrix(np.column_stack([daily(4), 50 + noise(4 * 1440)])), TRAFFIC, now=NOW)
    body, blob = encode(found)
    assert body["version"] == "traffic@20261102T000000Z" and body["series"] == 5
    assert_same(found, decode(body, blob))


def test_a_baseline_of_an_unknown_format_is_refused() -> None:
    body, blob = encode(fit(matrix(noise(40)), PLAIN, now=NOW))
    with pytest.raises(InvalidInput, match="has format 99, this version reads 3"):
        decode({**body, "format": 99}, blob)


def test_a_baseline_of_another_memory_is_refused_and_not_misread() -> None:
    known = fit(matrix(noise(40)), PLAIN, now=NOW)
    shorter = replace(known, fleet=replace(known.fleet, memory=known.fleet.memory[:, 1:].copy()))
    with pytest.raises(InvalidInput, match=r"numbers of each series, this version \d+: refresh it"):
        decode(*encode(shorter))
