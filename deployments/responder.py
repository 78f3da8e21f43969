"""The responder: a long-lived process that turns what came in into incidents, and incidents into runs.

It keeps nothing in memory that matters: each round reads the store, so it may be killed and started at any moment,
and several may run (runs are started under a key that Prefect accepts once, the inbox has one writer at a time).
"""

import logging
import math
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import FrameType

from prefect.client.orchestration import get_client

from deployments.run_forms import offer_what_is_there
from deployments.work_pool import restore_template
from flows.response import respond
from flows.upkeep import reconcile
from quell.incidents.errors import QuellError
from quell.incidents.incident import ACTIVE_STATES, Incident, IncidentState
from quell.incidents.mitigation import HOLDING_STATES
from quell.incidents.next_step import NextStep, is_answered, next_step, step_key
from tasks.adaptive import run_adaptive
from tasks.intake import drain_inbox
from tasks.notifier import run_notifier
from tasks.relapse import again_key, evidence_key
from tasks.resources import Resources, resources
from tasks.review_round import run_reviews
from tasks.runs import start_run
from tasks.safeguards import run_meter
from tasks.standing_keep import run_refusal_meter
from tasks.suspicion import suspect_live
from tasks.thresholds import promote_decided
from tasks.waking import wake_answered
from tasks.watch import watch_sweeps

_LOG = logging.getLogger("quell.responder")
_OPEN = (IncidentState.TRIAGED, IncidentState.CONTAINED)
_OVER = (IncidentState.RESOLVED, IncidentState.REVIEWED)
_LATELY = timedelta(days=7)  # what ended before is history: a hundred thousand of them are not read every second
_SLOW_ROUND_SECONDS = 1.0
_RETRY_SECONDS = 10
_WATCH_EVERY = timedelta(seconds=5)
_LOOK_AGAIN_SECONDS, _LOOK_AGAIN_EARLY_SECONDS = 30.0, 5.0
_LOOK_FOR = timedelta(minutes=15)
_ANSWERS_AT_ONCE = 20  # each also uses a connection to the store now and then, of 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """When the metrics around an incident may be looked at again, and at how many alerts they were looked at."""

    alerts: int
    again_at: float  # never while it looks
    is_due: bool = False  # also without a further alert


def _looking_pool() -> ThreadPoolExecutor:
    """Its own: mitigations hold the other one for minutes, and must not wait for metrics either."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="suspicion")


def _settling_pool() -> ThreadPoolExecutor:
    """Its own: what a dead process left is settled in time however many mitigations are being judged."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="reconcile")


def answering_pool() -> ThreadPoolExecutor:
    """A thread for each mitigation until it is judged, which takes minutes: the next one must not wait for that."""
    return ThreadPoolExecutor(max_workers=_ANSWERS_AT_ONCE, thread_name_prefix="respond")


@dataclass(slots=True)
class Responder:
    """One round is `drain`, then `suspect` and `advance`; `resume` looks at suspended runs with an answer."""

    res: Resources
    pool: ThreadPoolExecutor
    answering: dict[str, float] = field(default_factory=dict)  # incident -> when it may be tried again
    reconciling: Future[object] | None = None
    offering: Future[object] | None = None
    looks: dict[str, _Look] = field(default_factory=dict[str, _Look])
    looking: ThreadPoolExecutor = field(default_factory=_looking_pool)
    settling: ThreadPoolExecutor = field(default_factory=_settling_pool)
    since: datetime = field(init=False)
    watched_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.since = self.watched_at = self.res.clock()

    def drain(self) -> bool:
        """Deal with everything in the inbox; whether there was anything."""
        return bool(drain_inbox(self.res))

    def advance(self) -> None:
        """Start the flow that each incident is waiting for."""
        with self.res.store.reading() as tx:
            waiting: list[tuple[Incident, NextStep]] = []
            again: list[tuple[Incident, str]] = []
            lately = self.res.clock() - _LATELY
            found = tx.incidents.find({"state": _OPEN}) + tx.incidents.find(
                {"state": _OVER}, after=("updated_at", lately)
            )
            for incident in found:
                if is_answered(incident):
                    if key := again_key(tx, incident):
                        again.append((incident, key))
                    continue
                changes = [change for id in incident.changes if (change := tx.changes.get(id)) is not None]
                holding = tx.mitigations.count({"incident": incident.id, "state": tuple(HOLDING_STATES)}) > 0
                step = next_step(incident, changes, has_holding_mitigation=holding)
                if step is not None:
                    waiting.append((incident, step))
        for incident, step in waiting:
            if step is NextStep.RESPOND:
                self._answer(incident, step_key(incident, step))
            else:
                self._start(incident, step)
        for incident, key in again:
            self._answer(incident, key)

    def suspect(self) -> None:
        """Look at the metrics around young incidents: once they are open, and again as they grow."""
        since = self.res.clock() - _LOOK_FOR
        with self.res.store.reading() as tx:
            young = tx.incidents.find({"state": tuple(ACTIVE_STATES)}, after=("opened_at", since))
        for old in set(self.looks) - {incident.id for incident in young}:
            self.looks.pop(old)
        for incident in young:
            look, alerts = self.looks.get(incident.id), incident.tally.alerts if incident.tally else 0
            if look is None or (time.monotonic() >= look.again_at and (look.is_due or look.alerts != alerts)):
                self.looks[incident.id] = _Look(alerts=alerts, again_at=math.inf)
                self.looking.submit(self._look, incident.id, alerts)

    def _look(self, incident: str, alerts: int) -> None:
        pause, is_due = _LOOK_AGAIN_SECONDS, True
        try:
            found = suspect_live(self.res, incident)
            is_due = found is not None and bool(found.failure)  # the metrics may come back
            pause = _LOOK_AGAIN_EARLY_SECONDS if found is not None and found.is_early else pause
        except Exception:  # noqa: BLE001 - the alerts' ranking stands, and nothing else may suffer
            _LOG.exception("the metrics around %s could not be judged; it is tried again", incident)
        self.looks[incident] = _Look(alerts=alerts, again_at=time.monotonic() + pause, is_due=is_due)

    def resume(self) -> None:
        """Wake suspended runs whose question a person has answered on the page or the command line."""
        wake_answered(self.res)

    def promote(self) -> None:
        """Carry out what people decided about proposed thresholds."""
        for version in promote_decided(self.res):
            _LOG.info("%s: its decision is carried out", version)

    def reconcile(self) -> None:
        """Settle what dead processes left, in this process: a polled run would cost seconds of processor each time."""
        if self.reconciling is None or self.reconciling.done():
            self.reconciling = self.settling.submit(self._reconcile)

    def _reconcile(self) -> None:
        try:
            reconcile()
        except Exception:  # noqa: BLE001 - the next round tries again, and so does the scheduled deployment
            _LOG.exception("reconcile failed; it is tried again")

    def offer_forms(self) -> None:
        """Bring the choices of Prefect's forms up to date; a Prefect that hangs keeps nothing else waiting."""
        if self.offering is None or self.offering.done():
            self.offering = self.looking.submit(self._offer_forms)

    def _offer_forms(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                offer_what_is_there(self.res, client)
                if restore_template(client):
                    _LOG.warning("somebody had changed how the work pool starts runs; it is as it was before")
        except Exception as error:  # noqa: BLE001 - the forms show older choices, and what is new may be typed
            _LOG.info("the forms in Prefect could not be brought up to date: %s", error)

    def watch(self) -> None:
        """Notice when sweeps stop: they depend on Prefect's server and the sweeper, this process does not."""
        now = self.res.clock()
        if now - self.watched_at < _WATCH_EVERY:
            return
        self.watched_at = now
        if (reason := watch_sweeps(self.res, since=self.since)) is not None:
            _LOG.warning("sweeps: %s", reason)

    def _answer(self, incident: Incident, key: str) -> None:
        """`respond` runs in this process: a polled run would begin seconds later."""
        if self.answering.get(incident.id, 0.0) > time.monotonic():
            return
        self.answering[incident.id] = math.inf
        self.pool.submit(self._respond, incident, key)

    def _respond(self, incident: Incident, key: str) -> None:
        """Remembered only when it is through: whoever dies in between leaves the incident waiting for the next one.

        Planning twice gives the same mitigation, so a second answer does no harm.
        """
        try:
            respond(incident.id)
            self._remember(incident, dict.fromkeys((key, evidence_key(incident)), "in process"))
            self.answering.pop(incident.id, None)
        except Exception:  # noqa: BLE001 - one incident that cannot be answered must not silence the others
            _LOG.exception("respond for %s failed; it is tried again in %d s", incident.id, _RETRY_SECONDS)
            self.answering[incident.id] = time.monotonic() + _RETRY_SECONDS

    def _start(self, incident: Incident, step: NextStep) -> None:
        key = step_key(incident, step)
        run = start_run(
            f"{step}/{step}",
            {"incident": incident.id},
            key=f"{incident.id} {key}",
            name=f"{step} {incident.id}",
            tags=[incident.id, incident.service, incident.severity],
        )
        self._remember(incident, {key: run})
        _LOG.info("%s: %s started as run %s", incident.id, step, run)

    def _remember(self, incident: Incident, started: dict[str, str]) -> None:
        with self.res.store.writing() as tx:
            current = tx.incidents.get(incident.id)
            if current is not None:
                tx.incidents.put(replace(current, flow_runs={**current.flow_runs, **started}))


def run(res: Resources, stopping: threading.Event) -> None:
    """Rounds until `stopping`; trouble (database away, Prefect away) is logged and tried again with growing pauses."""
    pause = res.config.intervals.responder_poll.total_seconds()
    since_slow_round = _SLOW_ROUND_SECONDS
    reconcile_at = time.monotonic()  # at once: whatever died before this process started
    failures = 0
    # its own thread: whoever is notified may hang, and the inbox must not wait for that
    threading.Thread(target=run_notifier, args=(res, stopping), name="notifier", daemon=True).start()
    threading.Thread(target=run_adaptive, args=(res, stopping), name="adaptive", daemon=True).start()
    threading.Thread(target=run_meter, args=(res, stopping), name="safeguards", daemon=True).start()
    threading.Thread(target=run_refusal_meter, args=(res, stopping), name="standing limits", daemon=True).start()
    threading.Thread(target=run_reviews, args=(res, stopping), name="reviews", daemon=True).start()
    with answering_pool() as pool:
        responder = Responder(res, pool)
        while not stopping.is_set():
            try:
                if responder.drain() or since_slow_round >= _SLOW_ROUND_SECONDS:
                    responder.watch()  # first: the others need Prefect, whose absence this one has to report
                    responder.suspect()
                    responder.advance()
                    responder.resume()
                    responder.promote()
                    since_slow_round = 0.0
                if time.monotonic() >= reconcile_at:
                    if responder.reconciling is not None:  # the first round is for what came in meanwhile
                        responder.offer_forms()
                    responder.reconcile()
                    reconcile_at = time.monotonic() + res.config.intervals.reconcile.total_seconds()
                failures = 0
            except QuellError as error:
                failures += 1
                _LOG.warning("trying again: %s", error)
            wait = min(pause * 2**failures, 10.0)
            since_slow_round += wait
            stopping.wait(wait)
        responder.looking.shutdown(wait=True, cancel_futures=True)
        responder.settling.shutdown(wait=True, cancel_futures=True)


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    run(resources(), stopping)


if __name__ == "__main__":
    main()
