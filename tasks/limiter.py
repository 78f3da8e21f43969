"""The limiter: the load balancer that holds clients to standing limits, and which map the record wants in force."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from quell.incidents.errors import NotFound, QuellError, Refused, Unavailable
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.ports import Document, Transaction
from quell.response.traffic import Counted
from tasks.resources import Resources

SUBJECT = "clients:standing"  # under which standing limits are versioned: there is one map
_INTENT = "standing-intent"  # the kind of the document, and its id


class Limiter(Protocol):
    """What a load balancer does with standing limits; `put` goes from all old ones to all new ones at once."""

    def put(self, text: str | None) -> None: ...
    def is_in_force(self, text: str | None) -> bool: ...
    def refused(self) -> Counted: ...
    def check_window(self, window: timedelta) -> None: ...


@runtime_checkable
class HasStanding(Protocol):
    @property
    def standing(self) -> Limiter: ...


def find_limiter(res: Resources) -> Limiter | None:
    return next((actuator.standing for actuator in res.actuators.values() if isinstance(actuator, HasStanding)), None)


def limiter_of(res: Resources) -> Limiter:
    """Raises NotFound where no connected actuator can hold clients to limits."""
    limiter = find_limiter(res)
    if limiter is None:
        raise NotFound("standing limits need a limiter: connections.haproxy_socket in quell.toml is not set")
    return limiter


def active_standing(tx: Transaction) -> ThresholdVersion | None:
    """The standing limits in force, by the record."""
    return next(iter(tx.thresholds.find({"signal": SUBJECT, "state": ThresholdState.ACTIVE})), None)


def intend(tx: Transaction, version: ThresholdVersion, now: datetime, by: str, why: str, *, is_revert: bool) -> None:
    """Say in the record what is about to happen to the map, so that whoever comes after a death can finish it."""
    body = {"version": version.id, "is_revert": is_revert, "by": by, "why": why}
    tx.documents.put(Document(id=_INTENT, kind=_INTENT, updated_at=now, body=body))


def intended(tx: Transaction) -> Document | None:
    return tx.documents.get(_INTENT)


def fulfil(tx: Transaction) -> None:
    """The map and the record agree again."""
    tx.documents.delete(_INTENT)


def put_standing(res: Resources, text: str | None, before: str | None) -> None:
    """Put these limits into force and read them back; where that fails, those before come back.

    Raises Unavailable and InvalidInput as the limiter does.
    """
    limiter = limiter_of(res)
    try:
        limiter.put(text)
        if not limiter.is_in_force(text):
            raise Unavailable("the limiter took the standing limits and does not show them; those before are back")
    except QuellError:
        with suppress(QuellError):  # it may be away; then reconcile does it
            limiter.put(before)
        raise


def check_ours(res: Resources, before: str | None) -> None:
    """Raises Refused where the limiter refuses by limits that are not the record's: somebody else wrote them."""
    limiter = limiter_of(res)
    if not limiter.is_in_force(before):
        raise Refused(
            "standing.map is not as Quell left it: somebody else wrote to it. Empty it, at runtime and on disk, or "
            "promise its limits in quell.toml (standing_limits.promised) and learn again",
            rule="limits that Quell did not write",
            value="another map",
            limit="Quell's own",
        )
