"""The HAProxy actuator against a real HAProxy."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import GREEN, SERVERS, TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.incidents.errors import InvalidInput, Refused, Unavailable
from quell.incidents.mitigation import Step

pytestmark = pytest.mark.integration
ISOLATE = Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2")
THROTTLE = Step(actuator="haproxy", action="throttle", target="client:Mobile", params={"requests_per_second": 20})
GLOBAL = Step(actuator="haproxy", action="throttle_all", target="global", params={"requests_per_second": 30})
WEIGHT = Step(actuator="haproxy", action="weight", target="be_checkout/checkout-2", params={"weight": 10})
MAINT = Step(actuator="haproxy", action="maint", target="be_checkout/checkout-2")
SHED = Step(actuator="haproxy", action="shed", target="global", params={"per_mille": 300})
SWITCH = Step(actuator="haproxy", action="switch", target="route:shop", params={"backend": GREEN})


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[TrialProxy]:
    with TrialProxy(tmp_path) as running:
        yield running


@pytest.fixture
def actuator(proxy: TrialProxy) -> HAProxyActuator:
    return HAProxyActuator(
        socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file, timeout=timedelta(seconds=5)
    )


def _served(proxy: TrialProxy, requests: int = 30) -> Counter[str]:
    return Counter(proxy.get()[1] for _ in range(requests))


def _admitted(proxy: TrialProxy, client: str, seconds: float = 3.0, offered_per_second: int = 100) -> tuple[int, int]:
    answers, _ = _offer(proxy, client, seconds, offered_per_second)
    return answers[200], answers[429]


def _offer(proxy: TrialProxy, client: str, seconds: float, offered_per_second: int) -> tuple[Counter[int], float]:
    """What was answered, and the seconds that it took: more than asked for on a busy machine."""
    start, answers = time.monotonic(), Counter[int]()
    for number in range(int(seconds * offered_per_second)):
        time.sleep(max(0.0, start + number / offered_per_second - time.monotonic()))
        answers[proxy.get(client)[0]] += 1
    return answers, time.monotonic() - start


def test_an_isolated_server_gets_no_more_requests_and_the_undo_returns_them(
    proxy: TrialProxy, actuator: HAProxyActuator
) -> None:
    before = actuator.read_state(ISOLATE)
    assert before == {"admin_state": "ready", "weight": "100"}
    actuator.apply(ISOLATE)
    assert actuator.verify(ISOLATE)
    assert set(_served(proxy)) == {"checkout-1", "checkout-3"}
    actuator.undo(ISOLATE, before)
    assert actuator.verify_undone(ISOLATE, before) and not actuator.verify(ISOLATE)
    assert set(_served(proxy)) == {"checkout-1", "checkout-2", "checkout-3"}


def test_undo_leaves_a_server_in_maintenance_that_was_in_maintenance(actuator: HAProxyActuator) -> None:
    actuator._client.order("set", "server", ISOLATE.target, "state", "maint")
    before = actuator.read_state(ISOLATE)
    actuator.apply(ISOLATE)
    actuator.undo(ISOLATE, before)
    assert actuator.read_state(ISOLATE)["admin_state"] == "maint"


def test_capacity_tells_what_serves(actuator: HAProxyActuator) -> None:
    targets = [f"be_checkout/checkout-{n}" for n in (1, 2, 3)]
    actuator.apply(ISOLATE)
    actuator.apply(Step(actuator="haproxy", action="weight", target=targets[2], params={"weight": 25}))
    assert actuator.capacity(targets) == {targets[0]: 1.0, targets[1]: 0.0, targets[2]: 0.25}


def test_weight_shifts_traffic_and_goes_back(proxy: TrialProxy, actuator: HAProxyActuator) -> None:
    before = actuator.read_state(WEIGHT)
    actuator.apply(WEIGHT)
    assert actuator.verify(WEIGHT)
    assert _served(proxy, 210)["checkout-2"] <= 12  # 10 of 210
    actuator.undo(WEIGHT, before)
    assert actuator.verify_undone(WEIGHT, before)


def test_a_throttled_client_is_admitted_at_about_its_limit_and_others_are_untouched(
    proxy: TrialProxy, actuator: HAProxyActuator
) -> None:
    before = actuator.read_state(THROTTLE)
    actuator.apply(THROTTLE)
    assert before == {} and actuator.verify(THROTTLE)
    answers, seconds = _offer(proxy, "mobile", 3.0, 100)
    # 20/s, and one second's burst; a naive limiter admits 20 in all
    assert 45 <= answers[200] <= 20 * seconds + 30, (answers, seconds)
    assert _admitted(proxy, "web", seconds=0.5)[1] == 0
    actuator.undo(THROTTLE, before)
    assert actuator.verify_undone(THROTTLE, before)
    assert _admitted(proxy, "mobile", seconds=0.5)[1] == 0


def test_undo_restores_the_limit_that_was_there_before(actuator: HAProxyActuator) -> None:
    first = Step(actuator="haproxy", action="throttle", target="client:mobile", params={"requests_per_second": 77})
    actuator.apply(first)
    before = actuator.read_state(THROTTLE)
    actuator.apply(THROTTLE)
    actuator.undo(THROTTLE, before)
    assert actuator.read_state(THROTTLE) == {"value": "77"}


def test_throttling_everything_sets_the_knob_and_puts_it_back(proxy: TrialProxy, actuator: HAProxyActuator) -> None:
    before = actuator.read_state(GLOBAL)
    actuator.apply(GLOBAL)
    assert actuator.verify(GLOBAL)
    assert _admitted(proxy, "web", seconds=1.0)[1] > 0
    actuator.undo(GLOBAL, before)
    assert actuator.verify_undone(GLOBAL, before)
    assert (proxy.maps / "knobs.map").read_text() == "# knob value\nglobal_rps 1000000\n"


def test_a_reload_keeps_drain_and_limits_and_also_their_undo(proxy: TrialProxy, actuator: HAProxyActuator) -> None:
    befores = [(step, actuator.read_state(step)) for step in (ISOLATE, THROTTLE)]
    for step, _ in befores:
        actuator.apply(step)
    proxy.reload()
    assert actuator.verify(ISOLATE) and actuator.verify(THROTTLE)
    assert set(_served(proxy)) == {"checkout-1", "checkout-3"}
    for step, before in befores:
        actuator.undo(step, before)
    proxy.reload()
    assert all(actuator.verify_undone(step, before) for step, before in befores)
    assert set(_served(proxy)) == {"checkout-1", "checkout-2", "checkout-3"}


def test_everything_is_idempotent(actuator: HAProxyActuator) -> None:
    for step in (ISOLATE, MAINT, WEIGHT, THROTTLE, GLOBAL, SHED, SWITCH):
        before = actuator.read_state(step)
        for _ in range(2):
            actuator.apply(step)
            assert actuator.verify(step)
        for _ in range(2):
            actuator.undo(step, before)
            assert actuator.verify_undone(step, before)


def test_an_unknown_server_is_an_error_that_names_the_nearest(actuator: HAProxyActuator) -> None:
    step = Step(actuator="haproxy", action="isolate", target="be_checkout/chekout-2")
    for call in (actuator.read_state, actuator.apply, actuator.verify):
        with pytest.raises(
            InvalidInput, match=r"no server 'be_checkout/chekout-2'; did you mean 'be_checkout/checkout-2'"
        ):
            call(step)


@pytest.mark.parametrize("name", ["a b", "a;disable server be_checkout/checkout-1", "a\nshutdown", "", "#1", "x" * 65])
def test_a_client_name_cannot_carry_another_command(actuator: HAProxyActuator, name: str) -> None:
    step = Step(actuator="haproxy", action="throttle", target=f"client:{name}", params={"requests_per_second": 5})
    with pytest.raises(InvalidInput):
        actuator.apply(step)
    assert actuator.capacity(["be_checkout/checkout-1"]) == {"be_checkout/checkout-1": 1.0}


@pytest.mark.parametrize("rate", [0, -1, "ten", 2.5, None])
def test_a_rate_that_is_no_positive_whole_number_is_refused(actuator: HAProxyActuator, rate: object) -> None:
    params = {} if rate is None else {"requests_per_second": rate}
    with pytest.raises(InvalidInput, match="requests_per_second"):
        actuator.apply(Step(actuator="haproxy", action="throttle", target="client:web", params=params))


def test_a_haproxy_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nothing.sock"), "127.0.0.1:1"):
        actuator = HAProxyActuator(socket=address, maps=None, state_file=None, timeout=timedelta(seconds=1))
        with pytest.raises(Unavailable, match="does not answer"):
            actuator.read_state(ISOLATE)


def test_every_action_has_a_sentence_for_operators(actuator: HAProxyActuator) -> None:
    expected = {"isolate", "maint", "weight", "throttle", "throttle_all", "shed", "switch", "adaptive"}
    assert set(actuator.actions()) == expected
    assert all(len(text) > 20 for text in actuator.actions().values())


def test_haproxy_itself_bears_witness_against_a_client_that_it_admits_too_often(
    proxy: TrialProxy, actuator: HAProxyActuator
) -> None:
    assert actuator.witness(THROTTLE) == "", "nothing was seen of the client"
    _admitted(proxy, "Mobile", seconds=0.2, offered_per_second=50)
    assert actuator.witness(THROTTLE) == "", "ten a second are below the limit"
    _admitted(proxy, "Mobile", seconds=1.5, offered_per_second=100)
    assert "of mobile, the limit would be 20" in actuator.witness(THROTTLE)


def test_haproxy_itself_bears_witness_against_a_server_that_its_checks_find_down(
    proxy: TrialProxy, actuator: HAProxyActuator
) -> None:
    assert actuator.witness(ISOLATE) == ""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(proxy.socket)
        admin.sendall(b"set server be_checkout/checkout-2 health down\n")
        admin.recv(1000)
    assert actuator.witness(ISOLATE) == "HAProxy's own checks find be_checkout/checkout-2 down"


def test_shedding_answers_about_its_share_with_503_and_none_after_the_undo(
    proxy: TrialProxy, actuator: HAProxyActuator
) -> None:
    before = actuator.read_state(SHED)
    actuator.apply(SHED)
    assert actuator.verify(SHED)
    shed = sum(proxy.get()[0] == 503 for _ in range(300))
    assert 60 <= shed <= 120, shed  # 300 of 1000; six standard deviations are 47
    actuator.undo(SHED, before)
    assert actuator.verify_undone(SHED, before)
    assert all(proxy.get()[0] == 200 for _ in range(50))


def test_a_switch_moves_a_route_to_the_other_backend_and_back(proxy: TrialProxy, actuator: HAProxyActuator) -> None:
    before = actuator.read_state(SWITCH)
    assert before == {"value": "be_checkout"}
    actuator.apply(SWITCH)
    assert actuator.verify(SWITCH) and set(_served(proxy, 10)) == {"green-1"}
    actuator.undo(SWITCH, before)
    assert actuator.verify_undone(SWITCH, before) and set(_served(proxy)) == set(SERVERS)


@pytest.mark.parametrize(
    ("backend", "error", "says"),
    [
        ("be_gren", InvalidInput, "no backend 'be_gren'; it has be_checkout, be_empty, be_green"),
        ("be_empty", Refused, "be_empty has 1 servers and none takes requests"),
    ],
)
def test_a_route_is_never_switched_to_a_backend_that_would_not_serve_it(
    proxy: TrialProxy, actuator: HAProxyActuator, backend: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        actuator.apply(replace(SWITCH, params={"backend": backend}))
    assert set(_served(proxy)) == set(SERVERS)


def test_a_reload_keeps_everything_that_is_in_force_and_its_undo(proxy: TrialProxy, actuator: HAProxyActuator) -> None:
    steps = (replace(MAINT, target="be_checkout/checkout-1"), WEIGHT, THROTTLE, GLOBAL, SHED, SWITCH)
    befores = [(step, actuator.read_state(step)) for step in steps]
    for step in steps:
        actuator.apply(step)
    proxy.reload()
    assert [step.action for step in steps if not actuator.verify(step)] == []
    for step, before in befores:
        actuator.undo(step, before)
    proxy.reload()
    assert [step.action for step, before in befores if not actuator.verify_undone(step, before)] == []


def test_the_command_that_kills_haproxy_is_never_sent(actuator: HAProxyActuator) -> None:
    """`set maxconn frontend` on a full frontend makes the watchdog kill HAProxy 2.6 (haproxy/haproxy#2726)."""
    with pytest.raises(InvalidInput, match="never sent"):
        actuator._client.ask("set", "maxconn", "frontend", "fe", "100")
