"""A bisection: which commit flips a check from good to bad, tried in a place of its own, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

BISECTION = "bisection"  # the kind of document that keeps one
_SKIP, _TIMED_OUT, _NOT_RUNNABLE, _SIGNALLED = 125, 124, (126, 127), 128


class TrialVerdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"  # this commit says nothing: it cannot be started, or took too long


class Outcome(StrEnum):
    CONFIRMED = "confirmed"  # one commit is bad, and the one before it is good
    NOT_SHOWN = "not shown"  # the check is good where users had trouble: it cannot see this incident
    OLDER = "older"  # the check is bad as far back as was looked
    UNCLEAR = "unclear"  # skipped commits, contradictory answers, or too many trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One commit, tried once. `said` is what the check or the validator wrote, cut short."""

    commit: str
    verdict: TrialVerdict
    seconds: float
    said: str = ""

    @property
    def words(self) -> str:
        return f"{self.commit[:12]} is {self.verdict} ({self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """`commit` is the one that flips the check, None where none was found; `life` counts the incident's reopenings:
    what was found about an earlier trouble says nothing of the next one."""

    incident: str
    service: str
    outcome: Outcome
    reason: str
    commit: str | None
    trials: tuple[Trial, ...]
    check: str  # the command, as configured
    at: datetime
    life: int = 0

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)


def trial_verdict(code: int) -> TrialVerdict | None:
    """What an exit code says, as for `git bisect run`: 0 good, 125 skip, others up to 123 bad; None: it cannot be run.

    A check that was killed, or that ran too long (124, as `timeout` ends it), has said nothing.

    >>> [str(trial_verdict(code)) for code in (0, 1, 124, 125, 127, 137, -9)]
    ['good', 'bad', 'skip', 'skip', 'None', 'skip', 'skip']
    """
    if code in _NOT_RUNNABLE:
        return None
    if code in (_SKIP, _TIMED_OUT) or code < 0 or code >= _SIGNALLED:
        return TrialVerdict.SKIP
    return TrialVerdict.BAD if code else TrialVerdict.GOOD


def flip_in_words(bad: Trial, good: Trial) -> str:
    said = f": {bad.said}" if bad.said else ""
    return f"the check is bad at {bad.commit[:12]}{said}; it is good at {good.commit[:12]}, the commit before"


def trials_in_words(trials: Sequence[Trial]) -> str:
    return "; ".join(trial.words for trial in trials)
