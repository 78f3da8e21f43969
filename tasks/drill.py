"""Drills: break one thing in a sandbox, watch the real path deal with it, put everything back, and score it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from quell.adapters.drill_ground import HttpDrillGround
from quell.incidents.alert import Alert, AlertStatus
from quell.incidents.drill import DRILL, Drill, Strike
from quell.incidents.errors import NotFound, QuellError, Refused
from quell.incidents.fix import FixState
from quell.incidents.incident import ACTIVE_STATES, Incident
from quell.incidents.mitigation import HOLDING_STATES, PENDING_STATES, Mitigation, MitigationState
from quell.incidents.timeline import Event
from quell.ports import Document, DrillGround, Transaction
from quell.prevention.drill import Glance, Seen, differences, floor_crossed, score, strike_of, unsteady
from tasks.effect import undo_mitigation
from tasks.playbook_drills import record_drill
from tasks.resources import Resources
from tasks.rollback import HANDED_OVER
from tasks.unplanned import NOTHING_DONE

_LOOK_SECONDS = 1.0
_USERS_SECONDS = 10
_FAULT_SECONDS = 600  # it ends by itself if this process dies
_EARLIER = timedelta(seconds=60)  # an onset is dated by the first evidence, which rates smear
_SETTLED = timedelta(seconds=15)  # after "no playbook applies": later alerts may bring one
_MOST_DRILLS = 500
_FIX_ENDED = (FixState.PROMOTED, FixState.REVERTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each part may take before it counts as missed."""

    detect: timedelta = timedelta(seconds=60)
    contain: timedelta = timedelta(seconds=180)
    resolve: timedelta = timedelta(seconds=240)


@dataclass(slots=True, kw_only=True)
class _Watch:
    res: Resources
    ground: DrillGround
    strike: Strike
    began_at: datetime
    sleep: Callable[[float], None]
    glances: list[Glance] = field(default_factory=list[Glance])
    detected_at: datetime | None = None
    touched: dict[str, None] = field(default_factory=dict[str, None])

    def until(self, is_over: Callable[[], bool], within: timedelta) -> str:
        """Look every second; why it has to be ended early, empty where it need not."""
        deadline = self.res.clock() + within
        while self.res.clock() < deadline and not is_over():
            glance = self.glance()
            spared = {self.strike.target} if self.strike.kind == "service" else set[str]()
            floors = {name: floor for name, floor in _floors(self.res).items() if name not in spared}
            if crossed := floor_crossed(glance, floors):
                return crossed
            self.sleep(_LOOK_SECONDS)
        return ""

    def glance(self) -> Glance:
        requests, errors = self.ground.users(1)
        capacity = service_capacity(self.res, servers_now(self.res))
        glance = Glance(at=self.res.clock(), capacity=capacity, requests=requests, errors=errors)
        self.glances.append(glance)
        with self.res.store.reading() as tx:
            for alert in _alerts_since(tx, self.began_at):
                self.touched.setdefault(str(alert.incident))
                at = alert.decided_at or alert.received_at
                self.detected_at = min(self.detected_at or at, at)
        return glance

    def incidents(self) -> list[Incident]:
        with self.res.store.reading() as tx:
            return [found for id in self.touched if (found := tx.incidents.get(id)) is not None]

    def mitigations(self) -> list[Mitigation]:
        with self.res.store.reading() as tx:
            found = [m for id in self.touched for m in tx.mitigations.find({"incident": id})]
        return [mitigation for mitigation in found if mitigation.created_at >= self.began_at]

    def is_dealt_with(self) -> bool:
        """Judged, or nothing will be done; where a change is accused, its fix has ended too."""
        incidents = self.incidents()
        if not incidents:
            return False
        mitigations = self.mitigations()
        if any(m.state in PENDING_STATES or m.state is MitigationState.APPLIED for m in mitigations):
            return False
        if not mitigations:
            return bool(_unanswered(self.res, incidents, before=self.res.clock() - _SETTLED))
        accused = [incident.id for incident in incidents if incident.accused_change]
        with self.res.store.reading() as tx:
            return all(_is_mended_or_handed_over(tx, id) for id in accused)

    def is_resolved(self) -> bool:
        return bool(self.touched) and all(not incident.is_active for incident in self.incidents())


def look_for_steady_state(res: Resources, ground: DrillGround) -> list[str]:
    """Why no drill may begin now; empty where nothing speaks against it."""
    with res.store.reading() as tx:
        firing = [alert.name for alert in tx.alerts.find({"status": AlertStatus.FIRING}, limit=10)]
        incidents = [incident.id for incident in tx.incidents.find({"state": tuple(ACTIVE_STATES)}, limit=10)]
        holding = [m.id for m in tx.mitigations.find({"state": (*HOLDING_STATES, *PENDING_STATES)}, limit=10)]
    requests, errors = ground.users(_USERS_SECONDS)
    return unsteady(
        firing=firing,
        open_incidents=incidents,
        holding=holding,
        capacity=service_capacity(res, servers_now(res)),
        error_share=errors / requests if requests else None,
        active_faults=ground.active(),
    )


def run_drill(
    res: Resources,
    ground: DrillGround,
    fault: str,
    parameters: Mapping[str, str | float | bool],
    by: str,
    *,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Drill:
    """The whole drill; whatever happens in between, the fault is cleared and what Quell did is put back.

    Raises Refused where the world is not in its steady state, InvalidInput for an unknown fault or parameter,
    Unavailable where the ground does not answer.
    """
    allowed = patience or Patience()
    if reasons := look_for_steady_state(res, ground):
        raise Refused(
            f"no drill now: {'; '.join(reasons)}", rule="steady state", value=reasons[0], limit="nothing is wrong"
        )
    before, kind = servers_now(res), ground.faults().get(fault, "")
    began = res.clock()
    given = ground.inject(fault, {"seconds": _FAULT_SECONDS, **parameters})
    watch = _Watch(res=res, ground=ground, strike=strike_of(fault, kind, given), began_at=began, sleep=sleep)
    try:
        aborted = watch.until(lambda: bool(watch.touched), allowed.detect)
        if not aborted and watch.touched:
            aborted = watch.until(watch.is_dealt_with, allowed.contain)
    finally:
        ground.clear(fault, watch.strike.target)
        _put_back(res, watch, by)
    watch.until(watch.is_resolved, allowed.resolve)
    drill = _keep(res, _scored(res, watch, before, by, aborted, allowed.detect))
    for playbook in dict.fromkeys(m.playbook for m in watch.mitigations() if m.applied_at is not None):
        if playbook in res.config.playbooks:
            record_drill(res, playbook, by=by, note=drill.sentence)
    return drill


def _put_back(res: Resources, watch: _Watch, by: str) -> None:
    """What is still in force or still waits; every one is tried, and the first error is told afterwards."""
    errors: list[QuellError] = []
    for mitigation in watch.mitigations():
        if mitigation.is_holding or mitigation.state in PENDING_STATES:
            try:
                undo_mitigation(res, mitigation.id, by, "the drill is over")
            except QuellError as error:
                errors.append(error)
    if errors:
        raise errors[0]


def _scored(
    res: Resources, watch: _Watch, before: Mapping[str, float], by: str, aborted: str, detect_within: timedelta
) -> Drill:
    incidents = watch.incidents()
    seen = Seen(
        strike=watch.strike,
        began_at=watch.began_at,
        detected_at=watch.detected_at,
        detect_within=detect_within,
        touched=tuple(incidents),
        mitigations=tuple(watch.mitigations()),
        glances=tuple(watch.glances),
        floors=_floors(res),
        differences=differences(before, servers_now(res)),
        unanswered=_unanswered(res, incidents),
    )
    return Drill(
        id="",
        strike=watch.strike,
        began_at=watch.began_at,
        ended_at=res.clock(),
        by=by,
        incident=incidents[0].id if incidents else None,
        aborted=aborted,
        parts=score(seen, res.config.catalog),
    )


def _keep(res: Resources, drill: Drill) -> Drill:
    with res.store.writing() as tx:
        kept = replace(drill, id=f"DRILL-{tx.next_number('DRILL')}")
        tx.documents.put(Document(id=kept.id, kind=DRILL, updated_at=res.clock(), body=_plain(kept)))
        event = Event(
            incident=kept.incident, at=res.clock(), kind="drill", by=kept.by, text=kept.sentence, subject=kept.id
        )
        tx.timeline.append(event)
    return kept


def find_drills(tx: Transaction, *, limit: int = _MOST_DRILLS) -> list[Drill]:
    """The newest first."""
    found = tx.documents.find({"kind": DRILL}, order="updated_at", descending=True, limit=limit)
    return [msgspec.convert(document.body, Drill) for document in found]


def get_drill(tx: Transaction, id: str) -> Drill:
    """Raises NotFound."""
    document = tx.documents.get(id.upper())
    if document is None or document.kind != DRILL:
        raise NotFound(f'drill "{id}" does not exist; `quell drill list` shows those that were held')
    return msgspec.convert(document.body, Drill)


def ground_of(res: Resources) -> DrillGround:
    """Raises Refused where the configuration names none: nothing is ever broken by accident."""
    url = res.config.connections.drill_ground
    if url is None:
        raise Refused(
            "connections.drill_ground is not set in quell.toml: name a sandbox's control API, never a place with users",
            rule="drill ground",
            value="none",
            limit="a sandbox",
        )
    return HttpDrillGround(url)


def servers_now(res: Resources) -> Mapping[str, float]:
    """Server -> share of its full weight that serves, over all services and levers."""
    servers = [i.server for service in res.config.catalog.services.values() for i in service.instances if i.server]
    live: dict[str, float] = {}
    for actuator in res.actuators.values():
        live.update(actuator.capacity(servers))
    return live


def service_capacity(res: Resources, live: Mapping[str, float]) -> Mapping[str, float]:
    """Service -> share of its capacity that serves, by the instances' weights; none without servers."""
    found: dict[str, float] = {}
    for name, service in res.config.catalog.services.items():
        known = [(i.weight, live[i.server]) for i in service.instances if i.server and i.server in live]
        if total := sum(weight for weight, _ in known):
            found[name] = sum(weight * share for weight, share in known) / total
    return found


def _floors(res: Resources) -> Mapping[str, float]:
    """The strictest floor of the playbooks that may take capacity, for every service."""
    floor = min((book.limits.capacity_floor for book in res.config.playbooks.values() if book.steps), default=0.5)
    return dict.fromkeys(res.config.catalog.services, floor)


def _is_mended_or_handed_over(tx: Transaction, incident: str) -> bool:
    if any(fix.state in _FIX_ENDED for fix in tx.fixes.find({"incident": incident})):
        return True
    return any(e.kind == HANDED_OVER and e.subject == incident for e in tx.timeline.of(incident))


def _alerts_since(tx: Transaction, began: datetime) -> Sequence[Alert]:
    found = tx.alerts.find(after=("starts_at", began - _EARLIER))
    return [alert for alert in found if alert.incident is not None and alert.received_at >= began]


def _unanswered(res: Resources, incidents: Sequence[Incident], before: datetime | None = None) -> str:
    """Why nothing was planned, as it was said last (by that moment); empty where nothing was said."""
    with res.store.reading() as tx:
        entries = [e for i in incidents for e in tx.timeline.of(i.id) if e.kind in NOTHING_DONE]
    said = [entry.text for entry in entries if before is None or entry.at <= before]
    return said[-1] if said else ""


def _plain(drill: Drill) -> dict[str, Any]:
    return msgspec.to_builtins(asdict(drill))
