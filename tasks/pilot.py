"""The pilot: one instance gets a fix first, out of the traffic, where all instances of its service read one file.

It gets requests only as the canary, weight by weight. From the moment it is not promoted it has weight 0 until git and
what it runs have followed; only then is it as it was before.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from quell.actuator import RunningRequests
from quell.adapters.git import GitRepository
from quell.incidents.errors import InvalidInput, NotFound, Refused, Unavailable
from quell.incidents.fix import Fix, FixState
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import HOLDING_STATES, Mitigation, Step
from quell.incidents.service import ConfigRepository, Instance, Service
from quell.ports import Transaction
from quell.resolution.pilot import can_step_aside, choose_pilot
from quell.response.plan import ISOLATING, WEIGHT, share_caps
from quell.response.playbook import Limits
from tasks.fix import get_fix, note
from tasks.lane_journal import CANARY, CONTROL, actuator_of, as_before, entries_of, fully, intend, put_back
from tasks.lease import Hold
from tasks.levers import get_actuator
from tasks.readiness import await_well, place_of, problems_of, reload_instances
from tasks.record import ACTIVE_STATES
from tasks.resources import Resources
from tasks.running import difference

_LEVER = "haproxy"
_IDLE_WITHIN = timedelta(seconds=5)  # that running requests get before a reload; who takes longer is cut off by it
_PAUSE_SECONDS = 0.1


def service_of(res: Resources, fix: Fix) -> tuple[Service, ConfigRepository]:
    """The service of a fix that goes from one instance to the next, and its repository. Raises NotFound."""
    service = res.config.catalog.service(fix.service)
    if service is None or service.repository is None:
        raise NotFound(f"service {fix.service} has no repository in services.yaml; {fix.id} cannot go on")
    return service, service.repository


def instance_of(res: Resources, fix: Fix) -> Instance:
    """The pilot as it is configured. Raises NotFound."""
    instance = res.config.catalog.instance(fix.pilot)
    if instance is None or instance.server is None:
        raise NotFound(f"{fix.pilot} is no instance with a server in services.yaml any more; {fix.id} cannot go on")
    return instance


def choose_pilot_of(res: Resources, fix: Fix) -> Fix:
    """Remember which instance gets the fix out of the traffic, before anything is put into force: the one whose own
    file it is, where it serves and can be spared, or one of those that read the service's file.

    Raises Refused where none of those can be spared or compared: all of them at once would be no canary.
    """
    service = res.config.catalog.service(fix.service)
    repository = service.repository if service else None
    if fix.pilot or fix.colour or service is None or repository is None:
        return fix
    if fix.instance:
        return _step_aside(res, fix, service, fix.instance)
    if not repository.one_by_one:
        return fix
    live = get_actuator(res, _LEVER).capacity([one.server for one in service.instances if one.server])
    with res.store.writing() as tx:
        capped = _capped(tx, service, live)
        choice = choose_pilot(service, capped, _drained(tx, service, fix), floor=_floor(res))
        if choice.pilot:
            fix = replace(get_fix(tx, fix.id), pilot=choice.pilot, updated_at=res.clock())
            tx.fixes.put(fix)
    if not choice.pilot:
        raise Refused(f"no instance of {service.name} can get the fix before the others: {choice.reason}")
    note(res, fix, "pilot chosen", f"{choice.pilot} gets the fix first: {choice.reason}")
    return fix


def _step_aside(res: Resources, fix: Fix, service: Service, name: str) -> Fix:
    """Nobody sees the reload then, and only the canary's share what comes of it."""
    instance, lever = res.config.catalog.instance(name), res.actuators.get(_LEVER)
    if instance is None or instance.server is None or lever is None:
        return fix
    live = lever.capacity([one.server for one in service.instances if one.server])
    with res.store.writing() as tx:
        if not can_step_aside(service, instance, _capped(tx, service, live), floor=_floor(res)):
            return fix
        fix = replace(get_fix(tx, fix.id), pilot=name, updated_at=res.clock())
        tx.fixes.put(fix)
    return fix


def _capped(tx: Transaction, service: Service, live: Mapping[str, float]) -> dict[str, float]:
    caps = _caps(service, tx.mitigations.find({"state": ACTIVE_STATES}))
    return {server: min(share, caps.get(server, 1.0)) for server, share in live.items()}


def _caps(service: Service, active: list[Mitigation]) -> dict[str, float]:
    """What mitigations leave of each server, those included that are planned and not in force yet."""
    caps: dict[str, float] = {}
    for one in active:
        for server, cap in share_caps(one.plan.steps, service).items():
            caps[server] = min(cap, caps.get(server, 1.0))
    return caps


def _drained(tx: Transaction, service: Service, fix: Fix) -> frozenset[str]:
    """The servers that what contains the fix's own incident has taken out of the traffic."""
    held = tx.mitigations.find({"incident": fix.incident, "state": tuple(HOLDING_STATES)})
    return frozenset(server for server, cap in _caps(service, held).items() if cap <= 0)


def _floor(res: Resources) -> float:
    """The strictest capacity floor of the playbooks that take servers out; their default where there is none."""
    takes_out = (*ISOLATING, WEIGHT)
    books = res.config.playbooks.values()
    floors = [b.limits.capacity_floor for b in books if any(step.action in takes_out for step in b.steps)]
    return max(floors, default=Limits().capacity_floor)


def take_out(
    res: Resources, fix: Fix, lease: Hold, part: str, server: str, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """No new requests for the server, and those that it answers get their time; its state before is in the journal.

    Raises Unavailable.
    """
    actuator = get_actuator(res, _LEVER)
    effect = intend(res, fix, lease, part, actuator, _no_weight(actuator.name, server))
    actuator.apply(effect)
    if not actuator.verify(effect):
        raise Unavailable(f"{server} could not be taken out of the traffic: weight 0 did not come into force")
    deadline = res.clock() + _IDLE_WITHIN
    while isinstance(actuator, RunningRequests) and actuator.running([server])[server] and res.clock() < deadline:
        sleep(_PAUSE_SECONDS)


def make_pilot_ready(
    res: Resources,
    repository: ConfigRepository,
    fix: Fix,
    lease: Hold,
    commit: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put the fix into force on the pilot and see that it is well, before any user sees it. Raises Unavailable."""
    pilot = instance_of(res, fix)
    take_out(res, fix, lease, CANARY, pilot.server or "", sleep=sleep)
    reload_instances(repository, fix, commit, [pilot.name])
    good = await_well(res, lambda: problems_of(repository, fix, [pilot]), pilot.name, sleep=sleep)
    return f"{pilot.name} is ready and no user has seen it: {pilot.probe} well {good} times"


def pilot_entry(res: Resources, fix: Fix) -> JournalEntry | None:
    """The pilot's state before, while it is not as it was."""
    return next((one for one in entries_of(res, fix, CANARY) if one.state is JournalState.INTENDED), None)


def is_spreading(res: Resources, fix: Fix) -> bool:
    """Whether the fix was promoted and not all of the others have followed."""
    return fix.state is FixState.PROMOTED and bool(fix.pilot) and pilot_entry(res, fix) is not None


def retire_pilot(res: Resources, entry: JournalEntry) -> bool:
    """No requests for the pilot until it has followed; whether it had any until now. Raises Unavailable."""
    actuator = actuator_of(res, entry.step.actuator)
    effect = _no_weight(actuator.name, entry.step.target)
    if actuator.verify(effect):
        return False
    actuator.apply(effect)
    if not actuator.verify(effect):
        raise Unavailable(f"{entry.step.target} could not be taken out of the traffic: weight 0 is not in force")
    return True


def serve_fully(res: Resources, fix: Fix) -> None:
    """The promoted pilot gets its full weight, and its control too: each of them is about to be what is put back.

    The pilot's entry stays open until all have followed. Raises Unavailable.
    """
    for control in entries_of(res, fix, CONTROL):
        if control.state is JournalState.INTENDED:
            put_back(res, control, control.state_before, JournalState.DONE)
    entry = pilot_entry(res, fix)
    if entry is None:
        return
    actuator, wanted = actuator_of(res, entry.step.actuator), fully(res, fix, entry)
    if actuator.verify_undone(entry.step, wanted):
        return
    actuator.undo(entry.step, wanted)
    if not actuator.verify_undone(entry.step, wanted):
        raise Unavailable(f"{entry.step.target} could not be given its full weight")
    note(res, fix, "pilot serves fully", f"{fix.pilot} has the fix and weight {wanted['weight']}; the others follow")


def pilot_follows(res: Resources, repository: ConfigRepository, fix: Fix, entry: JournalEntry, commit: str) -> str:
    """Let the pilot run what is committed, and put it back as it was. Raises QuellError: it keeps weight 0 then."""
    try:
        retire_pilot(res, entry)
        said = reload_instances(repository, fix, commit, [fix.pilot])
        check_followed(repository, fix, fix.pilot)
    except (Unavailable, InvalidInput) as error:
        raise Unavailable(f"{fix.pilot} stays at weight 0: {error}") from error
    put_back(res, entry, as_before(res, fix, entry))
    return said


def check_followed(repository: ConfigRepository, fix: Fix, name: str) -> None:
    """Raises Unavailable where the instance says that it runs something else than its branch has."""
    if repository.running and (found := difference(place_of(repository, fix, name))):
        raise Unavailable(found)


def file_changed(git: GitRepository, fix: Fix, head: str) -> bool:
    """Whether people have changed the file since the fix was tried."""
    return bool(fix.fix_commit) and git.content(head, fix.file) != git.content(fix.fix_commit or "", fix.file)


def _no_weight(actuator: str, server: str) -> Step:
    return Step(actuator=actuator, action=WEIGHT, target=server, params={"weight": 0})
