"""A silence: label sets that a person muted for a while, as in Alertmanager."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels
from quell.incidents.matcher import Matcher, matches_all

SilenceId = NewType("SilenceId", str)


class SilenceState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """`id` is ours (SIL-1) or the one under which Alertmanager gave it; `alertmanager` is its id there, if it has one.

    `settled_at` says when triage placed again what it had muted, after its end.
    """

    id: SilenceId
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    created_at: datetime
    updated_at: datetime
    alertmanager: str | None = None
    settled_at: datetime | None = None

    def state(self, now: datetime) -> SilenceState:
        """Its start is inside, its end is outside, as in Alertmanager."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def mutes(self, labels: Labels, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at and matches_all(self.matchers, labels)


def check_silence(silence: Silence) -> Silence:
    """Refuse what would mute everything or nothing, or names nobody. Raises InvalidInput.

    Source: Alertmanager's silence.go, validateSilence: at least one matcher refuses the empty value; a negative one
    counts as such.
    """
    if all(matcher.operator.is_equal and matcher.matches({}) for matcher in silence.matchers):
        raise InvalidInput(
            f"silence {silence.id} has no matcher that needs a value, so it would mute everything: "
            'name an alert, a service or an instance, as in service="checkout"'
        )
    if silence.ends_at <= silence.starts_at:
        raise InvalidInput(
            f"silence {silence.id} ends {silence.ends_at.isoformat()}, not after its start "
            f"{silence.starts_at.isoformat()}: give it a later end"
        )
    if not silence.created_by.strip() or not silence.comment.strip():
        raise InvalidInput(f"silence {silence.id} has no author or no comment: say who mutes, and why")
    return silence


def expire_silence(silence: Silence, now: datetime) -> Silence:
    """Ended now; one that has not begun never begins; one that has ended stays as it is."""
    if silence.state(now) is SilenceState.EXPIRED:
        return silence
    starts = min(silence.starts_at, now)
    return replace(silence, starts_at=starts, ends_at=now, updated_at=now, settled_at=None)
