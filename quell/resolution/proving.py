"""A guard is worth something when it fails on the bad file and passes on every good one; both are shown here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incidents.errors import InvalidInput
from quell.resolution.document import Document, Files
from quell.resolution.gate import check_document
from quell.resolution.guard import Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a guard is tried on. `around_bad` and `around_good` are the repository in the two states."""

    bad: Document
    around_bad: Files
    around_good: Files
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Both proofs. `said` is the first thing the guard says of the bad file; `wrong` is why it is no good."""

    said: str = ""
    passed: tuple[str, ...] = ()
    wrong: str = ""

    @property
    def is_proved(self) -> bool:
        return not self.wrong


def prove(guard: Guard, ground: Ground) -> Outcome:
    """Try the guard on the bad file and on all good files that it covers."""
    said = _first_finding(guard, ground.bad, ground.around_bad, ground.now)
    if not said:
        return Outcome(wrong=f"{guard.name} passes the bad file {ground.bad.name}")
    good = ground.around_good.matching(guard.files)
    failing = [d.name for d in good if _first_finding(guard, d, ground.around_good, ground.now)]
    if failing:
        return Outcome(said=said, wrong=f"{guard.name} fails on {', '.join(failing[:3])}")
    if not good:
        return Outcome(said=said, wrong=f"{guard.name} covers no good file: {guard.files} matches none")
    return Outcome(said=said, passed=tuple(document.name for document in good))


def first_proved(guards: Sequence[Guard], ground: Ground) -> tuple[Guard | None, Outcome]:
    """The first guard that is proved, or None and what the last one lacked."""
    outcome = Outcome(wrong="there is no candidate")
    for guard in guards:
        outcome = prove(guard, ground)
        if outcome.is_proved:
            return guard, outcome
    return None, outcome


def _first_finding(guard: Guard, document: Document, files: Files, now: datetime) -> str:
    """What the guard says first; a file that cannot be parsed is refused by the gate, so that is said."""
    try:
        found = check_document([guard], document, files, now)
    except InvalidInput as error:
        return str(error)
    return str(found[0]) if found else ""
