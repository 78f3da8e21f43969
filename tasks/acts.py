"""Acts: what a person does beside deciding on plans: look after an incident, dismiss, merge or split it, release a
mitigation, mute alerts and end that."""

from dataclasses import replace
from datetime import datetime, timedelta

from quell.adapters.identity import code_step
from quell.config.value import parse_duration
from quell.incidents.decision import Person
from quell.incidents.errors import Conflict, InvalidInput, Refused, Unavailable
from quell.incidents.incident import Incident, IncidentState, move_incident
from quell.incidents.mitigation import MitigationState
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.response.reconciliation import is_easing
from quell.response.rights import ActDetails, Action, may_act, needed_roles
from tasks.approval import used_code_steps
from tasks.proof import forgive, spend_code, spend_try
from tasks.record import get_incident, get_mitigation
from tasks.regroup import merge_incidents, split_incident
from tasks.release import begin_release
from tasks.resources import Resources
from tasks.silences import add_silence, end_silence

LONGEST_WHY = 500
LONGEST_SILENCE = timedelta(days=31)
NO_DETAILS = ActDetails()
_ENDED = (MitigationState.UNDONE, MitigationState.REFUSED, MitigationState.EXPIRED)


def act(
    res: Resources,
    *,
    action: str,
    subject: str,
    person: str,
    code: str,
    why: str,
    is_signed_in: bool,
    details: ActDetails = NO_DETAILS,
) -> str:
    """Do it, if the person may; returns what was done, in words.

    Who is not signed in proves with a one-time code who they are. Raises Refused, TooManyTries, NotFound, Conflict,
    InvalidInput, InvalidTransition or Unavailable.
    """
    given, why = _action(action), " ".join(why.split())
    if len(why) > LONGEST_WHY:
        raise InvalidInput(f"why has {len(why)} characters, the limit is {LONGEST_WHY}: put the rest elsewhere")
    known = res.config.people.get(person)
    if known is None:
        raise Refused(f"{given} by {person or 'nobody'} is not accepted: people.yaml knows no such person")
    if not is_signed_in:
        prove(res, known, code)
    if not may_act(known, given, _approvers(res, given, subject)):
        needed, held = needed_roles(given, _approvers(res, given, subject)), ", ".join(known.roles) or "no role"
        raise Refused(f"{given} is not accepted: {person} has {held}, it needs {needed}", rule="role", value=held)
    return _do(res, given, subject, person, why, details)


def _do(res: Resources, action: Action, subject: str, by: str, why: str, details: ActDetails) -> str:
    match action:
        case Action.ACKNOWLEDGE:
            return acknowledge_incident(res, subject, by=by)
        case Action.DISMISS:
            return dismiss_incident(res, subject, by=by, why=why)
        case Action.RELEASE:
            return _release(res, subject, by, why)
        case Action.MERGE:
            kept = merge_incidents(res, subject, details.other, by, why)
            return f"{details.other} is merged into {kept.id}"
        case Action.SPLIT:
            return _split(res, subject, by, why, details)
        case Action.SILENCE:
            return _silence(res, by, why, details)
        case Action.EXPIRE:
            return f"{end_silence(res, subject, by=by).id} is expired"


def acknowledge_incident(res: Resources, id: str, *, by: str) -> str:
    """Somebody looks after it: the clock of MTTA stops. A second acknowledgement changes nothing."""
    with res.store.writing() as tx:
        incident = get_incident(tx, id)
        if not incident.is_active:
            raise Conflict(f"incident {id} is {incident.state}: only an active one can be acknowledged")
        if incident.acknowledged_at is None:
            _acknowledge(tx, incident, by, res.clock())
    return f"{id} is acknowledged"


def _acknowledge(tx: Transaction, incident: Incident, by: str, now: datetime) -> None:
    tx.incidents.put(replace(incident, acknowledged_at=now, updated_at=now))
    text = f"{by} looks after it"
    event = Event(incident=incident.id, at=now, kind="incident acknowledged", by=by, text=text, subject=incident.id)
    tx.timeline.append(event)


def dismiss_incident(res: Resources, id: str, *, by: str, why: str) -> str:
    """Close it as a false positive."""
    if not why:
        raise InvalidInput(f"why is empty: say what made {id} a false positive, so that the next reader knows")
    with res.store.writing() as tx:
        incident = get_incident(tx, id)
        moved, move = move_incident(incident, IncidentState.DISMISSED, now=res.clock(), by=by, why=why)
        tx.incidents.put(moved)
        tx.timeline.append(event_of(move))
    return f"{id} is dismissed"


def _release(res: Resources, id: str, by: str, why: str) -> str:
    ended = begin_release(res, id, by, why or "released by hand")
    if is_easing(ended):
        return f"{id} comes back a little at a time, {ended.eased_to or 0:.0%} now; its timeline says how it goes"
    if ended.state not in _ENDED:
        raise Unavailable(f"{id} is {ended.state.replace('_', ' ')}, not undone: it is tried again, see the timeline")
    return f"{id} is {ended.state}"


def _split(res: Resources, id: str, by: str, why: str, details: ActDetails) -> str:
    chosen = set(details.alerts)
    with res.store.reading() as tx:
        for service, name in details.groups:
            chosen |= {a.id for a in tx.alerts.find({"incident": id, "service": service, "name": name})}
    new = split_incident(res, id, chosen, by, why)
    return f"{len(chosen)} alerts of {id} are {new.id} now"


def _silence(res: Resources, by: str, why: str, details: ActDetails) -> str:
    lasting = parse_duration(details.lasting)
    if lasting > LONGEST_SILENCE:
        raise InvalidInput(
            f"silence would last {details.lasting}, a page's last {LONGEST_SILENCE.days} days at most: "
            "use `quell silence add`, or a maintenance window"
        )
    return add_silence(res, details.matchers, ends_at=res.clock() + lasting, by=by, comment=why).id


def prove(res: Resources, person: Person, code: str) -> None:
    subjects = [f"person/{person.name}"]
    refused = Refused(f"one-time code of {person.name} is wrong or was used: wait for the next one")
    with res.store.writing() as tx:
        now = res.clock()
        too_many = spend_try(tx, subjects, now)
        step = None if too_many else code_step(person, code, now)
        if step is not None and step not in used_code_steps(tx, person.name):
            spend_code(tx, person.name, step, now)
            forgive(tx, subjects)
            return
    raise too_many or refused


def _approvers(res: Resources, action: Action, subject: str) -> tuple[str, ...]:
    if action is not Action.RELEASE:
        return ()
    with res.store.reading() as tx:
        playbook = res.config.playbooks.get(get_mitigation(tx, subject).playbook)
    return playbook.approval.roles if playbook else ("approver",)


def _action(action: str) -> Action:
    try:
        return Action(action)
    except ValueError as error:
        raise InvalidInput(f"action is {action[:40]!r}; it must be one of {', '.join(Action)}") from error
