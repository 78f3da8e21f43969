"""Each guardrail refuses with its rule, the value and the limit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.maintenance import Maintenance
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Step, plan_hash
from quell.incidents.service import Catalog, Instance, Service
from quell.response.guardrail import Situation, check
from quell.response.playbook import FleetLimits, Limits
from quell.response.refusal import Allowed, Refusal

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
FREEZE = Maintenance(name="year end", matchers=(), once=(NOW, NOW + timedelta(hours=3)), reason="CHG-1")


def _service(instances: int = 3) -> Service:
    servers = tuple(Instance(name=f"c-{n}", service="c", server=f"be/c-{n}") for n in range(1, instances + 1))
    return Service(name="c", team="t", instances=servers)


def _plan(number: int = 1) -> Plan:
    return Plan(
        playbook="isolate",
        incident=None,
        target=f"instance:c-{number}",
        steps=(Step(actuator="haproxy", action="isolate", target=f"be/c-{number}"),),
        undo=("back",),
        blast_radius=BlastRadius(service="c", instances=(f"c-{number}",), capacity_share=0.3, capacity_left=0.6),
        evidence=(),
        needs_approval=False,
        approval_reason="",
        expires_after=timedelta(hours=1),
    )


def _mitigation(number: int) -> Mitigation:
    plan = _plan(number)
    return Mitigation(
        id=MitigationId(f"MIT-{number}"),
        state=MitigationState.PLANNED,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident=None,
        playbook="isolate",
        service="c",
        target=plan.target,
        requested_by="quell",
        created_at=NOW,
        updated_at=NOW,
    )


def _elsewhere(number: int) -> Mitigation:
    """One of another service, on another target."""
    plan = replace(_plan(number), target=f"instance:d-{number}", steps=())
    return replace(_mitigation(number), service="d", plan=plan, target=plan.target)


def _check(
    *,
    service: Service | None = None,
    live: dict[str, float] | None = None,
    enabled: bool = True,
    active: tuple[Mitigation, ...] = (),
    ended: datetime | None = None,
    floor: float = 0.5,
    needed: bool = False,
    recent: tuple[Mitigation, ...] = (),
    frozen: bool = False,
    automatic: bool = True,
):
    service = service or _service()
    user = Service(name="user", team="t", depends_on=("c",) if needed else ())
    situation = Situation(
        service=service,
        catalog=Catalog(services={"c": service, "user": user}),
        live=live if live is not None else {i.server or "": 1.0 for i in service.instances},
        automation_enabled=enabled,
        active=active,
        recent=recent,
        last_ended_at=ended,
        frozen=(FREEZE, NOW + timedelta(hours=3)) if frozen else None,
        is_automatic=automatic,
        now=NOW,
    )
    limits = Limits(capacity_floor=floor, cooldown=timedelta(minutes=5), per_hour=2)
    return check(_plan(), limits, FleetLimits(most_active=2, per_hour=4), situation)


def test_a_plan_inside_every_limit_is_allowed_with_the_figures() -> None:
    answer = _check()
    assert isinstance(answer, Allowed) and "67% of c stays" in answer.reason


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"enabled": False}, "kill switch"),
        ({"active": (_mitigation(1),)}, "one mitigation per target"),
        ({"ended": NOW - timedelta(minutes=4)}, "cooldown"),
        ({"active": (_mitigation(2),)}, "capacity floor"),
        ({"live": {"be/c-1": 1.0, "be/c-2": 1.0, "be/c-3": 0.0}}, "capacity floor"),
        ({"live": {"be/c-1": 1.0, "be/c-2": 1.0}}, "capacity floor"),
        ({"service": _service(1), "floor": 0.0, "needed": True}, "last healthy instance"),
        ({"frozen": True}, "freeze window"),
        ({"active": (_elsewhere(2), _elsewhere(3))}, "fleet-wide cap"),
        ({"recent": tuple(_elsewhere(n) for n in range(2, 6))}, "hourly budget of the fleet"),
        ({"recent": (_mitigation(2), _mitigation(3))}, "hourly budget of the playbook"),
    ],
)
def test_a_plan_outside_a_limit_is_refused_by_name(given: dict[str, object], rule: str) -> None:
    answer = _check(**given)  # type: ignore[arg-type]
    assert isinstance(answer, Refusal) and answer.rule == rule
    assert answer.value and answer.limit and answer.sentence.startswith(rule)


def test_the_floor_itself_is_allowed() -> None:
    assert isinstance(_check(service=_service(4), active=(_mitigation(2),)), Allowed)


def test_a_drained_server_with_an_active_mitigation_is_counted_once() -> None:
    live = {"be/c-1": 1.0, "be/c-2": 0.0, "be/c-3": 1.0, "be/c-4": 1.0}
    assert isinstance(_check(service=_service(4), live=live, active=(_mitigation(2),)), Allowed)


def test_cooldown_ends() -> None:
    assert isinstance(_check(ended=NOW - timedelta(minutes=5)), Allowed)


def test_an_isolated_target_takes_its_lever_from_other_playbooks_too() -> None:
    other = replace(_mitigation(1), target="service:c")
    assert isinstance(_check(active=(other,)), Refusal)


def test_a_freeze_stops_only_what_nobody_asked_for() -> None:
    assert isinstance(_check(frozen=True, automatic=False), Allowed)


def test_the_budget_of_a_playbook_counts_its_own_service() -> None:
    other = replace(_mitigation(2), playbook="throttle")
    assert isinstance(_check(recent=(_mitigation(3), other, _elsewhere(4))), Allowed)
