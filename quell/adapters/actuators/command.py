"""Commands as the lever: an allow-list of named commands, each a list of words, never a shell.

Each action has four: `state` prints `name=value` lines, `apply` and `undo` act, `verify` exits 0 while the effect is
in force and 1 while it is not. Placeholders stay inside their word, whatever their values contain, and values must
match the pattern that the configuration gives. Exit codes follow sysexits.h: 64, 65 and 67 say that the input is
wrong, 69 and 75 that trying again later may help.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, model_validator

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
from quell.adapters.commands import CommandResult, run_command
from quell.config.config import Config
from quell.config.schema import Model, Text
from quell.config.value import PositiveDuration, wrong
from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.mitigation import Step, idempotency_key

WRONG_INPUT = frozenset({64, 65, 67})  # EX_USAGE, EX_DATAERR, EX_NOUSER
TRY_LATER = frozenset({69, 75})  # EX_UNAVAILABLE, EX_TEMPFAIL
BEFORE = "before."  # in `undo`: {before.NAME} is what `state` printed for NAME
_MOST_STATE = 100  # lines
_LONGEST_VALUE = 1000  # characters

Words = Annotated[list[Text], Field(min_length=1)]


class CommandFailed(QuellError):
    """A command of an actuator failed; look at what it said, and run it by hand."""


class CommandAction(AllowedAction):
    state: Words
    apply: Words
    verify: Words
    undo: Words

    @model_validator(mode="after")
    def _names_only_what_it_knows(self) -> Self:
        known = ("target", "key", *self.params)
        for part in ("state", "apply", "verify", "undo"):
            words: list[str] = getattr(self, part)
            for name in placeholders(words[0]):
                raise wrong(f"{part} must name its program outright, its first word holds {{{name}}}")
            for name in [name for word in words for name in placeholders(word)]:
                if name not in known and not (part == "undo" and name.startswith(BEFORE)):
                    also = f", {BEFORE}NAME" if part == "undo" else ""
                    raise wrong(f"{part} names {{{name}}}, which is not defined (defined: {', '.join(known)}{also})")
        return self


class CommandSettings(Model):
    folder: Path = Path()
    timeout: PositiveDuration = timedelta(seconds=30)
    actions: dict[ActionName, CommandAction] = Field(min_length=1)


class CommandActuator(AllowedActions):
    """Settings as in actuators.yaml. The step's key is the environment variable QUELL_IDEMPOTENCY_KEY and `{key}`."""

    def __init__(self, name: str, settings: CommandSettings) -> None:
        super().__init__(name, settings.actions)
        self._settings = settings

    def describe(self, step: Step) -> str:
        action = self._known(step)
        return f"run `{' '.join(_filled(action.apply, step, action))}`: {action.description.rstrip('.')}"

    def describe_undo(self, step: Step) -> str:
        action = self._known(step)
        return f"run {action.undo[0]} to put {step.target} back to the state before {step.action}"

    def read_state(self, step: Step) -> Mapping[str, str]:
        """What the command printed, as `name=value` lines. An undo that could not be filled in is found out here."""
        action = self._known(step)
        state = _state(self._succeed("state", step, {}).stdout, action.state[0])
        _filled(action.undo, step, action, _before(state))
        return state

    def apply(self, step: Step) -> None:
        self._succeed("apply", step, {})

    def verify(self, step: Step) -> bool:
        result = self._run("verify", step, {})
        if result.code not in (0, 1):
            raise _failed(result, step)
        return result.is_ok

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._succeed("undo", step, _before(state_before))

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        return dict(self.read_state(step)) == dict(state_before)

    def _known(self, step: Step) -> CommandAction:
        return cast(CommandAction, find_action(step, self._settings.actions, self.name))

    def _succeed(self, part: str, step: Step, before: Mapping[str, str]) -> CommandResult:
        result = self._run(part, step, before)
        if not result.is_ok:
            raise _failed(result, step)
        return result

    def _run(self, part: str, step: Step, before: Mapping[str, str]) -> CommandResult:
        action = self._known(step)
        words: list[str] = getattr(action, part)
        return run_command(
            _filled(words, step, action, before),
            cwd=self._settings.folder,
            timeout=tightest(self._settings.timeout, step),
            env={"QUELL_IDEMPOTENCY_KEY": idempotency_key(step)},
        )


def make_command(name: str, settings: Mapping[str, Any], config: Config) -> CommandActuator:  # noqa: ARG001
    """The factory behind the entry point `command`."""
    return CommandActuator(name, read_settings(CommandSettings, settings))


def _filled(
    words: Sequence[str], step: Step, action: CommandAction, before: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The words with values in their places. A value may not turn a word into an option of the program."""
    values = {**allowed_values(step, action), "key": idempotency_key(step), **(before or {})}
    filled = tuple(fill(word, values) for word in words)
    for word, now in zip(words, filled, strict=True):
        if now.startswith("-") and not word.startswith("-"):
            raise InvalidInput(f"{step.action}: {word} becomes {now!r}, which {words[0]} would read as an option")
        left = [name for name in placeholders(word) if name not in values]
        if left:
            needed = left[0].removeprefix(BEFORE)
            raise InvalidInput(f"{step.action}: the state has no {needed!r}, and {words[0]} needs it for the undo")
    return filled


def _before(state: Mapping[str, str]) -> Mapping[str, str]:
    return {BEFORE + name: value for name, value in state.items()}


def _state(printed: str, program: str) -> Mapping[str, str]:
    lines = [line for line in printed.splitlines() if line.strip()]
    if len(lines) > _MOST_STATE:
        raise InvalidInput(f"{program} printed {len(lines)} lines of state, at most {_MOST_STATE} are kept: print less")
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or len(value) > _LONGEST_VALUE or not value.isprintable():
            raise InvalidInput(
                f"{program} printed {shorten(line, 80)!r}; state is lines of name=value, with at most {_LONGEST_VALUE} "
                "printable characters each"
            )
        found[name.strip()] = value.strip()
    return found


def _failed(result: CommandResult, step: Step) -> QuellError:
    said = shorten(result.said) or "it said nothing"
    text = f"{result.command[0]} exits {result.code} on {step.action} of {step.target!r}: {said}"
    if result.code in WRONG_INPUT:
        return InvalidInput(text)
    if result.code in TRY_LATER:
        return Unavailable(text)
    return CommandFailed(text)
