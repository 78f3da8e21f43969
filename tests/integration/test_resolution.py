"""Resolution on a real git repository: a load balancer that obeys HAProxy's rules, counters that follow the file."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from quell.adapters.guards import check_file, load_guards
from quell.incidents.errors import Refused, Unavailable
from quell.incidents.fix import FixState
from quell.incidents.incident import IncidentState
from quell.incidents.mitigation import (
    MitigationState,
    Step,
)
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog
from quell.incidents.timeline import verify_chain
from quell.resolution.canary import CanaryVerdict
from tasks.automation import set_automation
from tasks.guards import guard_records, guards_waiting, note_acceptance
from tasks.resolution import (
    apply_fix_of,
    close_of,
    judge_fix_of,
    prepare_fix_of,
    promote_fix_of,
    reconcile_fixes,
    roll_back_of,
)
from tasks.resources import Resources
from tests.resolution_world import (
    BAD,
    FILE,
    GOOD,
    SERVER,
    SERVERS,
    START,
    STEP,
    World,
    add_incident,
    git,
    make_resources,
    make_world,
    save,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def res(world: World) -> Resources:
    return make_resources(world)


@pytest.fixture
def incident(res: Resources, world: World) -> str:
    return add_incident(res, world)


def state_of(res: Resources, incident: str) -> IncidentState:
    with res.store.reading() as tx:
        found = tx.incidents.get(incident)
    assert found
    return found.state


def prepared(res: Resources, incident: str) -> str:
    fix = prepare_fix_of(res, incident)
    assert fix is not None and fix.state is FixState.VALIDATED
    return fix.id


def test_a_fix_goes_from_commit_to_resolved_and_every_step_is_on_the_timeline(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    assert (world.folder / FILE).read_text() == BAD, "a prepared fix changes nothing that is deployed"
    applied = apply_fix_of(res, fix)
    assert (world.folder / FILE).read_text() == GOOD and applied.fix_commit == git(world.folder, "rev-parse", "HEAD")
    result = judge_fix_of(res, fix, sleep=world.sleep)
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "22"}
    share = result.canary.requests / (result.canary.requests + result.control.requests)
    assert share == pytest.approx(0.1, abs=0.02)
    promote_fix_of(res, fix, result.reason)
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}
    assert close_of(res, fix, sleep=world.sleep).state is IncidentState.RESOLVED
    with res.store.reading() as tx:
        kinds = [entry.kind for entry in tx.timeline.of(incident)]
        assert verify_chain(tx.timeline.entries()) == []
        mitigation = tx.mitigations.get("MIT-1")
    assert mitigation and mitigation.state is MitigationState.UNDONE
    expected = [
        "fix proposed",
        "incident resolving",
        "fix validated",
        "fix applying",
        "fix applied",
        "fix canary",
        "canary promote",
        "fix promoted",
        "mitigation undone",
        "incident resolved",
    ]
    assert [kind for kind in kinds if kind in expected] == expected


def test_an_instance_that_was_contained_by_a_lower_weight_gets_its_old_one(
    res: Resources, world: World, incident: str
) -> None:
    with res.store.writing() as tx:
        mitigation, entry = tx.mitigations.get("MIT-1"), tx.journal.get("MIT-1/1")
        assert mitigation and entry
        step = replace(STEP, action="weight", params={"weight": 10})
        tx.mitigations.put(replace(mitigation, plan=replace(mitigation.plan, steps=(step,))))
        tx.journal.put(replace(entry, step=step))
    world.balancer.states[SERVER] = {"admin_state": "ready", "weight": "10"}
    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    assert judge_fix_of(res, fix, sleep=world.sleep).verdict is CanaryVerdict.PROMOTE
    promote_fix_of(res, fix, "well")
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}


def serving(res: Resources, world: World) -> str:
    """An incident that nothing contains: the instance with the mistake serves as the others do."""
    with res.store.writing() as tx:
        mitigation = tx.mitigations.get("MIT-1")
        assert mitigation
        tx.mitigations.put(replace(mitigation, state=MitigationState.UNDONE, updated_at=START - timedelta(hours=1)))
    world.balancer.states[SERVER] = {"admin_state": "ready", "weight": "100"}
    return "INC-1"


def test_an_instance_that_serves_is_out_of_the_traffic_while_its_fix_is_put_into_force(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, serving(res, world))
    apply_fix_of(res, fix)
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "0"}
    result = judge_fix_of(res, fix, sleep=world.sleep)
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    promote_fix_of(res, fix, result.reason)
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}


def test_a_bad_fix_of_an_instance_that_serves_gets_no_requests_until_git_and_what_runs_are_as_before(
    res: Resources, world: World, incident: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix = prepared(res, serving(res, world))
    apply_fix_of(res, fix)
    world.broken_anyway = True
    result = judge_fix_of(res, fix, sleep=world.sleep)
    assert result.verdict is CanaryVerdict.REVERT
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "0"}
    seen: list[str] = []
    undo = world.balancer.undo

    def undo_and_look(step: Step, state_before: Mapping[str, str]) -> None:
        seen.append((world.folder / FILE).read_text())
        undo(step, state_before)

    monkeypatch.setattr(world.balancer, "undo", undo_and_look)
    roll_back_of(res, fix, result.reason)
    assert seen == [BAD] and world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}


def test_an_instance_that_cannot_be_spared_is_reloaded_where_it_is(res: Resources, world: World, incident: str) -> None:
    fix = prepared(res, serving(res, world))
    world.balancer.states[SERVERS[0]]["admin_state"] = world.balancer.states[SERVERS[2]]["admin_state"] = "maint"
    apply_fix_of(res, fix)
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}


def test_the_guard_in_the_fix_fails_on_the_bad_file_and_passes_on_the_good_ones(
    res: Resources, world: World, incident: str
) -> None:
    fix = apply_fix_of(res, prepared(res, incident))
    assert fix.guard == "guards/checkout-payment-timeout-ms.yaml"
    assert fix.guard in git(world.folder, "show", "--name-only", "--format=", fix.fix_commit or "")
    guards = load_guards(world.folder / "guards")
    for n in (1, 2, 3):
        assert check_file(guards, world.folder, world.folder / f"services/checkout-{n}.yaml") == ()
    (world.folder / "services/checkout-3.yaml").write_text(BAD)
    (finding,) = check_file(guards, world.folder, world.folder / "services/checkout-3.yaml")
    assert str(finding).startswith("services/checkout-3.yaml:1: payment_timeout_ms: 5 is less than the minimum of 63")
    assert "INC-1" in str(finding)


def test_both_proofs_are_stored_and_the_guard_waits_for_a_person(res: Resources, world: World, incident: str) -> None:
    fix = apply_fix_of(res, prepared(res, incident))
    with res.store.reading() as tx:
        (record,) = guard_records(tx, incident)
        assert guards_waiting(tx, incident) == ("checkout-payment-timeout-ms",)
    assert record.bad == f"{fix.bad_commit}:{FILE}" and record.said.startswith(f"{FILE}:1: payment_timeout_ms: 5")
    assert record.passed == tuple(f"services/checkout-{n}.yaml" for n in (1, 2, 3))
    assert (record.state, record.fix, record.file) == ("proposed", fix.id, fix.guard)

    accepted = note_acceptance(res, record.name, "dana", is_edited=True, commit="c0ffee")
    assert accepted and accepted.accepted_at == world.now
    with res.store.reading() as tx:
        assert guards_waiting(tx, incident) == ()
        last = list(tx.timeline.of(incident))[-1]
    assert (last.kind, last.by) == ("guard accepted", "dana") and "after editing" in last.text
    assert note_acceptance(res, "written-by-people", "dana", is_edited=False, commit="c0ffee") is None


def test_a_fix_that_would_break_a_guard_of_an_older_incident_is_not_made(
    res: Resources, world: World, incident: str
) -> None:
    """The common guards of the configuration folder count too; here it is the repository's own."""
    guard = "name: old\nincident: INC-0\nfiles: services/*.yaml\nmessage: never more than 700\n"
    schema = "schema: {properties: {payment_timeout_ms: {maximum: 700}}}\n"
    save(world.folder, {"guards/old.yaml": guard + schema}, "an older guard")
    assert prepare_fix_of(res, incident) is None
    with res.store.reading() as tx:
        texts = [entry.text for entry in tx.timeline.of(incident)]
    assert any("the mended file breaks a guard" in text and "INC-0" in text for text in texts)


def test_a_bad_canary_leaves_git_and_production_as_before_and_the_incident_to_a_person(
    res: Resources, world: World, incident: str
) -> None:
    world.broken_anyway = True
    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    result = judge_fix_of(res, fix, sleep=world.sleep)
    assert result.verdict is CanaryVerdict.REVERT and world.now - START < timedelta(seconds=15)
    after = roll_back_of(res, fix, result.reason)
    assert after.state is FixState.REVERTED
    assert world.balancer.states[SERVER] == {"admin_state": "drain", "weight": "100"}
    assert (world.folder / FILE).read_text() == BAD and not (world.folder / "guards").exists()
    assert git(world.folder, "status", "--porcelain") == ""
    assert state_of(res, incident) is IncidentState.CONTAINED
    with res.store.reading() as tx:
        assert "handed to a person" in [entry.kind for entry in tx.timeline.of(incident)]
        assert guards_waiting(tx, incident) == (), "the guard went with the fix"


def test_without_traffic_the_canary_is_inconclusive(res: Resources, world: World, incident: str) -> None:
    world.rate = 0.5
    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    assert judge_fix_of(res, fix, sleep=world.sleep).verdict is CanaryVerdict.INCONCLUSIVE


def test_users_that_are_not_well_keep_the_incident_from_being_resolved(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    promote_fix_of(res, fix, judge_fix_of(res, fix, sleep=world.sleep).reason)
    world.user_error_ratio = 0.3
    assert close_of(res, fix, sleep=world.sleep).state is IncidentState.TRIAGED


def test_each_step_may_be_run_again(res: Resources, world: World, incident: str) -> None:
    fix = prepared(res, incident)
    again = prepare_fix_of(res, incident)
    assert again and again.id == fix
    apply_fix_of(res, fix)
    head = git(world.folder, "rev-parse", "HEAD")
    apply_fix_of(res, fix)
    assert git(world.folder, "rev-parse", "HEAD") == head
    judge_fix_of(res, fix, sleep=world.sleep)
    result = judge_fix_of(res, fix, sleep=world.sleep)
    promote_fix_of(res, fix, result.reason)
    promote_fix_of(res, fix, result.reason)
    assert judge_fix_of(res, fix, sleep=world.sleep).verdict is CanaryVerdict.PROMOTE
    assert world.balancer.states[SERVER] == {"admin_state": "ready", "weight": "100"}
    assert close_of(res, fix, sleep=world.sleep).state is IncidentState.RESOLVED


def test_a_canary_whose_process_died_is_drained_again(res: Resources, world: World, incident: str) -> None:
    """The weight was set and the server made ready; then kill -9."""

    def die(_seconds: float) -> None:
        raise KeyboardInterrupt

    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    with pytest.raises(KeyboardInterrupt):
        judge_fix_of(res, fix, sleep=die)
    assert world.balancer.states[SERVER]["admin_state"] == "ready"
    assert reconcile_fixes(res) == [], "somebody may still be at it"
    world.now += timedelta(seconds=60)
    assert reconcile_fixes(res) == [f"{fix} was canary and is taken back"]
    assert world.balancer.states[SERVER] == {"admin_state": "drain", "weight": "100"}
    assert (world.folder / FILE).read_text() == BAD and state_of(res, incident) is IncidentState.CONTAINED
    assert reconcile_fixes(res) == []


def test_a_branch_that_moved_on_is_built_upon(res: Resources, world: World, incident: str) -> None:
    fix = prepared(res, incident)
    save(world.folder, {"services/other.yaml": "x: 1\n"}, "somebody else's work")
    assert apply_fix_of(res, fix).state is FixState.VALIDATED
    assert (world.folder / FILE).read_text() == GOOD and (world.folder / "services/other.yaml").exists()


def test_a_conflict_hands_over_and_changes_nothing(res: Resources, world: World, incident: str) -> None:
    later = save(world.folder, {FILE: BAD.replace(": 5", ": 7")}, "somebody tries another value")
    assert prepare_fix_of(res, incident) is None
    assert git(world.folder, "rev-parse", "HEAD") == later and git(world.folder, "status", "--porcelain") == ""
    assert state_of(res, incident) is IncidentState.CONTAINED


def test_an_undone_file_that_the_validator_refuses_is_never_merged(res: Resources, world: World, incident: str) -> None:
    service = res.config.catalog.services["checkout"]
    assert service.repository
    strict = replace(service, repository=replace(service.repository, validate=("false",)))
    config = replace(res.config, catalog=Catalog(services={"checkout": strict}))
    head = git(world.folder, "rev-parse", "HEAD")
    assert prepare_fix_of(replace(res, config=config), incident) is None
    assert git(world.folder, "rev-parse", "HEAD") == head
    with res.store.reading() as tx:
        (fix,) = tx.fixes.find()
    assert fix.state is FixState.REVERTED and "validator refuses" in fix.canary_result


def test_a_reload_that_fails_takes_the_fix_back(res: Resources, world: World, incident: str) -> None:
    service = res.config.catalog.services["checkout"]
    assert service.repository
    broken = replace(service, repository=replace(service.repository, reload=("false",)))
    config = replace(res.config, catalog=Catalog(services={"checkout": broken}))
    fix = prepared(res, incident)
    after = apply_fix_of(replace(res, config=config), fix)
    assert after.state is FixState.REVERTED and (world.folder / FILE).read_text() == BAD
    assert state_of(res, incident) is IncidentState.CONTAINED


def test_the_kill_switch_stops_the_next_step(res: Resources, world: World, incident: str) -> None:
    fix = prepared(res, incident)
    set_automation(res, False, "alice", "drill")
    with pytest.raises(Refused, match="switched off"):
        apply_fix_of(res, fix)
    assert (world.folder / FILE).read_text() == BAD
    roll_back_of(res, fix, "undo always works")
    assert state_of(res, incident) is IncidentState.CONTAINED


def test_a_guard_that_a_good_peer_would_break_covers_only_its_own_file(
    res: Resources, world: World, incident: str
) -> None:
    save(world.folder, {"services/checkout-3.yaml": GOOD.replace("800", "20")}, "checkout-3 may be fast")
    apply_fix_of(res, prepared(res, incident))
    (guard,) = load_guards(world.folder / "guards")
    assert guard.files == FILE
    assert yaml.safe_load((world.folder / "guards" / Path(guard.source).name).read_text())["incident"] == "INC-1"


def test_a_metric_source_that_is_away_proves_nothing(res: Resources, world: World, incident: str) -> None:
    def away(query: str, *, at: datetime | None = None) -> SeriesMatrix:
        raise Unavailable("prometheus is away")

    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    world.instant = away  # type: ignore[method-assign]
    assert judge_fix_of(res, fix, sleep=world.sleep).verdict is CanaryVerdict.INCONCLUSIVE
