"""Guardrails: the rules that a plan must pass in the transaction that writes its intent, and again before it acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.maintenance import Maintenance
from quell.incidents.mitigation import Mitigation, Plan
from quell.incidents.service import Catalog, Service
from quell.response.autonomy import Level, Standing
from quell.response.evidence import EvidenceKind
from quell.response.plan import capacity, share_caps
from quell.response.playbook import FleetLimits, Limits
from quell.response.refusal import Allowed, Answer, Refusal

_LOOK = "look for what brings the trouble back before more is done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the guardrails look at.

    `live` is server -> share of its full weight serving now (missing: not serving). `active` are the mitigations,
    other than this one, that are planned, waiting or in force; what they take counts as already taken, so that
    plans made at the same moment cannot cross the floor together. `recent` are those other than this one that were
    planned in the last hour, over all services. `last_ended_at` is when a mitigation of the same target last put the
    world back. `frozen` is the freeze window that is on for this service, and when it ends. `is_automatic`: no person
    asked for it; then `standing` is the playbook's rung on this kind of alert now, and `evidence` what speaks for it.
    """

    service: Service
    catalog: Catalog
    live: Mapping[str, float]
    automation_enabled: bool
    active: Sequence[Mitigation] = ()
    recent: Sequence[Mitigation] = ()
    last_ended_at: datetime | None = None
    frozen: tuple[Maintenance, datetime] | None = None
    is_automatic: bool = True
    standing: Standing | None = None
    evidence: Sequence[EvidenceKind] | None = None  # None: it was asked before
    now: datetime


def check(plan: Plan, limits: Limits, fleet: FleetLimits, situation: Situation) -> Answer:
    """Whether the plan may go on: allowed, or the first rule that objects, with value and limit."""
    s = situation
    return (
        check_kill_switch(s.automation_enabled)
        or _freeze(s)
        or _autonomy(plan, s)
        or _evidence(plan, fleet, s)
        or _one_per_target(plan, s.active)
        or _cooldown(plan, limits, s.last_ended_at, s.now)
        or _budgets(plan, limits, fleet, s)
        or _capacity(plan, limits, s.service, s.catalog, s.live, s.active)
        or Allowed(reason=_summary(plan, limits, s.service, s.live, s.active))
    )


def check_kill_switch(automation_enabled: bool) -> Refusal | None:
    if automation_enabled:
        return None
    return Refusal(
        rule="kill switch", value="automation is off", limit="on", advice="switch it on with `quell automation on`"
    )


def _freeze(situation: Situation) -> Refusal | None:
    """In a freeze window Quell does nothing by itself; what a person asks for goes on."""
    if situation.frozen is None or not situation.is_automatic:
        return None
    window, until = situation.frozen
    return Refusal(
        rule="freeze window",
        value=f"{window.name} is on{f' ({window.reason})' if window.reason else ''}",
        limit=f"nothing automatic until {until:%Y-%m-%d %H:%M} UTC",
        advice="let a person ask for it: quell mitigate, or the mitigate form",
    )


def _autonomy(plan: Plan, situation: Situation) -> Refusal | None:
    """What was earned when the plan was made may have been lost since: then a person must agree."""
    standing = situation.standing
    if not situation.is_automatic or plan.needs_approval or standing is None or standing.level is Level.AUTOMATIC:
        return None
    return Refusal(
        rule="autonomy ladder",
        value=f"{plan.playbook} may only {standing.level}: {standing.reason}",
        limit=Level.AUTOMATIC,
        advice="let a person ask for it: quell mitigate, or the mitigate form",
    )


def _evidence(plan: Plan, fleet: FleetLimits, situation: Situation) -> Refusal | None:
    """What spoke for the plan when it was made may be over: then a person must agree."""
    kinds, needed = situation.evidence, fleet.evidence_kinds
    if kinds is None or not situation.is_automatic or plan.needs_approval or len(set(kinds)) >= needed:
        return None
    return Refusal(
        rule="kinds of evidence",
        value=", ".join(kinds) or "none",
        limit=f"{needed} before anything is done without a person",
        advice="let a person ask for it: quell mitigate, or the mitigate form",
    )


def _one_per_target(plan: Plan, active: Sequence[Mitigation]) -> Refusal | None:
    steps = {(s.actuator, s.target) for s in plan.steps}
    for other in active:
        shares_lever = any((s.actuator, s.target) in steps for s in other.plan.steps)
        if other.target == plan.target or shares_lever:
            return Refusal(
                rule="one mitigation per target",
                value=f"{other.id} is {other.state} on {other.target}",
                limit="1",
                advice=f"release {other.id} first",
            )
    return None


def _cooldown(plan: Plan, limits: Limits, last_ended_at: datetime | None, now: datetime) -> Refusal | None:
    if last_ended_at is None:
        return None
    since = max(now - last_ended_at, timedelta(0))  # a clock that was set back has not seen it end
    if since >= limits.cooldown:
        return None
    ago = since.total_seconds()
    return Refusal(
        rule="cooldown",
        value=f"the last mitigation of {plan.target} ended {ago:.0f} s ago",
        limit=f"{limits.cooldown.total_seconds():.0f} s",
        advice="wait, or look for what brings the trouble back",
    )


def _budgets(plan: Plan, limits: Limits, fleet: FleetLimits, situation: Situation) -> Refusal | None:
    """What acts too often is not understood: each budget stops it until a person has looked."""
    if len(situation.active) >= fleet.most_active:
        ids = ", ".join(m.id for m in situation.active[:5])
        return Refusal(
            rule="fleet-wide cap",
            value=f"{len(situation.active)} mitigations are active: {ids}",
            limit=f"{fleet.most_active} at once",
            advice="release some first",
        )
    if len(situation.recent) >= fleet.per_hour:
        value = f"{len(situation.recent)} in the last hour, over all services"
        return Refusal(rule="hourly budget of the fleet", value=value, limit=str(fleet.per_hour), advice=_LOOK)
    same = [m for m in situation.recent if (m.playbook, m.service) == (plan.playbook, situation.service.name)]
    if len(same) >= limits.per_hour:
        value = f"{plan.playbook} was planned {len(same)} times for {situation.service.name} in the last hour"
        return Refusal(rule="hourly budget of the playbook", value=value, limit=str(limits.per_hour), advice=_LOOK)
    return None


def _capacity(
    plan: Plan,
    limits: Limits,
    service: Service,
    catalog: Catalog,
    live: Mapping[str, float],
    active: Sequence[Mitigation],
) -> Refusal | None:
    own = share_caps(plan.steps, service)
    if not own:
        return None
    left = capacity(service, live, _caps(plan, service, active))
    needed_by = sorted(catalog.callers.get(service.name, ())) + (["users"] if service.is_user_facing else [])
    if left <= 0 and needed_by:
        return Refusal(
            rule="last healthy instance",
            value=f"nothing of {service.name} would serve {', '.join(needed_by)}",
            limit="1 instance",
            advice="bring another instance up first",
        )
    if left < limits.capacity_floor - 1e-9:  # weights are whole numbers: less than a billionth is rounding
        return Refusal(
            rule="capacity floor",
            value=f"{left:.0%} of {service.name} would be left",
            limit=f"at least {limits.capacity_floor:.0%}",
            advice="bring instances back or release another mitigation first",
        )
    return None


def _caps(plan: Plan, service: Service, active: Sequence[Mitigation]) -> Mapping[str, float]:
    caps = dict(share_caps(plan.steps, service))
    for other in active:
        for server, cap in share_caps(other.plan.steps, service).items():
            caps[server] = min(cap, caps.get(server, 1.0))
    return caps


def _summary(
    plan: Plan, limits: Limits, service: Service, live: Mapping[str, float], active: Sequence[Mitigation]
) -> str:
    left = capacity(service, live, _caps(plan, service, active))
    return (
        f"{left:.0%} of {service.name} stays, floor {limits.capacity_floor:.0%}; "
        f"{len(active)} other mitigations are active, none on {plan.target}"
    )
