"""The cost of a safeguard: who was refused, and who of them should not have been."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.response.cost import Cost, Stretch, charge, read_cost, too_dear, with_latency, write_cost
from quell.response.traffic import ClientCount, Requests, count_between

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
USUAL = {"web": 50.0, "mobile": 20.0}


def stretch(**clients: tuple[int, int]) -> Stretch:
    """One second; client=(offered, refused)."""
    counts = {name: ClientCount(offered=o, admitted=o - r) for name, (o, r) in clients.items()}
    return Stretch(
        seconds=1,
        offered=sum(o for o, _ in clients.values()),
        refused=sum(r for _, r in clients.values()),
        clients=counts,
    )


def charged(cost: Cost, seen: Stretch, second: int = 0) -> Cost:
    return charge(cost, seen, USUAL, now=NOW + timedelta(seconds=second), window=MINUTE)


def test_a_refusal_is_wrong_only_where_the_client_stays_within_its_everyday_use() -> None:
    """The flooder's refusals are what the safeguard is for; who is new is told apart, and judged neither way."""
    cost = charged(Cost(), stretch(web=(40, 4), mobile=(400, 380), importer=(30, 5)))
    assert (cost.offered, cost.refused) == (470, 389)
    assert (cost.legitimate, cost.wrong, cost.unknown) == (40, 4, 5)


def test_requests_without_a_name_are_refused_and_not_judged() -> None:
    cost = charge(Cost(), Stretch(seconds=1, offered=100, refused=30), USUAL, now=NOW, window=MINUTE)
    assert (cost.refused, cost.wrong, cost.unknown) == (30, 0, 30)


def test_it_is_too_dear_only_over_the_limit_and_with_enough_to_judge_by() -> None:
    few = charged(Cost(), stretch(web=(40, 40)))
    assert too_dear(few, 0.05) == "", "a share of forty requests is chance"
    cost = charged(few, stretch(web=(40, 0)), 1)
    assert "40 of the last 80 requests" in too_dear(cost, 0.05)
    assert too_dear(cost, 0.5) == ""
    assert too_dear(cost, None) == "", "without a limit it is shown and nothing is done about it"


def test_what_is_older_than_the_window_lifts_nothing() -> None:
    cost = charged(Cost(), stretch(web=(50, 50)))
    for second in range(1, 120):
        cost = charged(cost, stretch(web=(50, 0)), second)
    assert too_dear(cost, 0.0) == ""
    assert cost.wrong == 50
    assert len(cost.recent) <= 13


def test_the_time_before_is_the_first_that_was_measured() -> None:
    cost = with_latency(with_latency(with_latency(Cost(), None), 900.0), 120.0)
    assert (cost.latency_before_ms, cost.latency_ms) == (900.0, 120.0)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["web", "mobile", "importer", "other"]),
            st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: (max(pair), min(pair))),
        ),
        max_size=20,
    )
)
def test_whatever_was_refused_is_counted_once_and_survives_the_store(seen: list[dict[str, tuple[int, int]]]) -> None:
    cost = Cost()
    for second, clients in enumerate(seen):
        cost = charged(cost, stretch(**clients), second)
    assert cost.refused == sum(refused for clients in seen for _, refused in clients.values())
    assert cost.wrong + cost.unknown <= cost.refused
    assert cost.wrong <= cost.legitimate
    assert read_cost(write_cost(cost)) == cost


def test_a_client_that_comes_back_is_counted_from_nothing_and_one_that_was_not_asked_for_not_at_all() -> None:
    """Else a counter of an hour would be charged to one second."""
    old = Requests(at_seconds=0, offered=10, admitted=10, clients={"web": ClientCount(offered=10, admitted=10)})
    come = {"web": ClientCount(offered=4, admitted=4), "late": ClientCount(offered=900, admitted=900)}
    new = Requests(at_seconds=1, offered=30, admitted=30, clients=come)
    whole = count_between(old, new)
    assert whole is not None
    assert {name: count.offered for name, count in whole[1].items()} == {"web": 4, "late": 900}
    part = count_between(Requests(at_seconds=0, offered=10, admitted=10, clients=old.clients, is_whole=False), new)
    assert part is not None
    assert "late" not in part[1]
    assert count_between(new, old) is None
