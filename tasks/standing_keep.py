"""Standing limits in force: kept in force, finished or undone after a death, and counted: who is refused now."""

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.decision import Answer
from quell.incidents.errors import Conflict, QuellError
from quell.incidents.incident import ACTIVE_STATES as OPEN_INCIDENTS
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import NO_INCIDENT, Event, event_of
from quell.ports import Document, Transaction
from quell.prevention.refusals import IN_FORCE, SHADOW, Refusals, add_counts
from quell.response.fix_approval import text_hash
from quell.response.traffic import Counted, counted_between
from tasks.automation import automation_enabled
from tasks.lease import hold, take_turn
from tasks.limiter import SUBJECT, active_standing, find_limiter, fulfil, intended, limiter_of
from tasks.record import QUELL
from tasks.refusals import keep_refusals, refusals_of
from tasks.resources import Resources, resources
from tasks.study_report import WAITING
from tasks.thresholds import promote_threshold, revert_threshold

RESTORED = "standing limits restored"
_LOG = logging.getLogger("quell.standing")
_LOOK_SECONDS = 5.0  # well within the 30 s after which the limiter forgets a client
_AWAY_SECONDS = 10.0
_LEASE_TIME = timedelta(seconds=20)
_UNEXPECTED = 10  # requests of one client; fewer are not told


def keep_standing(res: Resources) -> list[str]:
    """Let the limiter's map be what the record says; one sentence for what was not. Nothing where nothing was promoted.

    What a dead process left is finished when its approval still holds, else undone. Limits that were lost (a restart
    with an old file) are put back once; when somebody takes them away again, they are let go.
    """
    with res.store.reading() as tx:
        active, intent = active_standing(tx), intended(tx)
    if (active is None and intent is None) or find_limiter(res) is None:
        return []
    try:
        if intent is None and active is not None and limiter_of(res).is_in_force(active.rule):
            return []
        return _settle_intent(res) if intent is not None else _settle_lost(res)
    except Conflict:  # somebody works on it
        return []
    except QuellError as error:
        return [f"standing limits could not be looked at: {error}"]


def _settle_intent(res: Resources) -> list[str]:
    with hold(res, f"threshold {SUBJECT}", wait=timedelta(0)), res.store.reading() as tx:
        intent = intended(tx)
        version = tx.thresholds.get(intent.body["version"]) if intent else None
        may_go_on = version is not None and _is_approved(tx, version) and automation_enabled(tx)
    if intent is None or version is None:
        return []
    by, why = str(intent.body["by"]), str(intent.body["why"])
    if intent.body["is_revert"] and version.state is ThresholdState.ACTIVE:
        revert_threshold(res, version.id, by, why)
        return [f"{version.id} was being reverted by {by} and is reverted"]
    if not intent.body["is_revert"] and version.state in WAITING and may_go_on:
        promote_threshold(res, version.id, by)
        return [f"{version.id} was being put in force and is in force"]
    return _put_back(res, version)


def _put_back(res: Resources, version: ThresholdVersion) -> list[str]:
    """The map as the record has it: what was begun may not go on."""
    with hold(res, f"threshold {SUBJECT}", wait=timedelta(0)):
        with res.store.reading() as tx:
            active = active_standing(tx)
        limiter_of(res).put(active.rule if active else None)
        said = f"{version.id} was begun and may not go on: {active.id if active else 'no limit'} is in force"
        with res.store.writing() as tx:
            fulfil(tx)
            tx.timeline.append(_event(res, version, RESTORED, said))
    return [said]


def _settle_lost(res: Resources) -> list[str]:
    with hold(res, f"threshold {SUBJECT}", wait=timedelta(0)):
        with res.store.reading() as tx:
            active, is_on = active_standing(tx), automation_enabled(tx)
            before = [
                entry
                for entry in (tx.timeline.of(active.incident or NO_INCIDENT, limit=2000) if active else ())
                if active is not None and entry.subject == active.id and entry.kind == RESTORED
            ]
        limiter = limiter_of(res)
        if active is None or limiter.is_in_force(active.rule):
            return []
        if before:
            return [_let_go(res, active)]
        if not is_on:
            return [f"{active.id} is not in force any more, and automation is switched off"]
        limiter.put(active.rule)
        if not limiter.is_in_force(active.rule):
            return [f"{active.id} was lost outside of Quell and could not be put into force again"]
        said = f"the limits of {active.id} were not in force any more and are again: did somebody edit standing.map?"
        with res.store.writing() as tx:
            tx.timeline.append(_event(res, active, RESTORED, said))
        return [said]


def _let_go(res: Resources, active: ThresholdVersion) -> str:
    why = "its limits were taken away outside of Quell again: it is let go, and standing.map stays as it was found"
    with res.store.writing() as tx:
        moved, step = move_threshold(active, ThresholdState.REVERTED, now=res.clock(), by=QUELL, why=why)
        tx.thresholds.put(moved)
        tx.timeline.append(event_of(step))
    return f"{active.id}: {why}"


def _is_approved(tx: Transaction, version: ThresholdVersion) -> bool:
    wanted = text_hash(version.rule)
    found = tx.decisions.find({"subject": version.id})
    return any(decision.plan_hash == wanted and decision.answer is Answer.APPROVE for decision in found)


def _event(res: Resources, version: ThresholdVersion, kind: str, text: str) -> Event:
    return Event(incident=version.incident, at=res.clock(), kind=kind, by=QUELL, text=text, subject=version.id)


@dataclass(slots=True)
class RefusalMeter:
    """Counts whom the limits in force refuse; `before` is the last look, of `version`."""

    res: Resources
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    before: Counted | None = None
    version: str = ""

    def look(self) -> None:
        """Add what was sent and refused since the last look. One process at a time; counters that began anew wait."""
        with self.res.store.reading() as tx:
            active = active_standing(tx)
        if active is None or find_limiter(self.res) is None:
            self.before, self.version = None, ""
            return
        now = limiter_of(self.res).refused()
        before, self.before = self.before, now
        is_first, self.version = self.version != active.id, active.id
        counted = counted_between(before, now) if before is not None and not is_first else None
        if counted is not None:
            self._add(active, counted)

    def _add(self, version: ThresholdVersion, counted: Counted) -> None:
        with self.res.store.writing() as tx:
            now = self.res.clock()
            if not take_turn(tx, f"{IN_FORCE} {version.id}", self.holder, now=now, time_held=_LEASE_TIME):
                return
            is_trouble = bool(tx.incidents.count({"state": tuple(OPEN_INCIDENTS)}, at_most=1))
            record = add_counts(
                refusals_of(tx, IN_FORCE, version.id) or Refusals(since=now, until=now),
                int(now.timestamp()) // 60,
                {name: (float(one.offered), float(one.refused)) for name, one in counted.clients.items()},
                offered=float(counted.total.offered),
                others=(float(counted.others.offered), float(counted.others.refused)),
                is_trouble=is_trouble,
            )
            measured = record.measured + timedelta(seconds=counted.at_seconds)
            record = replace(record, until=now, measured=measured)
            keep_refusals(tx, IN_FORCE, version.id, record)
            _tell_unexpected(self.res, tx, version, record)


def _tell_unexpected(res: Resources, tx: Transaction, version: ThresholdVersion, record: Refusals) -> None:
    """A client of whom nothing was to be refused is refused outside of incidents: on the timeline, once for each."""
    id = f"{IN_FORCE} told {version.id}"
    document = tx.documents.get(id)
    told: list[str] = list(document.body["clients"]) if document else []
    shadow = refusals_of(tx, SHADOW, version.id)
    expected = {name for name, one in shadow.clients.items() if one.refused} if shadow else set[str]()
    own = version.clients or {}
    fresh = [
        (name, one)
        for name, one in record.worst_first()
        if name in own and name not in expected and name not in told and one.refused >= _UNEXPECTED
    ]
    for name, one in fresh:
        text = (
            f"{name} is refused, which neither history nor shadow predicted: {one.refused:,.0f} of {one.offered:,.0f}"
        )
        why = f"{text} requests; `quell threshold revert {version.id}` takes the limits back"
        tx.timeline.append(_event(res, version, "standing limit refuses", why))
    if fresh:
        names = [*told, *(name for name, _ in fresh)]
        tx.documents.put(Document(id=id, kind=IN_FORCE, updated_at=res.clock(), body={"clients": names}))


def run_refusal_meter(res: Resources, stopping: threading.Event) -> None:
    """Look until `stopping`; trouble is logged and tried again."""
    meter = RefusalMeter(res)
    while not stopping.is_set():
        began = time.monotonic()
        try:
            meter.look()
        except QuellError as error:  # the store or the limiter is away
            meter.before = None
            _LOG.debug("refusals of standing limits are not counted: %s", error)
            stopping.wait(_AWAY_SECONDS)
        except Exception:  # noqa: BLE001 - the next look may work, and refusals must not go unseen
            _LOG.exception("refusals of standing limits could not be counted; it is tried again")
            stopping.wait(_AWAY_SECONDS)
        stopping.wait(max(_LOOK_SECONDS - (time.monotonic() - began), 0.1))


@task(name="keep-standing-limits", cache_policy=NO_CACHE)
def keep_standing_limits() -> list[str]:
    """Finishes or undoes what was begun on standing limits, and puts back what was lost."""
    return keep_standing(resources())
