"""A fix waits for the owner of its service: who may say yes, to which diff, until when, and what happens without."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from quell.incidents.decision import Person
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Refused
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentState
from quell.response.fix_approval import FixPolicy
from tasks.approval import decide
from tasks.fix_approval import fix_question_of
from tasks.forms import FixRequest
from tasks.question import is_answered_elsewhere, question_about
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
from tests.resolution_world import BAD, FILE, GOOD, START, World, add_incident, git, make_resources, make_world, save

pytestmark = pytest.mark.integration

SECRETS = {name: pyotp.random_base32() for name in ("alice", "bob", "carol", "erin")}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def res(world: World, tmp_path: Path) -> Resources:
    return resources_of(world, tmp_path)


def resources_of(world: World, tmp_path: Path) -> Resources:
    """alice and erin are approvers of the team that owns checkout, bob of another, carol only looks."""
    teams = {"alice": "shop", "bob": "platform", "carol": "shop", "erin": "shop"}
    people = {}
    for name, team in teams.items():
        (tmp_path / name).write_text(SECRETS[name])
        roles = ("analyst",) if name == "carol" else ("approver",)
        people[name] = Person(name=name, full_name=name, team=team, roles=roles, totp_secret=f"file:{tmp_path / name}")
    made = make_resources(world)
    return replace(made, config=replace(made.config, people=people, fixes=FixPolicy(deadline=timedelta(hours=1))))


@pytest.fixture
def incident(res: Resources, world: World) -> str:
    return add_incident(res, world)


def prepared(res: Resources, incident: str, request: FixRequest | None = None) -> Fix:
    fix = prepare_fix_of(res, incident, request)
    assert fix is not None and fix.state is FixState.VALIDATED
    return fix


def answer(res: Resources, fix: Fix, person: str, said: str = "approve", *, channel: str = "cli") -> None:
    with res.store.reading() as tx:
        shown = question_about(res, tx, fix.id).plan_hash
    decide(
        res,
        subject=fix.id,
        plan_hash=shown,
        person=person,
        code=pyotp.TOTP(SECRETS[person]).at(res.clock()),
        answer=said,
        comment="as I read it",
        channel=channel,
    )


def stored(res: Resources, fix: Fix) -> Fix:
    with res.store.reading() as tx:
        found = tx.fixes.get(fix.id)
    assert found
    return found


def incident_state(res: Resources, incident: str) -> IncidentState:
    with res.store.reading() as tx:
        found = tx.incidents.get(incident)
    assert found
    return found.state


def request(**given: str) -> FixRequest:
    return FixRequest(**{"requested_by": "carol", "reason": "the bank takes longer today", **given})


def test_nothing_is_put_into_force_before_an_owner_agrees_and_then_it_goes_its_way(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    question = fix_question_of(res, fix.id)
    assert question is not None and question.key == "ask-1" and question.timeout_seconds > 3600
    assert (
        "the undo of" in question.text
        and "alice or erin" in question.text
        and "+payment_timeout_ms: 800" in question.text
    )
    with pytest.raises(Refused, match=rf"{fix.id} waits for a person until .*: quell approve {fix.id}"):
        apply_fix_of(res, fix.id)
    assert (world.folder / FILE).read_text() == BAD and stored(res, fix).state is FixState.VALIDATED
    answer(res, fix, "alice")
    assert fix_question_of(res, fix.id) is None and stored(res, fix).approved_by == "alice"
    apply_fix_of(res, fix.id)
    assert (world.folder / FILE).read_text() == GOOD
    result = judge_fix_of(res, fix.id, sleep=world.sleep)
    promote_fix_of(res, fix.id, result.reason)
    assert close_of(res, fix.id, sleep=world.sleep).state is IncidentState.RESOLVED


@pytest.mark.parametrize(
    ("person", "rule"), [("bob", "owner"), ("carol", "role")], ids=["of another team", "without the role"]
)
def test_who_does_not_own_the_service_cannot_approve(res: Resources, incident: str, person: str, rule: str) -> None:
    fix = prepared(res, incident)
    with pytest.raises(Refused) as error:
        answer(res, fix, person)
    assert error.value.rule == rule
    assert fix_question_of(res, fix.id) is not None


def test_whoever_asked_cannot_approve_and_another_approver_may_where_the_team_has_no_other(
    res: Resources, incident: str
) -> None:
    only = {name: person for name, person in res.config.people.items() if name != "erin"}
    res = replace(res, config=replace(res.config, people=only))
    fix = prepared(res, incident, request(requested_by="alice", place="checkout-2", key="retries", value="2"))
    with pytest.raises(Refused) as error:
        answer(res, fix, "alice")
    assert error.value.rule == "four eyes"
    answer(res, fix, "bob")
    assert stored(res, fix).approved_by == "bob"


def test_a_refusal_takes_the_fix_back_and_leaves_the_incident_to_a_person(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    answer(res, fix, "bob", "refuse")  # no is no, whoever may decide at all says it
    ended = apply_fix_of(res, fix.id)
    assert ended.state is FixState.REVERTED and ended.canary_result == "bob refused it: as I read it"
    assert (world.folder / FILE).read_text() == BAD
    assert incident_state(res, incident) is IncidentState.CONTAINED


def test_one_that_waits_is_left_by_nobody_and_one_that_nobody_answers_in_time_is_taken_back(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    world.now = START + timedelta(minutes=59)
    assert reconcile_fixes(res) == [] and stored(res, fix).state is FixState.VALIDATED
    world.now = START + timedelta(minutes=61)
    assert reconcile_fixes(res) == [f"{fix.id} was validated and is taken back"]
    assert stored(res, fix).canary_result == "nobody approved it until 2026-11-23 13:00 UTC"
    assert incident_state(res, incident) is IncidentState.CONTAINED


def test_an_approved_one_whose_run_never_came_is_taken_back_and_so_is_one_that_died_while_applying(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    answer(res, fix, "alice")
    world.now = START + timedelta(minutes=5)  # its run may still be on the way
    assert reconcile_fixes(res) == []
    world.now = START + timedelta(minutes=71)
    assert reconcile_fixes(res) == [f"{fix.id} was validated and is taken back"]
    assert "not carried out within 10 min" in stored(res, fix).canary_result
    again = prepared(res, incident)
    answer(res, again, "erin")
    with res.store.writing() as tx:
        tx.fixes.put(replace(stored(res, again), applying_since=world.now, updated_at=world.now))
    world.now += timedelta(seconds=60)
    assert reconcile_fixes(res) == [f"{again.id} was validated and is taken back"]


def test_another_diff_than_the_approved_one_is_never_applied(res: Resources, world: World, incident: str) -> None:
    fix = prepared(res, incident, request(place="checkout-2", key="retries", value="2"))
    answer(res, fix, "alice")
    save(world.folder, {FILE: BAD.replace("retries: 1", "retries: 3")}, "checkout-2: more retries")
    ended = apply_fix_of(res, fix.id)
    assert ended.state is FixState.REVERTED
    assert "would be another diff than alice approved" in ended.canary_result
    assert "retries: 3" in (world.folder / FILE).read_text(), "what a person committed stays"


def test_a_branch_that_moved_on_elsewhere_leaves_the_approval_as_it_was(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident)
    answer(res, fix, "alice")
    save(world.folder, {"README.md": "the shop\n"}, "say what this is")
    assert apply_fix_of(res, fix.id).fix_commit == git(world.folder, "rev-parse", "HEAD")
    assert (world.folder / FILE).read_text() == GOOD


def test_a_value_is_set_on_a_branch_with_its_guard_and_a_message_that_says_who_and_why(
    res: Resources, world: World, incident: str
) -> None:
    fix = prepared(res, incident, request(place="checkout-2", key="payment_timeout_ms", value="900"))
    assert "+payment_timeout_ms: 900" in fix.diff and "-payment_timeout_ms: 5" in fix.diff
    assert fix.guard and "fails on the bad file" in fix.guard_proof
    answer(res, fix, "erin", channel="page")
    with res.store.reading() as tx:
        assert is_answered_elsewhere(res, tx, fix.id), "its run has to be woken"
    apply_fix_of(res, fix.id)
    assert (world.folder / FILE).read_text() == GOOD.replace("800", "900")
    message = git(world.folder, "log", "-1", "--format=%B")
    assert "checkout-2: set payment_timeout_ms = 900" in message and "Asked for by carol." in message
    assert "the bank takes longer today" in message and f"Fix: {fix.id}" in message and "Incident: INC-1" in message
    assert judge_fix_of(res, fix.id, sleep=world.sleep).verdict == "promote"
    roll_back_of(res, fix.id, "carol: it is not the cause")
    assert (world.folder / FILE).read_text() == BAD, "taking it back is one act"


def test_a_commit_of_ones_choice_is_undone(res: Resources, world: World, incident: str) -> None:
    bad = git(world.folder, "rev-parse", "HEAD")
    fix = prepared(res, incident, request(place="checkout-2", commit=bad[:10]))
    assert fix.bad_commit == bad and fix.requested_by == "carol" and fix.approval_deadline is not None


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (
            {"place": "checkout-2", "key": "retriez", "value": "2"},
            InvalidInput,
            r'checkout-2.yaml: retriez: .*"retries"',
        ),
        ({"place": "checkout-9", "key": "retries", "value": "2"}, InvalidInput, '"checkout-9" is not defined; did you'),
        ({"key": "retries", "value": "2"}, InvalidInput, "checkout has no file of its own .*: name one of checkout-1"),
        ({"place": "checkout-2"}, InvalidInput, "key and commit: neither given"),
        ({"place": "checkout-2", "key": "a", "commit": "b"}, InvalidInput, "key and commit: both given"),
        ({"place": "checkout-1", "commit": "HEAD"}, InvalidInput, "did not change services/checkout-1.yaml"),
        ({"place": "checkout-2", "commit": "feedc0de"}, NotFound, "feedc0de"),
        ({"place": "checkout-2", "key": "retries", "value": "2", "reason": ""}, InvalidInput, "reason is empty"),
        ({"place": "checkout-2", "key": "retries", "value": "2", "requested_by": " "}, InvalidInput, "requested_by"),
    ],
)
def test_what_cannot_be_asked_for_is_told_and_nothing_of_it_is_kept(
    res: Resources, incident: str, given: dict[str, str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        prepare_fix_of(res, incident, request(**given))
    with res.store.reading() as tx:
        assert not tx.fixes.find() and not [e for e in tx.timeline.of(incident) if e.kind.startswith("fix")]
    assert incident_state(res, incident) is IncidentState.CONTAINED


def test_while_one_fix_is_in_the_making_another_is_refused_and_the_same_goes_on(res: Resources, incident: str) -> None:
    wanted = request(place="checkout-2", key="retries", value="2")
    fix = prepared(res, incident, wanted)
    assert prepared(res, incident, wanted).id == fix.id, "a run that comes back from waiting gives it again"
    with pytest.raises(Conflict, match=rf"{fix.id} of INC-1 is validated: .*quell fix revert {fix.id}"):
        prepare_fix_of(res, incident, request(place="checkout-2", key="retries", value="3"))


def test_an_incident_that_is_over_takes_no_fix(res: Resources, incident: str) -> None:
    with res.store.writing() as tx:
        found = tx.incidents.get(incident)
        assert found
        tx.incidents.put(replace(found, state=IncidentState.CLOSED))
    with pytest.raises(Conflict, match="INC-1 is closed"):
        prepare_fix_of(res, incident, request(place="checkout-2", key="retries", value="2"))
