"""The parts of the ranking: words, shifts, names, shares, waits, and what it must survive."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from quell.incidents.change import Change, ChangeKind
from quell.triage.rootcause.calls import Names, build_graph, service_of
from quell.triage.rootcause.edges import find_calls
from quell.triage.rootcause.past import leave_out_episodes
from quell.triage.rootcause.ranking import rank_nodes
from quell.triage.rootcause.share import co_movement
from quell.triage.rootcause.shift import measure_shifts
from quell.triage.rootcause.symptom import quantile_weights
from quell.triage.rootcause.vocabulary import Kind, Side, read_metric
from quell.triage.rootcause.window import Window, observe


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("latency_p95", Kind.LATENCY), ("PodServerLatencyP90(s)", Kind.LATENCY), ("latency-50", Kind.LATENCY),
        ("http_request_duration_seconds avg", Kind.LATENCY), ("error", Kind.ERRORS), ("http_requests_5xx", Kind.ERRORS),
        ("availability_Average", Kind.SUCCESS), ("PodSuccessRate(%)", Kind.SUCCESS), ("load", Kind.REQUESTS),
        ("requests_Sum", Kind.REQUESTS), ("workload", Kind.REQUESTS), ("container-cpu-usage-seconds-total", Kind.CPU),
        ("CpuUsage(m)", Kind.CPU), ("load1", Kind.CPU), ("mem", Kind.MEMORY), ("diskio", Kind.DISK),
        ("container_fs_writes_bytes_total", Kind.DISK), ("NetworkReceiveBytes", Kind.NETWORK), ("rss", Kind.MEMORY),
        ("source_50", Kind.LATENCY), ("queue length", Kind.SATURATION), ("orders", Kind.OTHER),
    ],
)  # fmt: skip
def test_a_metric_is_known_by_the_words_of_its_name(name: str, kind: Kind) -> None:
    """Exporters disagree on spelling, not on words."""
    assert read_metric(name).kind is kind


def test_sides_and_percentiles_are_read_from_the_name() -> None:
    assert read_metric("PodClientLatencyP99(s)").side is Side.WAITS
    assert read_metric("PodClientLatencyP99(s)").quantile == 0.99
    assert read_metric("latency-50").quantile == 0.5
    assert read_metric("latency p90 (ms)").unit_seconds == 1e-3


def test_percentiles_weigh_as_the_area_under_them() -> None:
    """A uniform distribution on 0..1 has its percentiles as values and 0.5 as mean, up to the flat ends."""
    quantiles = [0.1, 0.3, 0.5, 0.7, 0.9]
    assert quantile_weights(quantiles) @ np.array(quantiles) == pytest.approx(0.5)
    assert quantile_weights([0.99]).tolist() == [1.0]


def test_a_shift_does_not_depend_on_the_unit() -> None:
    """Seconds or milliseconds, one z."""
    random = np.random.default_rng(0)
    before, now = np.exp(random.normal(0, 0.1, (50, 1))), np.exp(random.normal(0.5, 0.1, (5, 1)))
    one, other = (measure_shifts(before * unit, now * unit, [Kind.LATENCY]) for unit in (1.0, 1000.0))
    assert one.z[0] == pytest.approx(other.z[0]) and one.z[0] > 3


def test_one_odd_row_among_the_last_is_no_shift() -> None:
    random = np.random.default_rng(1)
    before = np.exp(random.normal(0, 0.1, (200, 1)))
    now = np.exp(random.normal(0, 0.1, (10, 1)))
    assert abs(measure_shifts(before, now, [Kind.CPU]).z[0]) < 3


def test_a_constant_series_that_stays_has_no_shift() -> None:
    assert measure_shifts(np.ones((20, 1)), np.ones((5, 1)), [Kind.MEMORY]).z[0] == 0


def test_an_old_episode_in_the_time_before_does_not_hide_a_fault_of_its_size() -> None:
    """The hour before an incident often holds the end of another one."""
    noise = np.random.default_rng(2).normal(1.0, 0.05, 30)
    noise[8:20] *= 3
    before, now = noise[:, None], np.full((5, 1), 2.8)
    kinds = [Kind.LATENCY]
    cleaned = leave_out_episodes(before, 5)
    assert np.isnan(cleaned[:, 0]).sum() == 12
    assert measure_shifts(cleaned, now, kinds).z[0] > 2 * measure_shifts(before, now, kinds).z[0]


def test_single_spikes_and_what_is_far_away_half_of_the_time_stay_part_of_normal() -> None:
    spiky = np.random.default_rng(3).normal(1.0, 0.05, 30)
    spiky[::4] *= 4
    swings = np.where(np.arange(30) % 10 < 5, 1.0, 3.0)
    before = np.column_stack((spiky, swings))
    assert np.array_equal(leave_out_episodes(before, 5), before)


def test_a_steady_offset_of_the_baseline_does_not_change_co_movement() -> None:
    """Normal was recorded months ago: rows of the incident that are quiet take the offset out."""
    target = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 9.0, 10.0, 8.0])
    moves = co_movement(np.column_stack((0.5 * target, 0.5 * target + 3.0)), target)
    assert moves[0] == pytest.approx(0.5, abs=0.02)
    assert moves[1] == pytest.approx(0.5, abs=0.1)


def test_pods_are_found_under_the_name_of_their_service() -> None:
    names = Names.of(("cart-579f59597d-wc2lz", "Front", "checkout-1", "checkout-2"))
    assert names.find("cart") == ("cart-579f59597d-wc2lz",)
    assert names.find("front") == ("Front",)
    assert names.find("checkout") == ("checkout-1", "checkout-2")
    assert names.find("nobody") == ()
    assert service_of("payment") == "payment"


def test_an_unmeasured_node_of_the_graph_is_bridged() -> None:
    graph = build_graph([("web", "proxy"), ("proxy", "cart"), ("cart", "web")], ["web", "cart"])
    assert graph.callees["web"] == {"cart"}
    assert graph.reach("web") == {"web", "cart"}  # a circle ends


def test_a_node_named_for_a_pair_is_a_call() -> None:
    calls = find_calls(("web-5f6585d649-fnmft", "cart-0", "web_cart", "web->cart", "web_unknown"))
    assert [call.node for call in calls] == ["web_cart", "web->cart"]
    assert calls[0].callees == ("cart-0",)
    assert find_calls(("user", "db", "user_db"), frozenset({"user_db"})) == ()


def test_a_running_total_counts_by_its_steps() -> None:
    """Exports of Prometheus counters grow for ever; a restart is no incident."""
    total = np.cumsum(np.full(40, 5.0))[:, None]
    total[30:] -= total[29] - 1
    seen = observe(
        Window(columns=(("a", "requests_total"),), values=total[:25]),
        Window(columns=(("a", "requests_total"),), values=total[25:]),
    )
    assert np.nanmax(seen.abnormal) == pytest.approx(5.0)


def quiet(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0, 0.05, (rows, columns)))


def windows(metrics: tuple[tuple[str, str], ...], before: np.ndarray, now: np.ndarray) -> tuple[Window, Window]:
    return Window(columns=metrics, values=before), Window(columns=metrics, values=now)


CPU = (("a", "cpu"), ("b", "cpu"), ("c", "cpu"), ("d", "cpu"))


def test_a_busy_processor_names_its_node_and_says_by_how_much() -> None:
    now = quiet(10, 4, seed=1)
    now[:, 2] *= 4
    found = rank_nodes(*windows(CPU, quiet(60, 4), now))
    assert found[0].node == "c" and found[0].metric == "cpu"
    assert "times" in found[0].reason and "instead of" in found[0].reason


def test_scores_are_between_nought_and_one_and_fall() -> None:
    now = quiet(10, 4, seed=1) * np.array([1, 2, 8, 400])
    scores = [suspect.score for suspect in rank_nodes(*windows(CPU, quiet(60, 4), now))]
    assert scores == sorted(scores, reverse=True) and all(0 < score <= 1 for score in scores)


def test_a_recent_change_raises_its_node_and_is_named() -> None:
    now = quiet(10, 4, seed=1)
    now[:, 1] *= 3
    now[:, 2] *= 3.2
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    change = Change(id="c1", kind=ChangeKind.DEPLOY, service="b", at=at, summary="release 7", received_at=at)
    assert rank_nodes(*windows(CPU, quiet(60, 4), now))[0].node == "c"
    first = rank_nodes(*windows(CPU, quiet(60, 4), now), changes=[change])[0]
    assert first.node == "b" and first.change == "c1" and "release 7" in first.reason


def test_a_change_alone_accuses_nobody() -> None:
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    change = Change(id="c1", kind=ChangeKind.DEPLOY, service="b", at=at, summary="release 7", received_at=at)
    assert rank_nodes(*windows(CPU, quiet(60, 4), quiet(10, 4, seed=1)), changes=[change]) == ()


def test_four_failures_where_none_were_before_are_seen_at_the_callee() -> None:
    """At the target they drown; the callee never failed before."""
    columns = tuple((n, m) for n in ("front", "pay") for m in ("requests", "availability"))
    before = np.tile([500.0, 1.0, 80.0, 1.0], (100, 1))
    before[::9, 1] = 0.998
    now = np.tile([500.0, 0.99, 80.0, 0.95], (5, 1))
    found = rank_nodes(*windows(columns, before, now), calls=[("front", "pay")], target=("front", "availability"))
    assert found[0].node == "pay"


def test_a_slow_way_is_told_from_a_slow_callee_by_calls_measured_at_both_ends() -> None:
    """The caller of cart waits longer, cart itself is as fast as ever: the network to cart."""
    columns = (("web", "requests"), ("cart", "requests"), ("web_cart", "source_50"), ("web_cart", "destination_50"))
    before, now = quiet(60, 4) * [10, 10, 0.01, 0.008], quiet(8, 4, seed=1) * [10, 10, 0.3, 0.008]
    found = rank_nodes(*windows(columns, before, now))
    assert found[0].node == "cart" and "network" in found[0].reason


def test_a_slow_way_without_measured_calls_is_told_from_the_callers_percentiles() -> None:
    """One tenth of the calls go to `mail`: its way moves the 95th percentile of the waits, not the median."""
    names = ("web", "mail", "stock")
    columns = (*((n, "requests") for n in names), *((n, "server_latency_p95") for n in names),
               ("web", "client_latency_p50"), ("web", "client_latency_p95"))  # fmt: skip
    level = np.array([10, 1, 9, 0.1, 0.02, 0.02, 0.02, 0.05])
    before, now = quiet(60, 8) * level, quiet(8, 8, seed=1) * level
    now[:, 7] *= 10
    found = rank_nodes(*windows(columns, before, now), calls=[("web", "mail"), ("web", "stock")])
    assert found[0].node == "mail"


def test_a_service_and_its_only_pod_are_one_component() -> None:
    columns = (("Front", "latency_p95"), ("front-579b9bff58-t2dbm", "cpu"), ("cart-0", "cpu"), ("db-0", "cpu"))
    now = quiet(8, 4, seed=1)
    now[:, :2] *= 5
    found = rank_nodes(*windows(columns, quiet(60, 4), now), target=("Front", "latency_p95"))
    assert found[0].node == "front-579b9bff58-t2dbm"
    assert "Front" not in [suspect.node for suspect in found]


@pytest.mark.parametrize("rows", [(3, 1), (10, 5), (2, 1), (0, 0), (600, 600)])
def test_any_number_of_rows_is_survived(rows: tuple[int, int]) -> None:
    rank_nodes(*windows(CPU, quiet(rows[0], 4), quiet(rows[1], 4, seed=1)))


def test_empty_columns_new_columns_and_lost_columns_are_survived() -> None:
    before = Window(columns=(("a", "cpu"), ("b", "cpu"), ("gone", "cpu")), values=quiet(30, 3))
    before.values[:, 1] = math.nan
    now = Window(columns=(("a", "cpu"), ("b", "cpu"), ("new", "errors")), values=quiet(5, 3, seed=1))
    now.values[:, 2] = [0, 4, 9, 12, 8]
    assert [suspect.node for suspect in rank_nodes(before, now)] in ([], ["new"])
    assert rank_nodes(Window(columns=(), values=np.empty((5, 0))), Window(columns=(), values=np.empty((2, 0)))) == ()


def test_a_target_that_nobody_measures_is_no_error() -> None:
    now = quiet(10, 4, seed=1)
    now[:, 2] *= 4
    found = rank_nodes(*windows(CPU, quiet(60, 4), now), target=("nowhere", "latency"), calls=[("nowhere", "c")])
    assert found[0].node == "c"
