"""Rates between two looks at a load balancer's counters."""

import pytest

from quell.response.traffic import ClientCount, Traffic, read_rates

pytestmark = pytest.mark.unit


def look(
    at: float, *, in_flight: int = 10, done: int = 0, offered: int = 0, admitted: int = 0, **clients: int
) -> Traffic:
    counts = {name: ClientCount(offered=count, admitted=count) for name, count in clients.items()}
    return Traffic(
        at_seconds=at,
        in_flight=in_flight,
        answered=done,
        failed=0,
        offered=offered,
        admitted=admitted,
        clients=counts,
    )


def test_the_mean_time_follows_from_what_is_in_flight_and_what_is_answered() -> None:
    """Little's law: 50 in flight and 100 answered a second take half a second each."""
    reading = read_rates([look(0, in_flight=50), look(1, in_flight=50, done=100, offered=300, admitted=120)])
    assert reading is not None
    assert reading.latency_ms == pytest.approx(500)
    assert (reading.goodput, reading.offered, reading.refused) == (100, 300, 180)


def test_counters_that_began_anew_say_nothing() -> None:
    """HAProxy's counters begin at 0 after a reload; a negative rate would throttle everybody."""
    assert read_rates([look(0, done=1000, offered=1000), look(1, done=3, offered=5)]) is None
    assert read_rates([look(0)]) is None


def test_requests_of_which_none_is_answered_take_forever() -> None:
    reading = read_rates([look(0), look(1, offered=10)])
    assert reading is not None
    assert reading.latency_ms == float("inf")


def test_a_client_that_was_not_seen_before_has_no_demand_yet() -> None:
    """Its counter may hold what it sent an hour ago."""
    reading = read_rates([look(0, web=100), look(1, web=120, importer=50_000)])
    assert reading is not None
    assert reading.demands == {"web": 20}
