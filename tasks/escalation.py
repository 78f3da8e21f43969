"""Escalation at work: what waits for approval and gets no answer is told to others, once, whoever dies.

The entry on the timeline and the mark on the mitigation are one transaction; the notifications follow from the entry,
as all do, so that a death in between loses none and doubles none.
"""

from dataclasses import replace

from quell.incidents.mitigation import Mitigation, MitigationState
from quell.ports import Transaction
from quell.response.escalation import escalation_receivers, is_escalation_due
from quell.response.playbook import ApprovalPolicy
from tasks.question import about, tally_of
from tasks.record import QUELL, get_mitigation
from tasks.resources import Resources


def escalate_due(res: Resources) -> list[str]:
    """Tell others about every question that has waited for too long; returns one sentence for each."""
    with res.store.reading() as tx:
        waiting = tx.mitigations.find({"state": MitigationState.AWAITING_APPROVAL})
        due = [mitigation.id for mitigation in waiting if _due(res, tx, mitigation)]
    return [sentence for id in due if (sentence := _escalate(res, id))]


def _due(res: Resources, tx: Transaction, mitigation: Mitigation) -> ApprovalPolicy | None:
    """The policy by which it is due; None when it is not."""
    playbook = res.config.playbooks.get(mitigation.playbook)
    if playbook is None:
        return None
    answer, now = tally_of(res, tx, mitigation).answer, res.clock()
    return playbook.approval if is_escalation_due(mitigation, playbook.approval, answer=answer, now=now) else None


def _escalate(res: Resources, mitigation_id: str) -> str:
    with res.store.writing() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        policy = _due(res, tx, mitigation)  # somebody may have answered, or been faster
        if policy is None or policy.escalate_after is None:
            return ""
        now, standing = res.clock(), tally_of(res, tx, mitigation).standing
        to = escalation_receivers(policy.escalate_to, res.config.notifying.receivers, res.config.people)
        waited = f"not decided after {policy.escalate_after.total_seconds() / 60:g} min"
        told = f"told to {', '.join(to)}" if to else f"{', '.join(policy.escalate_to)} cannot be reached"
        until = f", open until {mitigation.approval_deadline:%H:%M:%S} UTC" if mitigation.approval_deadline else ""
        text = f"{mitigation.id} is {waited}{f' ({standing})' if standing else ''}{until}: {told}"
        tx.mitigations.put(replace(mitigation, escalated_at=now))
        to_whom = {"to": "\n".join(to)}
        tx.timeline.append(about(mitigation.incident, mitigation.id, "approval escalated", QUELL, text, now, to_whom))
    return text
