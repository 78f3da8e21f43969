"""What the inside needs from a lever: the protocol that actuators implement, and what some of them offer beside."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from quell.incidents.mitigation import Step
from quell.incidents.served import ServedRequest


class Actuator(Protocol):
    """One kind of lever. Every method is idempotent; a target is known or InvalidInput is raised.

    What cannot be reached now raises Unavailable.
    """

    @property
    def name(self) -> str: ...

    def actions(self) -> Mapping[str, str]:
        """action -> one sentence for operators."""
        ...

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """action -> the parameters that each of its steps must give; the same actions as `actions`."""
        ...

    def describe(self, step: Step) -> str:
        """What would happen, in one sentence."""
        ...

    def describe_undo(self, step: Step) -> str: ...

    def read_state(self, step: Step) -> Mapping[str, str]:
        """What `undo` needs to put back; also evidence."""
        ...

    def apply(self, step: Step) -> None: ...

    def verify(self, step: Step) -> bool:
        """Whether the effect is in force now, read back from the outside."""
        ...

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None: ...

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool: ...

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
        """target -> share of its full weight that serves now (0 = drained or down, 1 = fully up)."""
        ...

    def witness(self, step: Step) -> str:
        """What the actuator itself sees now that speaks for the step, in one sentence; empty when it sees nothing."""
        ...


@runtime_checkable
class ResolvingActuator(Protocol):
    """What an actuator may have beside: to say in a plan exactly what a step would do."""

    def resolve(self, step: Step) -> Step:
        """The step with words like `previous` replaced by what they mean now. Raises InvalidInput."""
        ...


@runtime_checkable
class RequestLog(Protocol):
    """What an actuator may have beside: to show the single requests that went through it lately."""

    def served(self, log: str) -> Sequence[ServedRequest]:
        """What its log of this name holds now, oldest first. Raises InvalidInput when there is no such log."""
        ...


@runtime_checkable
class RequestCounts(Protocol):
    """What an actuator may have beside: to count what went through it, without a metric server between."""

    def counted(self, names: Sequence[str]) -> Mapping[str, int]:
        """How many requests each `backend/server`, or each backend as a whole, answered since some start."""
        ...


@runtime_checkable
class RunningRequests(Protocol):
    """What an actuator may have beside: to say what is still being answered."""

    def running(self, names: Sequence[str]) -> Mapping[str, int]:
        """How many requests each target is answering at this moment."""
        ...


@runtime_checkable
class GradualActuator(Protocol):
    """What an actuator may have beside: to put some of its steps back a little at a time."""

    def can_ease(self, step: Step) -> bool: ...

    def ease(self, step: Step, state_before: Mapping[str, str], share: float) -> None:
        """Give the target this share (0..1) of what it had before; `apply` takes it back, `undo` gives the rest."""
        ...

    def answered(self, step: Step) -> tuple[int, int]:
        """How many requests the target answered since some start, and how many of them with an error."""
        ...
