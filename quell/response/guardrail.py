"""Guardrails: the rules that a plan must pass in the transaction that writes its intent, and again before it acts."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from quell.incidents.mitigation import Mitigation, Plan
from quell.incidents.service import Catalog, Service
from quell.response.plan import capacity, share_caps
from quell.response.playbook import Limits
from quell.response.refusal import Allowed, Answer, Refusal


def check(
    plan: Plan,
    limits: Limits,
    *,
    service: Service,
    catalog: Catalog,
    live: Mapping[str, float],
    automation_enabled: bool,
    active: Sequence[Mitigation],
    last_ended_at: datetime | None,
    now: datetime,
) -> Answer:
    """Whether the plan may go on: allowed, or the first rule that objects, with value and limit.

    `live` is server -> share of its full weight serving now (missing: not serving). `active` are the mitigations,
    other than this one, that are planned, waiting or in force; what they take counts as already taken, so that
    plans made at the same moment cannot cross the floor together. `last_ended_at` is when a mitigation of the same
    target last put the world back.
    """
    return (
        check_kill_switch(automation_enabled)
        or _one_per_target(plan, active)
        or _cooldown(plan, limits, last_ended_at, now)
        or _capacity(plan, limits, service, catalog, live, active)
        or Allowed(reason=_summary(plan, limits, service, live, active))
    )


def check_kill_switch(automation_enabled: bool) -> Refusal | None:
    if automation_enabled:
        return None
    return Refusal(
        rule="kill switch", value="automation is off", limit="on", advice="switch it on with `quell automation on`"
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
    if last_ended_at is None or now - last_ended_at >= limits.cooldown:
        return None
    ago = (now - last_ended_at).total_seconds()
    return Refusal(
        rule="cooldown",
        value=f"the last mitigation of {plan.target} ended {ago:.0f} s ago",
        limit=f"{limits.cooldown.total_seconds():.0f} s",
        advice="wait, or look for what brings the trouble back",
    )


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
