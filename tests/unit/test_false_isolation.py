"""A healthy instance isolated by mistake: users were not helped, it answers well, nothing else speaks against it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.mitigation import BlastRadius, Step
from quell.incidents.probe import Answered
from quell.incidents.service import Instance, Service
from quell.response.false_isolation import (
    Health,
    cost_of,
    false_isolation,
    health_of,
    isolated_instances,
    probe_urls,
    users_not_helped,
)
from quell.response.playbook import RecoveryRule

pytestmark = pytest.mark.unit
APPLIED = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
STEP = timedelta(seconds=5)
RULE = RecoveryRule(signal="errors", below=0.02, hold=timedelta(seconds=15))
NAN = float("nan")
CHECKOUT = Service(
    name="checkout",
    team="shop",
    instances=tuple(
        Instance(name=f"checkout-{n}", service="checkout", server=f"be/{n}", url=f"http://127.0.0.1:{n}")
        for n in (1, 2, 3)
    ),
)
WELL = Answered(status=200, seconds=0.004)


def _unhelped(
    before: list[float],
    since: list[float],
    rule: RecoveryRule = RULE,
    limit: float | None = 0.02,
    window: timedelta = timedelta(0),
    idle: list[int] | None = None,
) -> str:
    """`before` ends at the moment of the effect, `since` ends now."""
    worst = np.array([*before, *since])
    times = APPLIED.timestamp() - 5 * (len(before) - 1) + 5 * np.arange(len(worst))
    now = APPLIED + len(since) * STEP
    return users_not_helped(
        rule,
        times,
        worst,
        limit=limit,
        step=STEP,
        applied_at=APPLIED,
        now=now,
        window=window,
        idle=None if idle is None else np.array(idle, dtype=bool),
    )


@pytest.mark.parametrize(
    ("before", "since", "expected"),
    [
        pytest.param([0.0] * 4, [0.0] * 3, "never outside", id="users were well all the time"),
        pytest.param([0.3] * 4, [0.3] * 3, "not helped in 15 s", id="as bad as before"),
        pytest.param([0.1] * 4, [0.3] * 3, "not helped", id="worse than before"),
        pytest.param([0.0] * 4, [0.3] * 3, "not helped", id="bad only since"),
        pytest.param([0.3] * 4, [0.3] * 2, "", id="too early"),
        pytest.param([0.3] * 4, [0.3, 0.2, 0.1], "", id="on the way down"),
        pytest.param([0.3] * 4, [0.3, 0.1, 0.0], "", id="just inside again"),
        pytest.param([0.0, 0.0, 0.1], [0.3, 0.2, 0.1], "", id="the trouble had just begun, and goes"),
        pytest.param([0.0] * 4, [0.0, NAN, 0.0], "", id="a gap proves nothing"),
        pytest.param([NAN] * 4, [0.0] * 3, "", id="nothing is known of before"),
        pytest.param([], [], "", id="nothing is known"),
    ],
)
def test_users_tell_whether_the_isolation_was_needed(before: list[float], since: list[float], expected: str) -> None:
    said = _unhelped(before, since)
    assert (expected in said) if expected else said == ""
    assert not said or "limit 0.02" in said


def _looking_back(truth: list[float], window: int) -> list[float]:
    """What a rate over so many samples shows of it."""
    padded = [truth[0]] * (window - 1) + truth
    return [float(np.mean(padded[n : n + window])) for n in range(len(truth))]


@given(st.floats(0.05, 1), st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.005))
def test_a_signal_that_looks_back_never_speaks_against_an_isolation_that_helped(
    level: float, window: int, bad: int, rest: float
) -> None:
    """With rate(...[5m]) the trouble is on the screen for five minutes after it is gone."""
    truth = [rest] * 60 + [level] * bad + [rest] * 80
    shown = _looking_back(truth, window)
    before, since = shown[: 60 + bad], shown[60 + bad :]
    for count in range(1, len(since) + 1):
        assert "not helped" not in _unhelped(before[-24:], since[:count], window=window * STEP)


def test_a_signal_that_looks_back_tells_when_it_has_forgotten_what_was_before() -> None:
    window = timedelta(minutes=5)
    assert _unhelped([0.3] * 24, [0.3] * 59, window=window) == ""
    assert "not helped in 305 s" in _unhelped([0.3] * 24, [0.3] * 61, window=window)


def test_users_who_were_never_outside_are_not_waited_for() -> None:
    """The promise to a healthy server: it is back as soon as `hold` is over, however far the signal looks back."""
    assert "never outside" in _unhelped([0.004] * 24, [0.004] * 3, window=timedelta(minutes=5))


@pytest.mark.parametrize(
    ("before", "since", "idle", "expected"),
    [
        pytest.param([NAN] * 4, [NAN] * 3, [1] * 7, "without traffic before, without traffic now", id="idle"),
        pytest.param([0.0, NAN] * 2, [0.0, NAN, NAN], [1] * 7, "0 at worst before, without traffic now", id="sporadic"),
        pytest.param([NAN] * 4, [NAN] * 3, [1] * 6 + [0], "", id="the last one is missing"),
        pytest.param([NAN] * 4, [NAN] * 3, [0] * 4 + [1] * 3, "", id="nothing is known of before"),
        pytest.param([0.3, NAN] * 2, [NAN] * 3, [1] * 7, "", id="outside before: nobody came back to be helped"),
        pytest.param([NAN] * 4, [0.3] * 3, [1] * 7, "", id="the first who come are outside"),
        pytest.param([NAN] * 4, [NAN] * 2, [1] * 6, "", id="too early"),
    ],
)
def test_nobody_is_outside_where_nobody_asks_and_what_is_missing_is_never_that(
    before: list[float], since: list[float], idle: list[int], expected: str
) -> None:
    said = _unhelped(before, since, idle=idle)
    assert (expected in said) if expected else said == ""


def test_a_preventive_playbook_and_a_missing_limit_tell_nothing() -> None:
    preventive = RecoveryRule(signal="errors", below=0.02, hold=timedelta(seconds=15), preventive=True)
    assert _unhelped([0.0] * 4, [0.0] * 3, preventive) == ""
    assert _unhelped([0.0] * 4, [0.0] * 3, limit=None) == ""


@given(st.lists(st.floats(0.03, 1), min_size=3, max_size=8), st.floats(0.03, 1), st.integers(0, 1))
def test_users_who_are_inside_now_after_trouble_never_speak_for_a_false_isolation(
    before: list[float], peak: float, low: int
) -> None:
    """That is what a right isolation looks like."""
    assert _unhelped(before, [peak, peak, low * 0.01]) == ""


@pytest.mark.parametrize(
    ("samples", "siblings", "is_well", "words"),
    [
        pytest.param([WELL] * 3, [WELL] * 3, True, "3 of 3, 4 ms in the median, its siblings 4 ms", id="well"),
        pytest.param([WELL] * 3, [], True, "3 of 3", id="nobody to compare with"),
        pytest.param([WELL] * 2, [WELL], False, "2 of 3 samples", id="too few"),
        pytest.param([WELL, WELL, Answered(status=500)], [WELL], False, "HTTP 500", id="an error"),
        pytest.param([Answered(status=404)] * 3, [WELL], False, "HTTP 404", id="the wrong path proves no health"),
        pytest.param([Answered(error="no answer within 1 s")], [WELL], False, "no answer", id="a timeout"),
        pytest.param([Answered(status=200, seconds=0.4)] * 3, [WELL] * 3, False, "far more slowly", id="far slower"),
        pytest.param([Answered(status=200, seconds=0.02)] * 3, [WELL] * 3, True, "20 ms", id="a little slower"),
        pytest.param(
            [Answered(status=200, seconds=0.4)] * 3,
            [Answered(status=200, seconds=0.3)] * 3,
            True,
            "its siblings 300 ms",
            id="as slow as all",
        ),
    ],
)
def test_health_is_what_every_probe_says(
    samples: list[Answered], siblings: list[Answered], is_well: bool, words: str
) -> None:
    health = health_of("checkout-2", samples, siblings)
    assert health.is_well is is_well and words in health.words


def test_sick_siblings_are_no_measure_of_latency() -> None:
    sick = Answered(status=500, seconds=0.0001)
    assert health_of("checkout-2", [Answered(status=200, seconds=0.4)] * 3, [sick] * 3).is_well


GOOD, BAD = Health(is_well=True, words="checkout-2 is well"), Health(is_well=False, words="checkout-3 is not")


def test_all_of_it_together_is_a_false_isolation_and_the_cost_is_told() -> None:
    said = false_isolation("users were never outside", [GOOD], [], "it cost 33 % of checkout's capacity for 12 s")
    assert said.startswith("false isolation: users were never outside; checkout-2 is well")
    assert said.endswith("it cost 33 % of checkout's capacity for 12 s")


@pytest.mark.parametrize(
    ("unhelped", "health", "trouble"),
    [
        pytest.param("", [GOOD], [], id="users were helped, or it is too early"),
        pytest.param("no help", [], [], id="nobody was asked"),
        pytest.param("no help", [GOOD, BAD], [], id="one of them is sick"),
        pytest.param("no help", [GOOD], ["checks find it down"], id="the load balancer finds it down"),
    ],
)
def test_one_thing_missing_and_it_stays_isolated(unhelped: str, health: list[Health], trouble: list[str]) -> None:
    assert false_isolation(unhelped, health, trouble, "it cost nothing") == ""


def _step(action: str, server: str = "be/2", **params: int) -> Step:
    return Step(actuator="haproxy", action=action, target=server, params=params)


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([_step("isolate")], ["checkout-2"]),
        ([_step("maint"), _step("maint", "be/3")], ["checkout-2", "checkout-3"]),
        ([_step("weight", weight=0)], ["checkout-2"]),
        ([_step("weight", weight=10)], []),
        ([_step("isolate"), _step("throttle", "client:x", requests_per_second=5)], []),
        ([_step("isolate", "be/unknown")], []),
    ],
)
def test_only_plans_that_do_nothing_but_isolate_are_asked_about(steps: list[Step], names: list[str]) -> None:
    assert [one.name for one in isolated_instances(steps, CHECKOUT)] == names


def test_an_instance_is_asked_at_its_own_address_and_path() -> None:
    one = Instance(name="a", service="s", url="http://10.0.0.1:80/", probe="/ready")
    assert probe_urls([one, Instance(name="b", service="s")]) == {"a": "http://10.0.0.1:80/ready"}


def test_a_long_cost_is_told_in_minutes() -> None:
    radius = BlastRadius(service="api", instances=("a",), capacity_share=0.25, capacity_left=0.75)
    assert cost_of(radius, timedelta(minutes=7)) == "it cost 25 % of api's capacity for 7 min"
