"""A plan names every effect, what it takes away, and whether a person must agree."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.matcher import parse_matchers
from quell.incidents.mitigation import plan_hash
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.suspect import Suspect
from quell.response.plan import make_plan
from quell.response.playbook import ApprovalPolicy, Playbook, RecoveryRule, StepTemplate
from quell.response.target import Choice, NoChoice, Target, choose, named_target

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SERVERS = tuple(Instance(name=f"checkout-{n}", service="checkout", server=f"be/checkout-{n}") for n in (1, 2, 3))
CHECKOUT = Service(name="checkout", team="shop", depends_on=("payment",), instances=SERVERS)
PAYMENT = Service(
    name="payment", team="shop", instances=(Instance(name="payment-1", service="payment", server="be/payment-1"),)
)
STOREFRONT = Service(name="storefront", team="shop", depends_on=("checkout",), is_user_facing=True)
CATALOG = Catalog(services={s.name: s for s in (CHECKOUT, PAYMENT, STOREFRONT)})
SIGNAL = Signal(
    name="shop-error-ratio",
    query="q",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=timedelta(seconds=5),
    is_user_facing=True,
)
SIGNALS = {SIGNAL.name: SIGNAL}
ISOLATE = Playbook(
    name="isolate-bad-instance",
    description="",
    owner="platform",
    matchers=parse_matchers('{service=~".+"}'),
    target_kind="instance",
    min_confidence=0.5,
    steps=(StepTemplate(actuator="haproxy", action="isolate", target="{server}"),),
    recovery=RecoveryRule(signal=SIGNAL.name, below=0.02),
)
THROTTLE = replace(
    ISOLATE,
    name="throttle-noisy-client",
    matchers=parse_matchers('{alertname="NoisyClient"}'),
    target_kind="client",
    steps=(
        StepTemplate(
            actuator="haproxy", action="throttle", target="client:{client}", params={"requests_per_second": 20}
        ),
    ),
)
INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.TRIAGED,
    severity=Severity.MAJOR,
    title="t",
    service="checkout",
    onset_at=NOW,
    opened_at=NOW,
    updated_at=NOW,
    opened_because="test",
    opened_by="sweep",
    suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="errors rose first"),),
)
TARGET = Target(kind="instance", name="checkout-2", service=CHECKOUT, instance=SERVERS[1], evidence=("why",))
ALL_UP = {f"be/checkout-{n}": 1.0 for n in (1, 2, 3)}


def _plan(playbook: Playbook = ISOLATE, target: Target = TARGET, live: dict[str, float] = ALL_UP):
    return make_plan(playbook, target, incident="INC-1", live=live, describe_undo=lambda s: f"undo {s.target}")


def test_one_of_three_instances_is_a_third_of_the_capacity_and_asks_a_person() -> None:
    plan = _plan()
    assert plan.blast_radius.capacity_share == pytest.approx(1 / 3)
    assert plan.blast_radius.capacity_left == pytest.approx(2 / 3)
    assert plan.blast_radius.instances == ("checkout-2",)
    assert plan.needs_approval and "33%" in plan.approval_reason and "25%" in plan.approval_reason
    assert plan.undo == ("undo be/checkout-2",) and plan.evidence == ("why",)


def test_the_share_is_of_what_serves_now_not_of_what_is_configured() -> None:
    plan = _plan(live={**ALL_UP, "be/checkout-1": 0.0})
    assert plan.blast_radius.capacity_share == pytest.approx(1 / 2)
    assert plan.blast_radius.capacity_left == pytest.approx(1 / 3)


def test_an_instance_that_is_down_already_takes_nothing() -> None:
    plan = _plan(live={**ALL_UP, "be/checkout-2": 0.0})
    assert plan.blast_radius.capacity_share == 0 and not plan.needs_approval


def test_a_server_of_which_nothing_is_known_does_not_count_as_serving() -> None:
    assert _plan(live={"be/checkout-2": 1.0}).blast_radius.capacity_left == 0


def test_a_lower_weight_takes_only_its_part() -> None:
    steps = (StepTemplate(actuator="haproxy", action="weight", target="{server}", params={"weight": 40}),)
    plan = _plan(replace(ISOLATE, steps=steps))
    assert plan.blast_radius.capacity_share == pytest.approx(0.2)


def test_maintenance_takes_the_whole_instance_like_isolation() -> None:
    plan = _plan(replace(ISOLATE, steps=(StepTemplate(actuator="haproxy", action="maint", target="{server}"),)))
    assert plan.blast_radius == _plan().blast_radius and plan.needs_approval


def test_throttling_a_client_takes_no_capacity_and_needs_nobody() -> None:
    plan = _plan(THROTTLE, Target(kind="client", name="mobile", service=CHECKOUT))
    assert plan.blast_radius.capacity_share == 0 and not plan.needs_approval
    assert plan.steps[0].target == "client:mobile"


@pytest.mark.parametrize(
    ("policy", "asks"),
    [
        (ApprovalPolicy(always=True, above_capacity_share=1.0), True),
        (ApprovalPolicy(above_capacity_share=0.5), False),
        (ApprovalPolicy(above_capacity_share=0.0), True),
        (ApprovalPolicy(above_capacity_share=1.0), False),
    ],
)
def test_the_policy_decides_who_is_asked(policy: ApprovalPolicy, asks: bool) -> None:
    assert _plan(replace(ISOLATE, approval=policy)).needs_approval is asks


def test_the_hash_binds_the_effects_and_not_the_wording() -> None:
    plan = _plan()
    assert plan_hash(plan) == plan_hash(replace(plan, evidence=("other words",)))
    step = replace(plan.steps[0], target="be/checkout-3")
    assert plan_hash(plan) != plan_hash(replace(plan, steps=(step,)))


def test_a_placeholder_that_the_target_does_not_have_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="cannot be filled in"):
        _plan(ISOLATE, Target(kind="service", name="checkout", service=CHECKOUT))


def test_the_first_suspect_is_the_target() -> None:
    found = choose([ISOLATE, THROTTLE], INCIDENT, [{"service": "checkout"}], CATALOG, SIGNALS)
    assert isinstance(found, Choice)
    assert found.playbook is ISOLATE and found.target.key == "instance:checkout-2"
    assert "errors rose first" in found.target.evidence[0]


def test_the_more_specific_playbook_wins_and_takes_its_client_from_the_alert() -> None:
    specific = replace(THROTTLE, matchers=parse_matchers('{alertname="NoisyClient", client!=""}'))
    labels = {"alertname": "NoisyClient", "client": "mobile", "service": "storefront"}
    found = choose([ISOLATE, specific], INCIDENT, [labels], CATALOG, SIGNALS)
    assert isinstance(found, Choice) and found.target.key == "client:mobile"


@pytest.mark.parametrize(
    ("suspects", "reason"),
    [
        ((Suspect(node="checkout-2", metric="m", score=0.3, reason="r"),), "it needs 0.50"),
        (
            (
                Suspect(node="payment", metric="m", score=0.9, reason="r"),
                Suspect(node="checkout-2", metric="m", score=0.8, reason="r"),
            ),
            "first suspect payment is no instance",
        ),
        ((), "exactly 1"),
        ((Suspect(node="checkout-2", metric="m", score=0.9, reason="r", is_alerted=False),), "metrics alone"),
    ],
)
def test_weak_or_other_evidence_leads_to_no_plan_with_the_reason(suspects: tuple[Suspect, ...], reason: str) -> None:
    found = choose([ISOLATE], replace(INCIDENT, suspects=suspects), [], CATALOG, SIGNALS)
    assert isinstance(found, NoChoice) and reason in found.reasons[0]


def test_a_playbook_is_not_chosen_when_users_cannot_show_its_recovery() -> None:
    hidden = {SIGNAL.name: replace(SIGNAL, is_user_facing=False)}
    found = choose([ISOLATE], INCIDENT, [], CATALOG, hidden)
    assert isinstance(found, NoChoice) and "not user facing" in found.reasons[0]


@pytest.mark.parametrize(
    ("service", "name", "text"), [("chekout", "x", "not configured"), ("checkout", "payment-1", "no instance of")]
)
def test_a_target_that_is_not_configured_is_named_with_what_is(service: str, name: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        named_target(ISOLATE, service, name, CATALOG)


def _zoned(*zones: str | None) -> Service:
    servers = [replace(server, zone=zone) for server, zone in zip(SERVERS, zones, strict=True)]
    return replace(CHECKOUT, instances=tuple(servers))


DRAIN_ZONE = replace(ISOLATE, name="drain-zone", target_kind="zone")
TROUBLE = ({"instance": "checkout-1"}, {"instance": "checkout-2"})


def test_in_a_zone_a_step_is_done_for_each_instance_side_by_side() -> None:
    service = _zoned("a", "a", "b")
    target = named_target(DRAIN_ZONE, "checkout", "a", Catalog(services={"checkout": service}))
    plan = _plan(DRAIN_ZONE, target)
    assert [step.target for step in plan.steps] == ["be/checkout-1", "be/checkout-2"]
    assert plan.stages == ((1, 2),) and plan.target == "zone:checkout/a"
    assert plan.blast_radius.instances == ("checkout-1", "checkout-2")
    assert plan.blast_radius.capacity_left == pytest.approx(1 / 3)


def test_stages_follow_with_previous() -> None:
    after = StepTemplate(actuator="haproxy", action="isolate", target="be/checkout-3")
    book = replace(DRAIN_ZONE, steps=(*DRAIN_ZONE.steps, after, replace(after, with_previous=True)))
    target = named_target(book, "checkout", "a", Catalog(services={"checkout": _zoned("a", "a", "b")}))
    plan = _plan(book, target)
    assert plan.stages == ((1, 2), (3, 4))
    alone = replace(plan, steps=(*plan.steps[:3], replace(plan.steps[3], with_previous=False)))
    assert alone.stages == ((1, 2), (3,), (4,)) and plan_hash(alone) != plan_hash(plan)


@pytest.mark.parametrize(
    ("zones", "alerts", "said"),
    [
        (("a", "a", "b"), TROUBLE, "zone:checkout/a"),
        (("a", "b", "b"), TROUBLE, "all in one zone"),
        ((None, None, None), TROUBLE, "all in one zone"),
        (("a", "a", "a"), TROUBLE, "checkout-3 of checkout is well"),
        (("a", "b", "b"), TROUBLE[:1], "it needs 2 or more"),
    ],
)
def test_a_zone_is_drained_only_when_all_of_it_and_nothing_else_is_in_trouble(
    zones: tuple[str | None, ...], alerts: tuple[dict[str, str], ...], said: str
) -> None:
    incident = replace(INCIDENT, service="checkout", suspects=())
    found = choose([DRAIN_ZONE], incident, alerts, Catalog(services={"checkout": _zoned(*zones)}), SIGNALS)
    assert said in (found.target.key if isinstance(found, Choice) else found.reasons[0])


def test_an_unknown_zone_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match="'c' is no zone of checkout; its zones are a, b"):
        named_target(DRAIN_ZONE, "checkout", "c", Catalog(services={"checkout": _zoned("a", "a", "b")}))


@pytest.mark.parametrize("text", ["{target.__class__}", "{0}", "{server!r}", "{client}"])
def test_nothing_but_names_is_read_from_a_step(text: str) -> None:
    """Format strings can reach into objects; a playbook's text cannot."""
    book = replace(ISOLATE, steps=(replace(ISOLATE.steps[0], target=text),))
    with pytest.raises(InvalidInput, match="is unknown; known are target, service, instance, server"):
        _plan(book, named_target(book, "checkout", "checkout-2", CATALOG))
