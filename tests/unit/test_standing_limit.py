"""Standing limits from measured traffic, and whom they would refuse."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from quell.incidents.errors import InvalidInput
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.standing import NEW, OTHERS, can_be_named, read_limits, write_limits
from quell.prevention.backtest import Trouble
from quell.prevention.refusal_words import refusals_in_words
from quell.prevention.refusals import (
    MOST_KEPT,
    Refusals,
    add_counts,
    extend_shadow,
    from_body,
    to_body,
)
from quell.prevention.standing_limit import Learned, StandingPolicy, propose_standing

pytestmark = pytest.mark.unit
BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
STEP = 10.0
DAY = 8640  # rows
POLICY = StandingPolicy(signal="client-traffic")


def traffic(rows: int = 14 * DAY, **clients: FloatArray | float) -> SeriesMatrix:
    grid = BEGUN.timestamp() + STEP * np.arange(rows)
    columns = [np.broadcast_to(np.asarray(rates, dtype=np.float64), (rows,)) for rates in clients.values()]
    labels = tuple({"client": name} for name in clients)
    return SeriesMatrix(timestamps=grid, values=np.column_stack(columns), labels=labels)


def with_peak(base: float, peak: float, *days: int, rows: int = 14 * DAY) -> FloatArray:
    rates = np.full(rows, base)
    for day in days:
        rates[day * DAY + 4000 : day * DAY + 4006] = peak
    return rates


def learned_of(matrix: SeriesMatrix, policy: StandingPolicy = POLICY) -> dict[str, Learned]:
    return {one.name: one for one in propose_standing(matrix, policy).learned}


def test_a_peak_that_came_back_is_allowed_with_headroom() -> None:
    found = learned_of(traffic(web=with_peak(5, 40, 3, 10), mobile=3.0))
    assert found["web"].limit >= 2 * 400 and found["web"].usual == 40 and found["web"].above == 0


def test_a_flood_that_nobody_noticed_and_that_came_once_is_not_learned_and_is_named() -> None:
    found = learned_of(traffic(web=with_peak(5, 400, 3), mobile=3.0))
    assert found["web"].limit < 150
    assert (found["web"].above, found["web"].blocks, found["web"].highest) == (1, 14, 400)
    assert found["web"].most_above > 0.2


def test_a_client_without_enough_history_gets_no_limit_of_its_own() -> None:
    young = np.where(np.arange(14 * DAY) >= 9 * DAY, 7.0, np.nan)
    proposal = propose_standing(traffic(web=5.0, young=young), POLICY)
    assert "young" not in proposal.limits and proposal.left_out == {"young": "seen in 5 blocks, needs 7"}


def test_a_stranger_raises_no_limit_of_new_clients_and_makes_room_for_what_it_might_have_sent() -> None:
    loud = np.where(np.arange(14 * DAY) >= 11 * DAY, 500.0, np.nan)
    calm, noisy = propose_standing(traffic(web=5.0), POLICY), propose_standing(traffic(web=5.0, loud=loud), POLICY)
    assert noisy.limits[NEW] == calm.limits[NEW] and calm.limits[OTHERS] == 2 * calm.limits[NEW]
    assert noisy.limits[OTHERS] < 2.5 * calm.limits[NEW] < 500 * 10


def test_requests_without_a_name_are_learned_as_one_group() -> None:
    policy = StandingPolicy(signal="s", unnamed=("unknown",))
    proposal = propose_standing(traffic(web=5.0, unknown=80.0), policy)
    assert "unknown" not in proposal.limits and proposal.limits[OTHERS] > 2 * 800


@pytest.mark.parametrize("days", [0, 3, 6])
def test_a_history_that_is_too_short_gives_no_limits_and_says_so(days: int) -> None:
    proposal = propose_standing(traffic(days * DAY, web=5.0), POLICY)
    assert proposal.limits == {} and proposal.reason == f"history has {days} blocks of 1 d with traffic, needs 7"


def test_clients_that_come_and_go_give_no_limits_for_new_ones() -> None:
    clients = {f"c{day}": np.where(np.arange(14 * DAY) // DAY == day, 5.0, np.nan) for day in range(14)}
    assert propose_standing(traffic(14 * DAY, **clients), POLICY).reason.startswith("no client was seen in 7 blocks")


def test_what_is_promised_is_kept_also_to_a_client_that_was_never_seen() -> None:
    policy = StandingPolicy(signal="s", promised={"web": 90.0, "partner": 50.0})
    found = learned_of(traffic(web=5.0), policy)
    assert found["web"].limit == 900 and found["partner"].limit == 500
    assert found["web"].basis.startswith("promised in quell.toml")


def test_names_are_compared_in_lower_case_and_those_that_no_map_can_hold_are_left_out() -> None:
    proposal = propose_standing(traffic(**{"Web": 5.0, "web": 2.0, "a b": 1.0, "#x": 1.0, "x" * 65: 1.0}), POLICY)
    assert proposal.limits["web"] == learned_of(traffic(web=7.0))["web"].limit
    assert set(proposal.left_out) == {"a b", "#x", "x" * 65}


def test_a_client_of_one_request_a_day_may_send_a_few() -> None:
    rare = np.zeros(14 * DAY)
    rare[::DAY] = 0.1
    assert learned_of(traffic(web=5.0, rare=rare))["rare"].limit == 10, "twice the upper bound of one request: 4.7"


def test_what_history_vouches_for_is_an_exact_bound() -> None:
    """Of `blocks` as many as `above` went above: with that share and more, so few would be seen in 5 % of cases."""
    one = Learned(name="x", limit=1, usual=1, highest=1, blocks=21, above=2, basis="")
    assert binom.cdf(2, 21, one.most_above) == pytest.approx(0.05)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.5, 8))
def test_limits_grow_with_traffic_and_never_refuse_what_came_back(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    rates = rng.poisson(rng.uniform(1, 60), 10 * 200) / 10
    policy = StandingPolicy(signal="s", block=timedelta(seconds=200 * STEP))
    one, other = (learned_of(traffic(2000, web=rates * k), policy)["web"] for k in (1.0, factor))
    assert (other.limit - one.limit) * (factor - 1) >= 0
    assert one.above == 0 and one.limit >= 2 * 10 * one.usual


def test_a_map_is_read_as_it_was_written_and_a_wrong_line_is_named() -> None:
    limits = {"web": 40, NEW: 9, OTHERS: 18}
    text = write_limits(limits, version="THR-3", window=timedelta(seconds=10))
    assert read_limits(text) == limits
    with pytest.raises(InvalidInput, match="line 3 of the standing limits: web has 'many', it must be a whole number"):
        read_limits("# a\n# b\nweb many\n")
    with pytest.raises(InvalidInput, match="line 1 of the standing limits: 'Web' is no client's name"):
        read_limits("Web 3\n")
    assert not can_be_named(NEW) and not can_be_named("") and can_be_named("10.0.0.7")


def start() -> Refusals:
    before = BEGUN - timedelta(seconds=STEP)
    return Refusals(since=before, until=before)


def test_a_replay_counts_who_is_refused_how_often_and_the_worst_minute() -> None:
    rates = np.full(360, 4.0)
    rates[60:66], rates[120] = 30.0, 14.0
    seen = extend_shadow(start(), traffic(360, web=rates, mobile=1.0), {"web": 100}, window=POLICY.window)
    web = seen.clients["web"]
    assert (web.refused, web.minutes, web.worst) == (6 * 200 + 40, 2, 1200)
    assert web.worst_at == BEGUN + timedelta(minutes=10) and web.offered == pytest.approx(rates.sum() * 10)
    assert seen.measured == timedelta(hours=1) and seen.refused == 1240 and seen.clients["mobile"].refused == 0


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(2, 355), max_size=6), seed=st.integers(0, 1000))
def test_a_watch_in_pieces_gives_what_one_watch_gives(cuts: list[int], seed: int) -> None:
    matrix = traffic(360, web=np.random.default_rng(seed).poisson(100, 360) / 10, x=3.0)
    limits = {"web": 110, NEW: 20, OTHERS: 25}
    whole = extend_shadow(start(), matrix, limits, window=POLICY.window)
    pieces = start()
    for end in [*sorted(set(cuts)), 360]:
        part = SeriesMatrix(timestamps=matrix.timestamps[:end], values=matrix.values[:end], labels=matrix.labels)
        pieces = extend_shadow(pieces, part, limits, window=POLICY.window)
    assert pieces.until == whole.until and pieces.measured == whole.measured
    for name in ("web", "x"):
        one, other = pieces.clients[name], whole.clients[name]
        assert (one.minutes, one.worst_at) == (other.minutes, other.worst_at)
        assert one.refused == pytest.approx(other.refused) and one.worst == pytest.approx(other.worst)
    assert pieces.refused == pytest.approx(whole.refused)


def test_strangers_together_are_held_to_one_limit_and_named_clients_are_not() -> None:
    matrix = traffic(60, web=9.0, a=4.0, b=4.0, unknown=3.0)
    limits = {"web": 100, NEW: 50, OTHERS: 70}
    seen = extend_shadow(start(), matrix, limits, window=POLICY.window, unnamed=("unknown",))
    assert seen.others.refused == 60 * (40 + 40 + 30 - 70) == seen.refused
    assert not any(one.minutes for one in seen.clients.values())


def test_incidents_are_counted_apart_and_maintenance_and_gaps_not_at_all() -> None:
    rates = np.full(360, 20.0)
    rates[300:] = np.nan
    minutes = [BEGUN + timedelta(minutes=m) for m in (0, 10, 20, 30)]
    seen = extend_shadow(
        start(), traffic(360, web=rates), {"web": 100}, window=POLICY.window,
        excluded=[(minutes[0], minutes[1] - timedelta(seconds=1))],
        troubles=[Trouble(incident="INC-1", start=minutes[2], end=minutes[3] - timedelta(seconds=1))],
    )  # fmt: skip
    assert seen.measured == timedelta(minutes=40)
    assert (seen.in_incidents, seen.refused) == (60 * 100, 180 * 100)


def test_nothing_measured_is_told_from_nothing_refused() -> None:
    assert refusals_in_words({}, start(), None).endswith("shadow of 0 s: nothing was measured yet")
    calm = extend_shadow(start(), traffic(60, web=1.0), {"web": 100}, window=POLICY.window)
    assert refusals_in_words({}, calm, None).endswith("shadow of 10 min: none of 600")


def test_a_record_keeps_those_that_were_refused_most_and_counts_all() -> None:
    record = start()
    for n in range(MOST_KEPT + 100):
        counts = {f"c{n}": (50.0, float(n))}
        record = add_counts(record, 1 + n // 60, counts, offered=60.0, others=(10.0, 1.0), is_trouble=False)
    assert len(record.clients) == MOST_KEPT and "c299" in record.clients and "c1" not in record.clients
    assert record.refused == sum(range(MOST_KEPT + 100)) + MOST_KEPT + 100 and record.offered == 60 * 300
    assert from_body(to_body(record)) == record and record.worst_first()[0][0] in ("c299", OTHERS)
