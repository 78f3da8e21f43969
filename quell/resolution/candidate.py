"""A candidate: a linked change whose commit may have caused the incident, ranked with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident

_CLOCK_SKEW = timedelta(seconds=30)  # a pipeline's clock, and the time from a reload to its first report
_SHORTEST = 7  # hex digits that git takes for a commit's name
_CLEAR_LEAD = 1.0  # what being on the first suspect is worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`score` only orders candidates of one incident."""

    change: Change
    commit: str
    score: float
    reason: str


def rank_candidates(incident: Incident, changes: Sequence[Change]) -> tuple[Candidate, ...]:
    """The linked changes that name a commit, likeliest first.

    What counts, in this order: triage named the change itself, the change is on a suspect (earlier suspects more),
    it is on the incident's service, it came shortly before the onset. A change after the onset cannot be the cause.
    """
    candidates = [_weigh(incident, change) for change in changes if change.commit]
    known = [candidate for candidate in candidates if candidate is not None]
    return tuple(sorted(known, key=lambda c: (-c.score, -c.change.at.timestamp(), c.change.id)))


def confirmed_first(ranked: Sequence[Candidate], commit: str, reason: str) -> tuple[Candidate, ...]:
    """The ranking with the candidates of a confirmed commit first; a change may name its commit by its first digits."""
    is_it = [len(one.commit) >= _SHORTEST and commit.startswith(one.commit) for one in ranked]
    first = [replace(one, reason=f"{reason}; {one.reason}") for one, it in zip(ranked, is_it, strict=True) if it]
    return (*first, *(one for one, it in zip(ranked, is_it, strict=True) if not it))


def is_doubtful(ranked: Sequence[Candidate]) -> bool:
    """Whether a confirmation would tell something: there is no candidate, or the second is nearly as likely."""
    return not ranked or (len(ranked) > 1 and ranked[0].score - ranked[1].score < _CLEAR_LEAD)


def _weigh(incident: Incident, change: Change) -> Candidate | None:
    age = incident.trouble_at - change.at
    if change.commit is None or age < -_CLOCK_SKEW:
        return None
    score, reasons = 0.0, list[str]()
    for place, suspect in enumerate(incident.suspects):
        named = suspect.change == change.id
        if named or suspect.node in (change.instance, change.service):
            score += (2.0 if named else 1.0) / (1 + place)
            reasons.append(f"{suspect.node} is suspect number {place + 1}" + (", by this change" if named else ""))
            break
    if change.service == incident.service:
        score += 0.5
        reasons.append(f"it is on {change.service}, where the trouble is")
    if change.kind is ChangeKind.CONFIG:
        score += 0.25
    minutes = max(age.total_seconds(), 0.0) / 60
    score += 1 / (1 + minutes / 5)
    seconds = age.total_seconds()
    reasons.append(
        f"made {seconds:.0f} s before the onset" if seconds >= 0 else f"made {-seconds:.0f} s after the onset"
    )
    return Candidate(change=change, commit=change.commit, score=score, reason="; ".join(reasons))
