"""A drill is scored by what was seen of the world, not by what Quell says of itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.drill import Drill, Mark
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Recovery, Step
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.suspect import Suspect
from quell.prevention.drill import Glance, Seen, differences, floor_crossed, score, strike_of, unsteady

pytestmark = pytest.mark.unit
T0 = datetime(2026, 11, 27, 3, tzinfo=UTC)
CATALOG = Catalog(
    services={
        "api": Service(
            name="api", team="t", instances=tuple(Instance(name=f"api-{n}", service="api") for n in range(1, 4))
        )
    }
)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.RESOLVED,
    severity=Severity.MAJOR,
    title="api-2 fails",
    service="api",
    onset_at=T0,
    opened_at=at(5),
    updated_at=at(90),
    resolved_at=at(90),
    opened_because="test",
    opened_by="sweep",
    suspects=(Suspect(node="api-2", metric="errors", score=0.9, reason="it fails"),),
)
PLAN = Plan(
    playbook="isolate",
    incident="INC-1",
    target="api-2",
    steps=(Step(actuator="haproxy", action="isolate", target="be/api-2"),),
    undo=("ready",),
    blast_radius=BlastRadius(service="api", instances=("api-2",), capacity_share=0.33, capacity_left=0.67),
    evidence=(),
    needs_approval=False,
    approval_reason="",
    expires_after=timedelta(hours=1),
)
MITIGATION = Mitigation(
    id=MitigationId("MIT-1"),
    state=MitigationState.UNDONE,
    plan=PLAN,
    plan_hash="",
    incident="INC-1",
    playbook="isolate",
    service="api",
    target="api-2",
    requested_by="quell",
    created_at=at(6),
    updated_at=at(60),
    applied_at=at(7),
    recovery=Recovery.EFFECTIVE,
    recovery_reason="users are well",
)
GOOD = Seen(
    strike=strike_of("errors", "instance", {"instance": "api-2"}),
    began_at=T0,
    detected_at=at(5),
    touched=(INCIDENT,),
    mitigations=(MITIGATION,),
    glances=(Glance(at=at(8), capacity={"api": 0.67}, requests=100, errors=3),),
    floors={"api": 0.5},
)


def marks(seen: Seen) -> dict[str, Mark]:
    return {name: part.mark for name, part in score(seen, CATALOG).items()}


def test_a_drill_in_which_everything_went_well_says_when() -> None:
    parts = score(GOOD, CATALOG)
    assert set(marks(GOOD).values()) == {Mark.YES}
    assert [parts[name].seconds for name in ("detected", "contained", "resolved")] == [5, 7, 90]
    assert parts["harmless"].words == "least capacity 67% of api; users: 3 errors of 100 requests"


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("detected", {"detected_at": None, "touched": ()}),
        ("grouped", {"touched": (INCIDENT, replace(INCIDENT, id=IncidentId("INC-2")))}),
        ("suspect", {"touched": (replace(INCIDENT, suspects=(replace(INCIDENT.suspects[0], node="api-1"),)),)}),
        ("suspect", {"touched": (replace(INCIDENT, suspects=()),)}),
        ("contained", {"mitigations": (replace(MITIGATION, recovery=Recovery.INEFFECTIVE),)}),
        ("harmless", {"glances": (Glance(at=at(8), capacity={"api": 0.33}),)}),
        ("undone", {"mitigations": (replace(MITIGATION, state=MitigationState.UNDO_FAILED),)}),
        ("undone", {"differences": ("be/api-2 serves 0% of its share, before 100%",)}),
        ("resolved", {"touched": (replace(INCIDENT, state=IncidentState.TRIAGED),)}),
    ],
)
def test_each_part_can_fail_alone(part: str, changed: dict[str, object]) -> None:
    assert marks(replace(GOOD, **changed))[part] is Mark.NO  # type: ignore[arg-type]


def test_what_has_no_answer_is_not_asked() -> None:
    nobody = replace(GOOD, mitigations=(), unanswered="no playbook applies")
    assert marks(nobody)["contained"] is marks(nobody)["undone"] is Mark.NOT_ASKED
    surge = replace(GOOD, strike=strike_of("surge", "", {"factor": 4.0}))
    assert marks(surge)["suspect"] is Mark.NOT_ASKED


def test_a_client_is_suspected_by_its_name_among_clients() -> None:
    noisy = strike_of("noisy-client", "client", {"client": "importer"})
    flood = replace(INCIDENT.suspects[0], node="client:importer")
    accused = replace(GOOD, strike=noisy, touched=(replace(INCIDENT, suspects=(flood,)),))
    assert marks(accused)["suspect"] is Mark.YES
    assert marks(replace(GOOD, strike=noisy))["suspect"] is Mark.NO


def test_what_is_detected_too_late_or_answered_by_nobody_without_a_word_is_missed() -> None:
    late = replace(GOOD, detect_within=timedelta(seconds=1))
    assert marks(late)["detected"] is Mark.NO
    silent = replace(GOOD, mitigations=(), unanswered="")
    assert marks(silent)["contained"] is Mark.NO


def test_of_a_service_any_instance_is_the_right_suspect() -> None:
    assert marks(replace(GOOD, strike=strike_of("down", "service", {"service": "api"})))["suspect"] is Mark.YES


def test_a_service_that_the_fault_itself_takes_down_is_no_harm_of_quell() -> None:
    down = (Glance(at=at(8), capacity={"api": 0.0}),)
    assert marks(replace(GOOD, glances=down))["harmless"] is Mark.NO
    strike = strike_of("down", "service", {"service": "api"})
    assert marks(replace(GOOD, glances=down, strike=strike))["harmless"] is Mark.YES


def test_an_aborted_drill_is_not_passed() -> None:
    drill = Drill(
        id="DRILL-1",
        strike=GOOD.strike,
        began_at=T0,
        ended_at=at(90),
        by="ann",
        incident="INC-1",
        aborted="",
        parts=score(GOOD, CATALOG),
    )
    assert drill.is_passed and drill.sentence == "DRILL-1, errors on api-2: passed"
    early = replace(drill, aborted="33% of api serves, its floor is 50%")
    assert not early.is_passed and "aborted" in early.sentence


def test_no_drill_begins_where_anything_is_wrong() -> None:
    fine = {"firing": [], "open_incidents": [], "holding": [], "capacity": {"api": 1.0}, "active_faults": []}
    assert unsteady(**fine, error_share=0.0) == []  # type: ignore[arg-type]
    assert unsteady(**fine, error_share=None) == ["no user's request was seen"]  # type: ignore[arg-type]
    assert unsteady(**{**fine, "capacity": {"api": 0.5}}, error_share=0.01) == [  # type: ignore[arg-type]
        "api serves 50% of its capacity",
        "1.0% of the users' requests fail",
    ]


def test_the_floor_and_differences_are_told_with_their_figures() -> None:
    assert floor_crossed(Glance(at=T0, capacity={"api": 0.49}), {"api": 0.5}) == "49% of api serves, its floor is 50%"
    assert floor_crossed(Glance(at=T0, capacity={"api": 0.5}), {"api": 0.5}) == ""
    assert differences({"be/a": 1.0}, {}) == ("be/a serves 0% of its share, before 100%",)
