"""What a fix changes at the load balancer, in the journal (intent and state before come first), and what counts it."""

from collections.abc import Mapping
from dataclasses import replace

from quell.actuator import Actuator
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.fix import Fix
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import MitigationState, Step
from tasks.lease import Hold
from tasks.resources import Resources

CANARY, CONTROL, SPLIT, SWITCH = "canary", "control", "split", "switch"
PARTS = (CANARY, CONTROL, SPLIT, SWITCH)  # in the order in which they are put back
_REST = "rest-"  # one part for each instance that follows the one that was tried, with its name
_READY = "ready"
_NOTHING = "0"  # as a weight

# HAProxy's own exporter: what each server, or each backend as a whole, answered, by class of status
RESPONSES = "haproxy_server_http_responses_total"
BACKEND_RESPONSES = "haproxy_backend_http_responses_total"


def intend(res: Resources, fix: Fix, lease: Hold, part: str, actuator: Actuator, effect: Step) -> Step:
    """The effect, with its intent and the state before in the journal; a later step keeps the true state before."""
    entry = JournalEntry(
        id=f"{fix.id}/{part}",
        mitigation=fix.id,
        position=1 + (PARTS.index(part) if part in PARTS else len(PARTS)),
        step=effect,
        state_before=actuator.read_state(effect),
        state=JournalState.INTENDED,
        holder=lease.holder,
        intended_at=res.clock(),
    )
    with res.store.writing() as tx:
        lease.renew(tx, res.clock())
        known = tx.journal.get(entry.id)
        if known is None or known.state is not JournalState.INTENDED:
            tx.journal.put(entry)
    return effect


def entries_of(res: Resources, fix: Fix, *parts: str) -> list[JournalEntry]:
    """The entries of these parts (of all, where none is named) that there are."""
    with res.store.reading() as tx:
        found = [tx.journal.get(f"{fix.id}/{part}") for part in parts or PARTS]
    return [entry for entry in found if entry is not None]


def rest_of(instance: str) -> str:
    """The part under which an instance is out of the traffic while it follows."""
    return f"{_REST}{instance}"


def rest_entries(res: Resources, fix: Fix) -> list[JournalEntry]:
    """The entries of all instances that followed, or are about to."""
    with res.store.reading() as tx:
        return [one for one in tx.journal.find({"mitigation": fix.id}) if one.id.startswith(f"{fix.id}/{_REST}")]


def as_before(res: Resources, fix: Fix, entry: JournalEntry) -> Mapping[str, str]:
    """How a server is left: as it was found, but serving where what had taken it out was released meanwhile.

    Nothing would release a drain any more then.
    """
    return fully(res, fix, entry) if is_released(res, fix, entry) else entry.state_before


def fully(res: Resources, fix: Fix, entry: JournalEntry) -> Mapping[str, str]:
    """The server with the weight that it had before the incident, or its configured one where that was none."""
    known = {i.server: i.weight for i in res.config.catalog.instances.values()}
    weight = _before_containment(res, fix, entry).get("weight", _NOTHING)
    if weight == _NOTHING:
        weight = str(known.get(entry.step.target, _NOTHING))
    return {**entry.state_before, "admin_state": _READY, "weight": weight}


def _before_containment(res: Resources, fix: Fix, entry: JournalEntry) -> Mapping[str, str]:
    """The server's state before a containment that was released since, which may have been a lower weight; else the
    state that the canary found."""
    with res.store.reading() as tx:
        released = tx.mitigations.find({"incident": fix.incident, "state": MitigationState.UNDONE})
        steps = [
            one for m in released if m.updated_at >= entry.intended_at for one in tx.journal.find({"mitigation": m.id})
        ]
    found = sorted((one for one in steps if one.step.target == entry.step.target), key=lambda one: one.intended_at)
    return found[0].state_before if found else entry.state_before


def is_released(res: Resources, fix: Fix, entry: JournalEntry) -> bool:
    """Whether a containment of this server was undone since the entry was written."""
    with res.store.reading() as tx:
        contained = tx.mitigations.find({"incident": fix.incident, "state": MitigationState.UNDONE})
    target = entry.step.target
    return any(
        m.updated_at >= entry.intended_at and any(step.target == target for step in m.plan.steps) for m in contained
    )


def put_back(
    res: Resources, entry: JournalEntry, wanted: Mapping[str, str], state: JournalState = JournalState.UNDONE
) -> None:
    """Put the target into the wanted state, see that it is, and close the entry. Raises Unavailable."""
    actuator = actuator_of(res, entry.step.actuator)
    if state is JournalState.UNDONE or not actuator.verify_undone(entry.step, wanted):
        actuator.undo(entry.step, wanted)
    if not actuator.verify_undone(entry.step, wanted):
        raise Unavailable(f"canary: {entry.step.target} could not be put back to {dict(wanted)}")
    close_entry(res, entry, state)


def close_entry(res: Resources, entry: JournalEntry, state: JournalState) -> None:
    with res.store.writing() as tx:
        tx.journal.put(replace(entry, state=state, finished_at=res.clock()))


def actuator_of(res: Resources, name: str) -> Actuator:
    if name not in res.actuators:
        raise InvalidInput(f"actuator {name} is not configured any more; it is needed to put things back")
    return res.actuators[name]
