"""The journal: written before each effect, so that whoever finds it later can finish or undo the work."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from quell.incidents.mitigation import Step

LEASE_TIME = timedelta(seconds=20)


class JournalState(StrEnum):
    INTENDED = "intended"  # written before the effect; the effect may or may not have happened
    DONE = "done"  # the effect was applied and verified
    FAILED = "failed"  # the actuator said no; the effect did not happen
    UNDO_INTENDED = "undo_intended"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """Intent, the state before, and through them the undo of one step of one mitigation.

    `id` is `MITIGATION/STEP`; it is the idempotency key of the effect.
    """

    id: str
    mitigation: str
    position: int
    step: Step
    state_before: Mapping[str, str]
    state: JournalState
    holder: str
    intended_at: datetime
    finished_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who works on something now. `token` rises with every new holder; an older token may no longer act.

    A lease lasts `LEASE_TIME` from each renewal. One that ends much later than that was written while a clock was
    wrong; it holds nobody off, and the token keeps its holder, should it live, from acting any more.
    """

    id: str
    holder: str
    token: int
    expires_at: datetime

    def is_held(self, now: datetime) -> bool:
        return now < self.expires_at <= now + 2 * LEASE_TIME
