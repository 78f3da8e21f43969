"""Evidence: which independent kinds of it speak for a plan; two are needed before Quell acts by itself."""

from collections.abc import Collection
from enum import StrEnum


class EvidenceKind(StrEnum):
    """Kinds are independent where one can be wrong without the others: two alerts of one rule are one kind."""

    RULE = "an alert rule"
    BASELINE = "a baseline's verdict"
    REPORTS = "users' reports"
    CHANGE = "a change that the first suspect is accused of"
    SIGNAL = "the users' signal, outside its limit now"
    LEVER = "what the lever itself sees"


_SWEEP, _REPORT = "sweep", "report"


def kinds_of(
    sources: Collection[str],
    *,
    reports: int = 0,
    accused_change: str | None = None,
) -> tuple[EvidenceKind, ...]:
    """The kinds in the record that speak for a plan.

    `sources` are who raised the incident's firing alerts, `reports` how many of users belong to it.

    >>> kinds_of({"alertmanager", "sweep"})
    (<EvidenceKind.RULE: 'an alert rule'>, <EvidenceKind.BASELINE: "a baseline's verdict">)
    """
    speaks = {
        EvidenceKind.RULE: bool(set(sources) - {_SWEEP, _REPORT}),
        EvidenceKind.BASELINE: _SWEEP in sources,
        EvidenceKind.REPORTS: _REPORT in sources or reports > 0,
        EvidenceKind.CHANGE: accused_change is not None,
    }
    return tuple(kind for kind, does in speaks.items() if does)


def doubt_of(kinds: Collection[EvidenceKind], needed: int) -> str:
    """Why a person must be asked; empty where the evidence is enough."""
    if len(kinds) >= needed:
        return ""
    said = " and ".join(kinds) or "nothing"
    return f"only {said} speaks for it, and {needed} independent kinds of evidence are needed to act without a person"
