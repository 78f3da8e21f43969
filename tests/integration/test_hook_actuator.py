"""The HTTP hook's own promises, beside those of every actuator: signed, keyed, bounded, and no secret in any text."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from quell.adapters.actuators.hook import HookActuator, make_hook
from quell.adapters.actuators.plugins import InvalidSettings
from quell.config.config import Config, Connections
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.mitigation import Step
from tests.hook_service import HookService, hook_service

pytestmark = pytest.mark.integration

SECRET = "only Quell and the hook know it"
STEP = Step(actuator="flags", action="disable", target="search", params={"share": 5}, key="MIT-7/1@20261123T120000Z")


def make(url: str, **more: Any) -> HookActuator:
    action = {
        "description": "Turns a feature off.",
        "target": "[a-z.-]+",
        "params": {"share": "[0-9]{1,3}"},
        "expect": {"enabled": "false", "share": "{share}"},
    }
    settings: dict[str, Any] = {
        "apply": f"{url}/hooks/apply",
        "undo": f"{url}/hooks/undo",
        "state": f"{url}/flags/{{target}}",
        "secret": "env:QUELL_TEST_HOOK_SECRET",
        "actions": {"disable": action},
    }
    config = Config(folder="", connections=Connections(store="", prometheus=""))  # type: ignore[arg-type]
    return make_hook("flags", {**settings, **more}, config)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[HookService]:
    monkeypatch.setenv("QUELL_TEST_HOOK_SECRET", SECRET)
    with hook_service(SECRET) as running:
        yield running


def test_the_body_says_what_to_do_and_the_undo_what_was_before(service: HookService) -> None:
    hook = make(service.url)
    before = hook.read_state(STEP)
    hook.apply(STEP)
    hook.undo(STEP, before)
    common = {"action": "disable", "target": "search", "params": {"share": 5}}
    assert service.bodies == [
        {"operation": "apply", **common, "idempotency_key": f"{STEP.key}:apply"},
        {
            "operation": "undo", **common, "idempotency_key": f"{STEP.key}:undo",
            "state_before": {"enabled": "true", "share": "100"},
        },
    ]  # fmt: skip


def test_a_hook_with_another_secret_refuses_and_the_text_holds_none(service: HookService) -> None:
    service.secret = "rotated"
    with pytest.raises(
        InvalidInput, match=r"refuses disable of 'search' \(POST answers 401\): the signature"
    ) as caught:
        make(service.url).apply(STEP)
    assert SECRET not in str(caught.value) and "rotated" not in str(caught.value)


def test_a_secret_that_is_not_there_is_named_and_nothing_is_sent(
    service: HookService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUELL_TEST_HOOK_SECRET")
    with pytest.raises(InvalidInput, match="QUELL_TEST_HOOK_SECRET is not set"):
        make(service.url).apply(STEP)
    assert service.bodies == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_pass_is_unavailable_and_not_tried_again_here(service: HookService, status: int) -> None:
    service.answer = (status, b"busy")
    with pytest.raises(Unavailable, match=f"answers {status} to POST: busy"):
        make(service.url).apply(STEP)


@pytest.mark.parametrize("status", [301, 400, 403, 409])
def test_what_will_not_pass_is_invalid_input_and_redirects_are_not_followed(service: HookService, status: int) -> None:
    service.answer = (status, b"x" * 5000)
    with pytest.raises(InvalidInput, match=f"answers {status}") as caught:
        make(service.url).apply(STEP)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"<html>", "what is no JSON"),
        (b"[1]", "with list, it must be a JSON object"),
        (b'{"a": {"b": 1}}', "a of its state is dict, it must be text or a number"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "more than 65536 bytes"),
    ],
)
def test_a_state_that_could_not_be_put_back_is_refused(service: HookService, answer: bytes, says: str) -> None:
    service.answer = (200, answer)
    with pytest.raises(InvalidInput, match=says):
        make(service.url).read_state(STEP)


def test_a_hook_that_hangs_is_given_up_after_its_timeout(service: HookService) -> None:
    service.hold = threading.Event()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        make(service.url, timeout="200ms").apply(STEP)
    service.hold.set()


def test_an_answer_in_drops_does_not_outlast_the_timeout(service: HookService) -> None:
    service.drip = True
    with pytest.raises(Unavailable, match=r"did not finish its answer within 0\.3 s"):
        make(service.url, timeout="300ms").read_state(STEP)


@pytest.mark.parametrize("target", ["..", "a b", "search\r\nX-Evil: 1", "", "x" * 2000, "search/../../admin"])
def test_a_target_that_does_not_match_never_leaves_the_house(service: HookService, target: str) -> None:
    with pytest.raises(InvalidInput):
        make(service.url).apply(Step(actuator="flags", action="disable", target=target, params={"share": 5}))
    with pytest.raises(InvalidInput):
        make(service.url).read_state(Step(actuator="flags", action="disable", target=target, params={"share": 5}))
    assert service.bodies == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"state": "http://{target}.example/"}, "placeholder in its host"),
        ({"state": "http://hook.example/{share}"}, "{share} is not defined in an address"),
        ({"secret": "hunter2"}, "holds a secret; write env:NAME"),
        ({"apply": "ftp://hook.example"}, "is not an HTTP address"),
        ({"timeout": "0s"}, "longer than 0s"),
        ({"actions": {}}, "at least 1 item"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_they_are_read(more: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSettings, match=says) as caught:
        make("http://hook.example", **more)
    assert "hunter2" not in str(caught.value)
