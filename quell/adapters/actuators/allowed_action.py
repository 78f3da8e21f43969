"""An action that the configuration allows: its sentence, and what its target and its parameters must look like."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any

import re2  # pyright: ignore[reportMissingTypeStubs]
from pydantic import AfterValidator, Field

from quell.config.problem import did_you_mean
from quell.config.schema import Model, Text
from quell.config.value import wrong
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step

_engine: Any = re2  # it comes without types
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z0-9_.-]+)\}")
_LONGEST = 1000  # characters of one value


def _pattern(text: str) -> str:
    try:
        _compiled(text)
    except _engine.error as error:
        why = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise wrong(f'"{text}" is not a regular expression of RE2: {why}') from error
    return text


Pattern = Annotated[Text, AfterValidator(_pattern)]
ParameterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
ActionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class AllowedAction(Model):
    """Patterns are RE2's and must match the whole value."""

    description: Text
    target: Pattern
    params: dict[ParameterName, Pattern] = Field(default={})


class AllowedActions:
    """The part of an actuator that follows from the actions of its settings. It serves nobody and sees nothing."""

    def __init__(self, name: str, actions: Mapping[str, AllowedAction]) -> None:
        self.name = name
        self._actions = actions

    def actions(self) -> Mapping[str, str]:
        return {name: action.description for name, action in self._actions.items()}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {name: tuple(action.params) for name, action in self._actions.items()}

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:  # noqa: ARG002 - the actuators' signature
        return {}

    def witness(self, step: Step) -> str:  # noqa: ARG002 - the actuators' signature
        return ""


def find_action(step: Step, actions: Mapping[str, AllowedAction], actuator: str) -> AllowedAction:
    """The step's action. Raises InvalidInput with the nearest name."""
    found = actions.get(step.action)
    if found is None:
        hint = did_you_mean(step.action, actions)
        raise InvalidInput(f"{actuator} has no action {step.action!r}; it has {', '.join(actions)}{hint}")
    return found


def allowed_values(step: Step, action: AllowedAction) -> Mapping[str, str]:
    """Target and parameters as text. Raises InvalidInput for one that is missing, unknown or does not match."""
    unknown = [name for name in step.params if name not in action.params]
    if unknown:
        known = ", ".join(action.params) or "none"
        raise InvalidInput(
            f"{step.action} of {step.target!r} has no parameter {unknown[0]!r}; its parameters are {known}"
        )
    missing = [name for name in action.params if name not in step.params]
    if missing:
        raise InvalidInput(f"{step.action} of {step.target!r} needs the parameter {missing[0]!r}")
    _check(step, "target", step.target, action.target)
    for name, pattern in action.params.items():
        _check(step, name, str(step.params[name]), pattern)
    return {"target": step.target, **{name: str(step.params[name]) for name in action.params}}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each `{name}` once; what a value contains is not looked at again. `{{` and `}}` stand for one brace.

    >>> fill("{target}/{rate}/{{print}}", {"target": "{rate}", "rate": "5"})
    '{rate}/5/{print}'
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]) if found[1] else found[0][0], text)


def placeholders(text: str) -> list[str]:
    return [name for name in _PLACEHOLDER.findall(text) if name]


def tightest(timeout: timedelta, step: Step) -> timedelta:
    """What the actuator allows for one call, or the step where that is less."""
    return min(timeout, step.timeout)


def shorten(text: str, most: int = 300) -> str:
    """The end of a text, on one line: errors stand there."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"...{flat[-most:]}"


def _check(step: Step, name: str, value: str, pattern: str) -> None:
    if len(value) > _LONGEST or not value.isprintable():
        length = len(value)
        raise InvalidInput(f"{step.action}: {name} has {length} characters; at most {_LONGEST} may be, all printable")
    if _compiled(pattern).fullmatch(value) is None:
        raise InvalidInput(f"{step.action}: {name} is {value!r}, it must match {pattern}")


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> Any:
    options = _engine.Options()
    options.log_errors = False
    options.max_mem = 1 << 20  # bytes of one compiled expression
    return _engine.compile(pattern, options)
