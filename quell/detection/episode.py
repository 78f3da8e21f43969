"""An episode: one stretch of trouble of one series, from its first bad sample until it has been normal for two sweeps.

Verdicts come and go with every sweep; alerts must not. An episode is announced once when it begins and once when it is
over, however many sweeps see it, and is kept until the inbox has taken both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.labels import Labels, fingerprint
from quell.incidents.verdict import Verdict, VerdictKind

CALM_SWEEPS = 2
SOURCE = "sweep"
# A series that was there less than this share of the past comes and goes; its absence wakes nobody.
USUALLY_THERE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict that deserves an alert: what it would say, and when the trouble began."""

    key: str
    labels: Labels
    annotations: Mapping[str, str]
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """`labels` and `starts_at` are fixed, so that the alert keeps its identity. `delivered`: the inbox has it."""

    key: str
    labels: Labels
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    starts_at: datetime
    ends_at: datetime | None = None
    troubled: int = 0
    calm: int = 0
    delivered: bool = False

    @property
    def is_over(self) -> bool:
        return self.ends_at is not None

    def as_delivered(self) -> "Episode":
        return replace(self, delivered=True)


def deserves_alert(verdict: Verdict) -> bool:
    """Whether somebody should hear of it: trouble, unless a series is missing that was mostly missing before."""
    if verdict.kind in (VerdictKind.NO_DATA, VerdictKind.STALE):
        return verdict.score >= USUALLY_THERE
    return verdict.kind.is_trouble


def begin_or_continue(known: Episode | None, finding: Finding) -> Episode:
    """The episode after one more sweep in trouble; one whose end nobody has heard of yet goes on."""
    if known is None:
        fresh = Episode(key=finding.key, labels=finding.labels, starts_at=finding.since)
        return replace(fresh, annotations=finding.annotations, troubled=1)
    return replace(
        known,
        annotations=known.annotations if known.delivered else finding.annotations,
        troubled=known.troubled + 1,
        calm=0,
        ends_at=None,
        delivered=known.delivered and not known.is_over,
    )


def rest(known: Episode, *, now: datetime, confirm_sweeps: int) -> Episode | None:
    """The episode after one calm sweep; None when it never became an alert, over when it was calm often enough."""
    if known.is_over:
        return known
    if known.troubled < confirm_sweeps:
        return None
    calm = known.calm + 1
    if calm < CALM_SWEEPS:
        return replace(known, calm=calm)
    return replace(known, calm=calm, ends_at=now, delivered=False)


def letters(episodes: Iterable[Episode], *, now: datetime, confirm_sweeps: int) -> list[InboxItem]:
    """What the inbox has not taken yet; the same episode always gives the same ids, so sending twice is harmless."""
    due = [e for e in episodes if not e.delivered and e.troubled >= confirm_sweeps]
    return [item for episode in due for item in _letters_of(episode, now)]


def _letters_of(episode: Episode, now: datetime) -> list[InboxItem]:
    """Its beginning, and its end if it is over: the beginning may have been lost, and a known id is skipped."""
    ends = {"endsAt": episode.ends_at.isoformat()} if episode.ends_at else {}
    start = episode.starts_at.isoformat()
    body = {"labels": dict(episode.labels), "annotations": dict(episode.annotations), "startsAt": start}
    return [
        InboxItem(
            id=f"{SOURCE}:{fingerprint(episode.labels)}:{start}:{status}",
            kind=InboxKind.ALERT,
            source=SOURCE,
            payload={**body, **end},
            received_at=now,
        )
        for status, end in (("firing", {}), ("resolved", ends))
        if status == "firing" or end
    ]


def to_body(episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """The open episodes as JSON holds them."""
    return {
        key: {
            "labels": dict(e.labels),
            "annotations": dict(e.annotations),
            "starts_at": e.starts_at.isoformat(),
            "ends_at": e.ends_at.isoformat() if e.ends_at else None,
            "troubled": e.troubled,
            "calm": e.calm,
            "delivered": e.delivered,
        }
        for key, e in episodes.items()
    }


def from_body(body: Mapping[str, Any]) -> dict[str, Episode]:
    return {
        key: Episode(
            key=key,
            labels=e["labels"],
            annotations=e["annotations"],
            starts_at=datetime.fromisoformat(e["starts_at"]),
            ends_at=datetime.fromisoformat(e["ends_at"]) if e["ends_at"] else None,
            troubled=e["troubled"],
            calm=e["calm"],
            delivered=e["delivered"],
        )
        for key, e in body.items()
    }
