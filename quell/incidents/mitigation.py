"""A mitigation: a planned, bounded, reversible change to production, and the states it passes through."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from quell.incidents.lifecycle import Move, check_transition

MitigationId = NewType("MitigationId", str)


class MitigationState(StrEnum):
    PLANNED = "planned"
    AWAITING_APPROVAL = "awaiting_approval"
    REFUSED = "refused"
    EXPIRED = "expired"
    APPLYING = "applying"
    APPLIED = "applied"
    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    INCONCLUSIVE = "inconclusive"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


_S = MitigationState
MITIGATION_TRANSITIONS: Mapping[MitigationState, frozenset[MitigationState]] = {
    _S.PLANNED: frozenset({_S.AWAITING_APPROVAL, _S.APPLYING, _S.REFUSED, _S.EXPIRED}),
    _S.AWAITING_APPROVAL: frozenset({_S.APPLYING, _S.REFUSED, _S.EXPIRED}),
    _S.REFUSED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.APPLYING: frozenset({_S.APPLIED, _S.UNDOING}),
    _S.APPLIED: frozenset({_S.EFFECTIVE, _S.INEFFECTIVE, _S.INCONCLUSIVE, _S.UNDOING}),
    _S.EFFECTIVE: frozenset({_S.UNDOING}),
    _S.INEFFECTIVE: frozenset({_S.UNDOING}),
    _S.INCONCLUSIVE: frozenset({_S.EFFECTIVE, _S.INEFFECTIVE, _S.UNDOING}),
    _S.UNDOING: frozenset({_S.UNDONE, _S.UNDO_FAILED, _S.EFFECTIVE}),  # effective again: a release was stopped
    _S.UNDONE: frozenset(),
    _S.UNDO_FAILED: frozenset({_S.UNDOING}),
}
# States in which something outside may differ from how we found it: the target is taken.
HOLDING_STATES = frozenset(
    {_S.APPLYING, _S.APPLIED, _S.EFFECTIVE, _S.INEFFECTIVE, _S.INCONCLUSIVE, _S.UNDOING, _S.UNDO_FAILED}
)
PENDING_STATES = frozenset({_S.PLANNED, _S.AWAITING_APPROVAL})


class Recovery(StrEnum):
    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One effect: what an actuator shall do to a target. Parameters are plain text and numbers.

    `key` names this one effect and stays the same however often it is tried; in a plan it is still empty. It is tried
    at most `retries` times more, after waits of chance that may be `backoff` long at first and double each time.
    `with_previous`: it is done side by side with the step before it.
    """

    actuator: str
    action: str
    target: str
    params: Mapping[str, str | int | float] = field(default_factory=dict[str, str | int | float])
    timeout: timedelta = timedelta(seconds=10)
    key: str = ""
    retries: int = 2
    backoff: timedelta = timedelta(milliseconds=200)
    with_previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """What a plan takes away: instances named, share of the service's capacity, and what stays."""

    service: str
    instances: tuple[str, ...]
    capacity_share: float  # 0..1, share of the service's live capacity that the plan removes
    capacity_left: float  # 0..1, share of the service's full capacity that still serves afterwards

    @property
    def load_on_rest(self) -> float | None:
        """How many times its load of now what remains would take, if the traffic stays; None where nothing remains.

        >>> BlastRadius(service="api", instances=("api-1",), capacity_share=1 / 3, capacity_left=2 / 3).load_on_rest
        1.5
        """
        return round(1 / (1 - self.capacity_share), 3) if self.capacity_share < 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The fully resolved list of effects. What is approved is exactly this: see `plan_hash`."""

    playbook: str
    incident: str | None
    target: str
    steps: tuple[Step, ...]
    undo: tuple[str, ...]  # one sentence per step, in the order in which they would be undone
    blast_radius: BlastRadius
    evidence: tuple[str, ...]
    needs_approval: bool
    approval_reason: str
    expires_after: timedelta
    retry_budget: timedelta = timedelta(seconds=30)

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the steps (from 1), those together that are done side by side."""
        stages: list[tuple[int, ...]] = []
        for number, step in enumerate(self.steps, start=1):
            if step.with_previous and stages:
                stages[-1] = (*stages[-1], number)
            else:
                stages.append((number,))
        return tuple(stages)


def plan_hash(plan: Plan) -> str:
    """SHA-256 over the effects of a plan (playbook, incident, target, steps), 64 hex digits.

    Evidence and wording are left out: they may be refreshed without changing what would happen.
    """
    effects = {
        "playbook": plan.playbook,
        "incident": plan.incident,
        "target": plan.target,
        "steps": [[s.actuator, s.action, s.target, sorted(s.params.items())] for s in plan.steps],
        "stages": plan.stages,
        "expires_after": plan.expires_after.total_seconds(),
    }
    return hashlib.sha256(json.dumps(effects, sort_keys=True, default=str).encode()).hexdigest()


def idempotency_key(step: Step) -> str:
    """By what those who carry a step out know it again: its key, or without one a hash of what it says.

    >>> idempotency_key(Step(actuator="hook", action="restart", target="api", key="MIT-7/1@20261123T120000Z"))
    'MIT-7/1@20261123T120000Z'
    """
    said = [step.actuator, step.action, step.target, sorted(step.params.items())]
    return step.key or hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigation:
    """One run of a playbook against a target."""

    id: MitigationId
    state: MitigationState
    plan: Plan
    plan_hash: str
    incident: str | None
    playbook: str
    service: str
    target: str
    requested_by: str
    created_at: datetime
    updated_at: datetime
    approval_deadline: datetime | None = None
    approvers: int = 1  # how many persons had to agree when it was planned; it never becomes less
    escalated_at: datetime | None = None  # nobody had answered: others were told
    approved_by: str | None = None
    approved_at: datetime | None = None
    applied_at: datetime | None = None
    judged_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    recovery: Recovery | None = None  # what the judgement was, also after the undo
    recovery_reason: str = ""
    answers: str = ""  # the name of the alert that it answers; empty where a person asked for it
    flow_run: str | None = None
    eased_to: float | None = None  # share that came back so far, while it is released a little at a time
    eased_at: datetime | None = None
    answered: Mapping[str, int] = field(default_factory=dict[str, int])  # by the servers, when the share was given

    @property
    def is_holding(self) -> bool:
        return self.state in HOLDING_STATES


def move_mitigation(
    mitigation: Mitigation,
    to: MitigationState,
    *,
    now: datetime,
    by: str,
    why: str,
    evidence: Mapping[str, str] | None = None,
) -> tuple[Mitigation, Move]:
    """The mitigation in its new state, and the entry for its timeline. Raises InvalidTransition."""
    check_transition(f"mitigation {mitigation.id}", MITIGATION_TRANSITIONS, mitigation.state, to)
    move = Move(
        subject=mitigation.id,
        incident=mitigation.incident,
        at=now,
        by=by,
        why=why,
        from_state=mitigation.state,
        to_state=to,
        evidence=evidence or {},
    )
    changed = replace(mitigation, state=to, updated_at=now)
    match to:
        case MitigationState.APPLIED:
            changed = replace(changed, applied_at=now, expires_at=now + mitigation.plan.expires_after)
        case MitigationState.EFFECTIVE | MitigationState.INEFFECTIVE | MitigationState.INCONCLUSIVE:
            changed = replace(changed, judged_at=now, recovery=Recovery(to.value), recovery_reason=why)
            changed = replace(changed, eased_to=None, eased_at=None)
        case MitigationState.UNDONE | MitigationState.REFUSED | MitigationState.EXPIRED:
            changed = replace(changed, ended_at=now, eased_to=None, eased_at=None)
        case MitigationState.UNDO_FAILED:
            changed = replace(changed, eased_to=None, eased_at=None)
        case _:
            pass
    return changed, move
