"""The promises of an actuator, as checks that run on any actuator: ours, and those of others.

With pytest, in a package of your own:

    import pytest
    from quell.adapters.actuators.conformance import PROMISES, Promise, Trial

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_the_flags_actuator_keeps_its_promises(promise: Promise, flag_server: FlagServer) -> None:
        promise(Trial(actuator=..., step=..., unknown_target="no-such-flag", away=...))

Each check needs the target in a state in which the step is not in force; it leaves it so when it passes. A check that
fails raises PromiseBroken, which says what was promised, what was seen and what to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from quell.actuator import Actuator
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.mitigation import Step

_LONGEST = 300  # characters of one sentence


class PromiseBroken(AssertionError):
    """The actuator does not do what every actuator must; correct it before it touches production."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An actuator with one step to try on something real that may be broken.

    `away` is the same actuator connected to where nobody answers; None where there is nothing to connect to.
    `effects` tells what is to be seen outside, as anything that can be compared: how many silences there are, what a
    server has stored. With it the checks look past what the actuator says of itself.
    """

    actuator: Actuator
    step: Step
    unknown_target: str
    away: Actuator | None = None
    effects: Callable[[], object] | None = None


Promise = Callable[[Trial], None]


def names_its_actions_in_one_sentence_each(trial: Trial) -> None:
    """`actions` and `parameters` have the same keys; each action has one sentence that ends in a full stop."""
    actions, parameters = trial.actuator.actions(), trial.actuator.parameters()
    _require(trial.step.action in actions, f"actions() has no {trial.step.action!r}", "name every action there")
    _require(set(actions) == set(parameters), f"{set(actions) ^ set(parameters)} is in one only", "give both")
    for action, text in actions.items():
        _require_sentence(f"actions()[{action!r}]", text, must_end=True)


def describes_in_one_sentence_without_doing_it(trial: Trial) -> None:
    """`describe` and `describe_undo` are one line each and change nothing."""
    before = _seen(trial)
    _require_sentence("describe()", trial.actuator.describe(trial.step))
    _require_sentence("describe_undo()", trial.actuator.describe_undo(trial.step))
    _require_same("describe changed something", before, _seen(trial))
    _require(not trial.actuator.verify(trial.step), "verify() is true before apply()", "read the effect itself back")


def reads_the_same_state_twice(trial: Trial) -> None:
    """`read_state` is text, the same while nothing changes."""
    first, second = (trial.actuator.read_state(trial.step) for _ in range(2))
    _require_same("read_state() changes by itself", dict(first), dict(second))
    kinds = {type(part) for item in first.items() for part in item}
    _require(kinds <= {str}, f"read_state() is {first!r}", "give names and values as text")


def applying_twice_is_one_effect(trial: Trial) -> None:
    """After one `apply` the effect is in force, and a second one changes nothing more."""
    with_undo = _applied(trial)
    once = _seen(trial)
    trial.actuator.apply(trial.step)
    _require_same("the second apply() changed something", once, _seen(trial))
    _require(trial.actuator.verify(trial.step), "verify() is false after a second apply()", "make apply() idempotent")
    with_undo()


def undo_restores_the_state_before(trial: Trial) -> None:
    """`undo` puts back what `read_state` said before, and `verify_undone` tells it from the effect."""
    outside = _seen(trial)
    before = dict(trial.actuator.read_state(trial.step))
    trial.actuator.apply(trial.step)
    _require(
        not trial.actuator.verify_undone(trial.step, before),
        "verify_undone() is true while the effect is in force",
        "compare with the state before",
    )
    trial.actuator.undo(trial.step, before)
    _require_undone(trial, before)
    _require_same("something outside is not as it was before", outside, _seen(trial))


def undoing_twice_is_harmless(trial: Trial) -> None:
    """A second `undo` changes nothing and raises nothing: a process may die between the undo and its record."""
    before = dict(trial.actuator.read_state(trial.step))
    trial.actuator.apply(trial.step)
    for _ in range(2):
        trial.actuator.undo(trial.step, before)
        _require_undone(trial, before)


def undo_without_apply_is_harmless(trial: Trial) -> None:
    """The intent was recorded and the process died before `apply`: the undo is still called."""
    before = dict(trial.actuator.read_state(trial.step))
    trial.actuator.undo(trial.step, before)
    _require_undone(trial, before)


def an_unknown_target_is_invalid_input(trial: Trial) -> None:
    """`read_state` and `apply` raise InvalidInput for a target that does not exist, and nothing is changed."""
    step, before = replace(trial.step, target=trial.unknown_target, key="conformance/unknown"), _seen(trial)
    _require_raises(InvalidInput, "read_state() of an unknown target", lambda: trial.actuator.read_state(step))
    _require_raises(InvalidInput, "apply() to an unknown target", lambda: trial.actuator.apply(step))
    _require_same("a step on an unknown target changed something", before, _seen(trial))


def an_unknown_action_is_invalid_input(trial: Trial) -> None:
    """Every method that takes a step refuses an action that `actions` does not name."""
    step = replace(trial.step, action="no-such-action")
    _require_raises(InvalidInput, "describe() of an unknown action", lambda: trial.actuator.describe(step))
    _require_raises(InvalidInput, "read_state() of an unknown action", lambda: trial.actuator.read_state(step))
    _require_raises(InvalidInput, "apply() of an unknown action", lambda: trial.actuator.apply(step))


def a_missing_parameter_is_invalid_input(trial: Trial) -> None:
    """A step without a parameter that its action needs is refused before anything is changed."""
    before = _seen(trial)
    for name in trial.actuator.parameters()[trial.step.action]:
        rest = {key: value for key, value in trial.step.params.items() if key != name}
        step = replace(trial.step, params=rest)
        _require_raises(InvalidInput, f"describe() without {name}", lambda step=step: trial.actuator.describe(step))
        _require_raises(InvalidInput, f"apply() without {name}", lambda step=step: trial.actuator.apply(step))
    _require_same("a step that lacks a parameter changed something", before, _seen(trial))


def what_is_away_is_unavailable(trial: Trial) -> None:
    """Where nobody answers, everything that asks raises Unavailable: Quell tries again or hands it to a person."""
    if trial.away is None:
        return
    away, step, before = trial.away, trial.step, dict(trial.actuator.read_state(trial.step))
    calls: Mapping[str, Callable[[], object]] = {
        "read_state": lambda: away.read_state(step),
        "apply": lambda: away.apply(step),
        "verify": lambda: away.verify(step),
        "undo": lambda: away.undo(step, before),
        "verify_undone": lambda: away.verify_undone(step, before),
    }
    for name, call in calls.items():
        _require_raises(Unavailable, f"{name}() while nobody answers", call)


def capacity_is_a_share(trial: Trial) -> None:
    """`capacity` answers for what it was asked, with shares in 0..1; an actuator that serves nobody answers nothing."""
    _require(dict(trial.actuator.capacity([])) == {}, "capacity([]) is not empty", "answer only for what is asked")


PROMISES: Sequence[Promise] = (
    names_its_actions_in_one_sentence_each,
    describes_in_one_sentence_without_doing_it,
    reads_the_same_state_twice,
    applying_twice_is_one_effect,
    undo_restores_the_state_before,
    undoing_twice_is_harmless,
    undo_without_apply_is_harmless,
    an_unknown_target_is_invalid_input,
    an_unknown_action_is_invalid_input,
    a_missing_parameter_is_invalid_input,
    what_is_away_is_unavailable,
    capacity_is_a_share,
)


def _applied(trial: Trial) -> Callable[[], None]:
    """Apply and verify; returns what takes it back."""
    before = dict(trial.actuator.read_state(trial.step))
    trial.actuator.apply(trial.step)
    _require(trial.actuator.verify(trial.step), "verify() is false after apply()", "read the effect itself back")
    return lambda: trial.actuator.undo(trial.step, before)


def _seen(trial: Trial) -> object:
    return trial.effects() if trial.effects else dict(trial.actuator.read_state(trial.step))


def _require(holds: bool, seen: str, remedy: str) -> None:
    if not holds:
        raise PromiseBroken(f"{seen}: {remedy}")


def _require_same(what: str, before: object, after: object) -> None:
    _require(before == after, f"{what}, it was {before!r} and is {after!r}", "make it idempotent")


def _require_undone(trial: Trial, before: Mapping[str, str]) -> None:
    now = dict(trial.actuator.read_state(trial.step))
    _require(now == before, f"after undo() the state is {now!r}, before it was {before!r}", "put all of it back")
    _require(trial.actuator.verify_undone(trial.step, before), "verify_undone() is false after undo()", "read it back")
    _require(not trial.actuator.verify(trial.step), "verify() is true after undo()", "read the effect itself back")


def _require_sentence(what: str, text: str, *, must_end: bool = False) -> None:
    _require(0 < len(text) <= _LONGEST, f"{what} has {len(text)} characters", f"write one sentence, at most {_LONGEST}")
    _require("\n" not in text, f"{what} has more than one line", "write one sentence")
    _require(not must_end or text.endswith("."), f"{what} is {text!r}", "end it with a full stop")


def _require_raises(kind: type[Exception], what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise PromiseBroken(f"{what} raises {type(error).__name__} ({error}): raise {kind.__name__}") from error
    raise PromiseBroken(f"{what} raises nothing: raise {kind.__name__}")
