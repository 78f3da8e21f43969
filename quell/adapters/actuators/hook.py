"""An HTTP hook as the lever: a service of the user's carries actions out; Quell tells it what, signed, and reads back.

`apply` and `undo` are POSTs with a JSON body, `state` is a GET whose answer is a flat JSON object. Every request is
signed like those that Quell receives (`quell.adapters.signature`); POSTs carry an `Idempotency-Key`, the same however
often one is tried. Nothing is tried twice here: whoever calls knows how long it may take.
"""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import Field, field_validator, model_validator

from quell.adapters.actuators.allowed_action import (
    ActionName,
    AllowedAction,
    AllowedActions,
    allowed_values,
    fill,
    find_action,
    placeholders,
    shorten,
    tightest,
)
from quell.adapters.actuators.plugins import read_settings
from quell.adapters.signature import sign
from quell.config.config import Config
from quell.config.schema import Model, Text
from quell.config.value import HttpUrl, PositiveDuration, Reference, is_reference, read_reference, wrong
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.mitigation import Step, idempotency_key

_MOST_BYTES = 64 * 1024  # of an answer
_PASSING = frozenset({408, 425, 429})  # answers that say: later
_LOCAL = ("localhost", "127.0.0.1", "::1")


class HookAction(AllowedAction):
    """`expect` is what `state` shows while the effect is in force; `{target}` and parameters are filled in."""

    expect: dict[Text, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _expects_what_it_knows(self) -> Self:
        for name in [n for text in self.expect.values() for n in placeholders(text)]:
            if name not in ("target", *self.params):
                known = ", ".join(("target", *self.params))
                raise wrong(f"expect names {{{name}}}, which is not defined (defined: {known})")
        return self


class HookSettings(Model):
    """Addresses may name `{action}` and `{target}` behind the host; what is filled in is percent-encoded."""

    apply: HttpUrl
    undo: HttpUrl
    state: HttpUrl
    secret: Reference
    timeout: PositiveDuration = timedelta(seconds=5)
    actions: dict[ActionName, HookAction] = Field(min_length=1)

    @field_validator("apply", "undo", "state")
    @classmethod
    def _fills_in_behind_the_host(cls, url: str) -> str:
        if placeholders(urlsplit(url).netloc):
            raise wrong(f'"{url}" has a placeholder in its host: a target must not decide who is asked')
        for name in placeholders(url):
            if name not in ("action", "target"):
                raise wrong(f"{{{name}}} is not defined in an address (defined: action, target)")
        return url


class HookActuator(AllowedActions):
    """Settings as in actuators.yaml; addresses and secret that are given by reference are read for each call."""

    def __init__(self, name: str, settings: HookSettings) -> None:
        super().__init__(name, settings.actions)
        self._settings = settings

    def describe(self, step: Step) -> str:
        action, _ = self._known(step)
        given = ", ".join(f"{name} {value}" for name, value in step.params.items())
        return f"ask the hook {self.name} to {step.action} {step.target}{f' ({given})' if given else ''}: " + (
            action.description.rstrip(".")
        )

    def describe_undo(self, step: Step) -> str:
        self._known(step)
        return f"ask the hook {self.name} to put {step.target} back to the state before {step.action}"

    def read_state(self, step: Step) -> Mapping[str, str]:
        """The hook's answer: names and values as text. A target that it does not know is 404, and InvalidInput here."""
        self._known(step)
        return _flat(self._send("GET", self._settings.state, step, b""), self.name)

    def apply(self, step: Step) -> None:
        self._post("apply", self._settings.apply, step, {})

    def verify(self, step: Step) -> bool:
        action, values = self._known(step)
        state = self.read_state(step)
        return all(state.get(name) == fill(wanted, values) for name, wanted in action.expect.items())

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._post("undo", self._settings.undo, step, {"state_before": dict(state_before)})

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        return dict(self.read_state(step)) == dict(state_before)

    def _known(self, step: Step) -> tuple[HookAction, Mapping[str, str]]:
        action = cast(HookAction, find_action(step, self._settings.actions, self.name))
        return action, allowed_values(step, action)

    def _post(self, operation: str, url: str, step: Step, more: Mapping[str, Any]) -> None:
        self._known(step)
        key = f"{idempotency_key(step)}:{operation}"
        body = {
            "operation": operation,
            "action": step.action,
            "target": step.target,
            "params": dict(step.params),
            "idempotency_key": key,
            **more,
        }
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        self._send("POST", url, step, json.dumps(body).encode(), headers)

    def _send(
        self, method: str, address: str, step: Step, body: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes:
        url = fill(_referred(address), {"action": quote(step.action, safe=""), "target": _encoded(step.target)})
        secret = read_reference(self._settings.secret).encode()
        stamp = str(int(time.time()))
        signed = {"X-Quell-Timestamp": stamp, "X-Quell-Signature": sign(secret, stamp.encode(), body)}
        seconds = tightest(self._settings.timeout, step).total_seconds()
        status, said = self._exchange(method, url, body, {**signed, **(headers or {})}, seconds)
        if status >= 500 or status in _PASSING:
            raise Unavailable(f"hook {self.name} answers {status} to {method}: {_words(said)}")
        if not 200 <= status < 300:
            what = f"{step.action} of {step.target!r}"
            raise InvalidInput(f"hook {self.name} refuses {what} ({method} answers {status}): {_words(said)}")
        return said

    def _exchange(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """Status and body. The limit holds for the whole exchange, also where the answer comes in drops."""
        limit = time.monotonic() + seconds
        no_proxy_to_ourselves = urlsplit(url).hostname not in _LOCAL
        try:
            with httpx.stream(
                method, url, content=body, headers=dict(headers), timeout=seconds, trust_env=no_proxy_to_ourselves
            ) as answer:
                said = b""
                for part in answer.iter_bytes():
                    said += part
                    if len(said) > _MOST_BYTES:
                        raise InvalidInput(f"hook {self.name} answers with more than {_MOST_BYTES} bytes: shorten it")
                    if time.monotonic() > limit:
                        raise Unavailable(f"hook {self.name} did not finish its answer within {seconds:g} s")
                return answer.status_code, said
        except httpx.TimeoutException as error:
            raise Unavailable(f"hook {self.name} did not answer within {seconds:g} s") from error
        except httpx.InvalidURL as error:
            raise InvalidInput(f"hook {self.name} has an address that is no URL: {error}") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"hook {self.name} cannot be reached: {type(error).__name__}: {error}") from error


def make_hook(name: str, settings: Mapping[str, Any], config: Config) -> HookActuator:  # noqa: ARG001
    """The factory behind the entry point `http`."""
    return HookActuator(name, read_settings(HookSettings, settings))


def _referred(address: str) -> str:
    return read_reference(address) if is_reference(address) else address


def _encoded(target: str) -> str:
    if target in (".", ".."):
        raise InvalidInput(f"target {target!r} would name another address")
    return quote(target, safe="")


def _words(said: bytes) -> str:
    return shorten(said.decode(errors="replace")) or "it said nothing"


def _flat(said: bytes, name: str) -> Mapping[str, str]:
    """A JSON object of text, numbers and true or false, as text; anything deeper could not be compared."""
    try:
        answer: object = json.loads(said)
    except ValueError as error:
        raise InvalidInput(f"hook {name} answers to GET with what is no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise InvalidInput(f"hook {name} answers to GET with {type(answer).__name__}, it must be a JSON object")
    return {str(key): _text(key, value, name) for key, value in cast(dict[object, object], answer).items()}


def _text(key: object, value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float):
        return json.dumps(value)
    raise InvalidInput(f"hook {name}: {key} of its state is {type(value).__name__}, it must be text or a number")
