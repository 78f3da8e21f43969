"""Max-min fairness: nobody can get more without somebody smaller getting less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.response.fairness import max_min

pytestmark = pytest.mark.unit
RATES = st.floats(0, 1e6, allow_nan=False)
DEMANDS = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), RATES, max_size=12)


def near(value: float) -> float:
    return value * (1 + 1e-9) + 1e-6


@given(DEMANDS, RATES)
def test_nobody_gets_more_than_it_asks_for_and_nothing_is_given_twice(
    demands: dict[str, float], capacity: float
) -> None:
    shares = max_min(demands, capacity)
    assert set(shares) == set(demands)
    assert all(0 <= shares[name] <= near(demand) for name, demand in demands.items())
    assert sum(shares.values()) <= near(capacity)


@given(DEMANDS, RATES)
def test_everything_is_given_out_while_somebody_asks(demands: dict[str, float], capacity: float) -> None:
    assert near(sum(max_min(demands, capacity).values())) >= min(sum(demands.values()), capacity)


@given(DEMANDS, RATES)
def test_who_is_cut_has_at_least_as_much_as_everybody_else(demands: dict[str, float], capacity: float) -> None:
    """That is max-min: to give it more, something would have to be taken from one that has no more than it."""
    shares = max_min(demands, capacity)
    for name, demand in demands.items():
        if near(shares[name]) < demand:
            assert all(other <= near(shares[name]) for other in shares.values())


@given(DEMANDS, RATES, RATES)
def test_more_capacity_takes_nothing_from_anybody(demands: dict[str, float], capacity: float, more: float) -> None:
    before, after = max_min(demands, capacity), max_min(demands, capacity + more)
    assert all(near(after[name]) >= before[name] for name in demands)


@given(DEMANDS, RATES, DEMANDS)
def test_what_a_client_usually_uses_is_its_own(
    demands: dict[str, float], capacity: float, usual: dict[str, float]
) -> None:
    """A large client that sends what it always sends is not cut because another one floods."""
    own = {name: min(demand, usual.get(name, 0.0)) for name, demand in demands.items()}
    shares = max_min(demands, capacity, usual=usual)
    assert sum(shares.values()) <= near(capacity)
    if sum(own.values()) <= capacity:
        assert all(near(shares[name]) >= own[name] for name in demands)


def test_a_noisy_client_leaves_the_others_theirs() -> None:
    assert max_min({"web": 20, "mobile": 10, "importer": 400}, 100) == {"web": 20, "mobile": 10, "importer": 70}
