"""A plan: the playbook's steps with every name filled in, and what they would take away."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import BlastRadius, Plan, Step
from quell.incidents.service import Instance, Service
from quell.response.playbook import ApprovalPolicy, Playbook, StepTemplate
from quell.response.target import Target

ISOLATING = ("isolate", "maint")
WEIGHT = "weight"
_NAME = re.compile(r"\{([^{}]*)\}")


def make_plan(
    playbook: Playbook,
    target: Target,
    *,
    incident: str | None,
    evidence: Sequence[str] = (),
    live: Mapping[str, float],
    describe_undo: Callable[[Step], str],
) -> Plan:
    """Fill in a playbook for one target.

    `live` is server -> share of its full weight that serves now, read from the load balancer; a server that is
    missing there counts as not serving. Raises InvalidInput when a step names what the target does not have.
    """
    steps = tuple(step for template in playbook.steps for step in _fill(template, playbook, target))
    radius = blast_radius(target.service, steps, live)
    needs_approval, reason = ask_for_approval(playbook.approval, radius)
    return Plan(
        playbook=playbook.name,
        incident=incident,
        target=target.key,
        steps=steps,
        undo=tuple(describe_undo(step) for step in reversed(steps)),
        blast_radius=radius,
        evidence=(*target.evidence, *evidence),
        needs_approval=needs_approval,
        approval_reason=reason,
        expires_after=playbook.expires_after,
        retry_budget=playbook.limits.retry_budget,
    )


def with_doubts(plan: Plan, doubts: Sequence[str], policy: ApprovalPolicy) -> Plan:
    """The plan, for which a person must be asked where there are doubts, whatever the policy says."""
    if not doubts or plan.needs_approval:
        return plan
    reason = f"{'; '.join(doubts)}: a person with role {' or '.join(policy.roles)} must agree"
    return replace(plan, needs_approval=True, approval_reason=reason)


def blast_radius(service: Service, steps: Sequence[Step], live: Mapping[str, float]) -> BlastRadius:
    """What the steps take from the service: share of what serves now, and what is left of the full capacity.

    One of three healthy servers is a third of the live capacity and leaves two thirds; with another one already
    down the same step takes half and leaves one third.
    """
    caps = share_caps(steps, service)
    taken = tuple(i.name for i in service.instances if i.server in caps)
    before, after = capacity(service, live, {}), capacity(service, live, caps)
    return BlastRadius(
        service=service.name,
        instances=taken,
        capacity_share=(before - after) / before if before else (1.0 if taken else 0.0),
        capacity_left=after,
    )


def share_caps(steps: Sequence[Step], service: Service) -> Mapping[str, float]:
    """server -> the largest share of its full weight that can serve while the steps are in force."""
    full = {i.server: i.weight for i in service.instances if i.server}
    caps: dict[str, float] = {}
    for step in steps:
        if step.target not in full:
            continue
        if step.action in ISOLATING:
            caps[step.target] = 0.0
        elif step.action == WEIGHT and full[step.target] > 0:
            caps[step.target] = min(float(step.params.get("weight", 0)) / full[step.target], 1.0)
    return caps


def capacity(service: Service, live: Mapping[str, float], caps: Mapping[str, float]) -> float:
    """Share (0..1) of the service's full capacity that serves, when no server may exceed its cap."""
    servers = [i for i in service.instances if i.server]
    full = sum(i.weight for i in servers)
    serving = sum(i.weight * min(live.get(i.server or "", 0.0), caps.get(i.server or "", 1.0)) for i in servers)
    return serving / full if full else 0.0


def ask_for_approval(policy: ApprovalPolicy, radius: BlastRadius) -> tuple[bool, str]:
    """Whether a person must agree, and why (or why not)."""
    names = ", ".join(radius.instances) or "no instance"
    share = f"it takes {radius.capacity_share:.0%} of the live capacity of {radius.service} ({names})"
    limit = f"{policy.above_capacity_share:.0%}"
    who = " or ".join(policy.roles)
    if policy.always:
        return True, f"the playbook always asks: {share}; a person with role {who} must agree"
    if radius.capacity_share > policy.above_capacity_share:
        return True, f"{share}, more than {limit}: a person with role {who} must agree"
    return False, f"{share}, not more than {limit}: no approval needed"


def _fill(template: StepTemplate, playbook: Playbook, target: Target) -> list[Step]:
    """One step; in a zone, one for each of its instances where the step names an instance, side by side."""
    texts = [template.target, *(value for value in template.params.values() if isinstance(value, str))]
    is_of_each = any(name in text for text in texts for name in ("{instance}", "{server}"))
    instances = target.instances if is_of_each and target.instances else (target.instance,)
    return [
        Step(
            actuator=template.actuator,
            action=template.action,
            target=_filled(template.target, playbook, target, instance),
            params={
                name: _filled(value, playbook, target, instance) if isinstance(value, str) else value
                for name, value in template.params.items()
            },
            timeout=template.timeout,
            retries=template.retries,
            backoff=template.backoff,
            with_previous=template.with_previous or place > 0,
        )
        for place, instance in enumerate(instances)
    ]


def _filled(text: str, playbook: Playbook, target: Target, instance: Instance | None) -> str:
    """The text with its `{names}` replaced; nothing but these names is read from it."""
    names = {
        "target": target.name,
        "service": target.service.name,
        "instance": instance.name if instance else None,
        "server": instance.server if instance else None,
        "client": target.name if target.kind == "client" else None,
        "zone": target.name if target.kind == "zone" else None,
    }
    known = {name: value for name, value in names.items() if value is not None}
    for name in _NAME.findall(text):
        if name not in known:
            raise InvalidInput(
                f"playbook {playbook.name}: {text!r} cannot be filled in for {target.key}"
                f"{f' ({instance.name})' if instance else ''}: {name!r} is unknown; known are {', '.join(known)}"
            )
    return _NAME.sub(lambda found: known[found[1]], text)
