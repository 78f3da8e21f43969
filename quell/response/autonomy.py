"""Autonomy: how far Quell may go by itself with a playbook; the last rung is earned by what was measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from quell.incidents.mitigation import Mitigation
from quell.incidents.outcome import successes_since_failure


class Level(StrEnum):
    """The rungs, from the lowest."""

    OBSERVE = "observe"  # what would be done stands on the timeline
    SUGGEST = "suggest"  # and people are shown how to do it
    APPROVE = "approve"  # a person is asked each time
    AUTOMATIC = "automatic"  # the playbook's approval policy decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Autonomy:
    """`level` is the most that the playbook may do, `environments` says otherwise for some.

    Before it acts by itself on a kind of alert it must have been effective `successes` times on that kind, with a
    person's approval, since it last failed. 0 trusts it from the start; after a failure one success is needed all the
    same.
    """

    level: Level = Level.AUTOMATIC
    environments: Mapping[str, Level] = field(default_factory=dict[str, Level])
    successes: int = 3

    def in_environment(self, environment: str) -> Level:
        return self.environments.get(environment, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The rung on which a playbook stands for one kind of alert, and why."""

    level: Level
    reason: str
    successes: int  # since the last failure
    failure: str = ""  # the last one's id


def standing_of(autonomy: Autonomy, environment: str, past: Iterable[Mitigation]) -> Standing:
    """`past` are the playbook's mitigations of one kind of alert, the newest first."""
    successes, failure = successes_since_failure(past)
    allowed = autonomy.in_environment(environment)
    needed = max(autonomy.successes, 1) if failure else autonomy.successes
    if allowed is not Level.AUTOMATIC:
        where = f" in {environment}" if environment in autonomy.environments else ""
        return Standing(level=allowed, reason=f"its autonomy{where} is {allowed}", successes=successes, failure=failure)
    if not needed:
        return Standing(level=allowed, reason="it is trusted from the start", successes=successes)
    if successes >= needed:
        reason = f"it was effective {successes} times on this kind of alert, {needed} are needed"
        return Standing(level=allowed, reason=reason, successes=successes, failure=failure)
    since = f" since {failure} failed" if failure else ""
    reason = f"it was effective {successes} of the {needed} times that it needs on this kind of alert{since}"
    return Standing(level=Level.APPROVE, reason=reason, successes=successes, failure=failure)
