"""A fix of a service whose instances all read one file, on a real HAProxy, a real repository and real processes."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest

from benchmarks.colour_ground import FILE, committed
from benchmarks.fix_ground import INSTANCES, Ground, git, reload, set_key
from benchmarks.pilot_ground import (
    PILOT,
    begin,
    cut_off,
    deploy,
    join,
    pilot_ground_of,
    pilot_resources,
    runs_of,
    servers_of,
)
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.errors import Refused
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentState
from quell.incidents.mitigation import MitigationState
from quell.incidents.timeline import verify_chain
from quell.resolution.canary import CanaryPolicy, CanaryVerdict
from tasks.automation import set_automation
from tasks.drift import look_for_drift
from tasks.fix import get_fix
from tasks.keeping import keep_in_force
from tasks.lane_journal import CANARY
from tasks.lease import hold
from tasks.pilot import take_out
from tasks.record import get_incident, get_mitigation
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
from tests.shop_users import Users, asking, seen, traffic

pytestmark = pytest.mark.integration

BAD, GOOD = "payment_timeout_ms: 5", "payment_timeout_ms: 800"
FULL = ("ready", 100)
ALL_SERVE = dict.fromkeys(INSTANCES, FULL)
REST = [name for name in INSTANCES if name != PILOT]
QUICK = CanaryPolicy(window=timedelta(0), minimum_requests=8, margin=0.4, deadline=timedelta(seconds=30))


@pytest.fixture
def ground(tmp_path: Path) -> Generator[Ground]:
    with pilot_ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        yield ground


@contextmanager
def slow_request(ground: Ground) -> Iterator[threading.Event]:
    """One that takes a second; the event is set once it is answered."""
    is_answered = threading.Event()
    connection = HTTPConnection("127.0.0.1", ground.port, timeout=10)
    connection.request("GET", "/slow")

    def wait() -> None:
        connection.getresponse().read()
        is_answered.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    client, deadline = RuntimeClient(ground.socket, timedelta(seconds=5)), time.monotonic() + 5
    while not client.running([f"be_shop/{PILOT}"])[f"be_shop/{PILOT}"]:
        assert time.monotonic() < deadline, "it has not arrived"
    yield is_answered
    waiter.join()
    connection.close()


def applied(ground: Ground, *, drained: str = "", can_tell: bool = True) -> tuple[Resources, Fix]:
    """The mistake serves everywhere; the fix is in force on the pilot, and nothing more."""
    res = pilot_resources(ground, can_tell=can_tell)
    fix = prepare_fix_of(res, begin(ground, res, drained=drained))
    assert fix is not None
    return res, apply_fix_of(res, fix.id)


def promoted(ground: Ground, *, drained: str = "", can_tell: bool = True) -> tuple[Resources, Fix]:
    res, fix = applied(ground, drained=drained, can_tell=can_tell)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    return res, promote_fix_of(res, fix.id, result.reason)


def later(ground: Ground, seconds: float = 60.0) -> Resources:
    return pilot_resources(replace(ground, later=seconds))


def stored(res: Resources, fix: Fix) -> Fix:
    with res.store.reading() as tx:
        return get_fix(tx, fix.id)


def state_of(res: Resources, fix: Fix) -> IncidentState:
    with res.store.reading() as tx:
        return get_incident(tx, fix.incident).state


def told(res: Resources, fix: Fix, kind: str) -> list[str]:
    with res.store.reading() as tx:
        assert verify_chain(tx.timeline.entries()) == []
        return [entry.text for entry in tx.timeline.of(fix.incident) if entry.kind == kind]


def test_one_instance_has_the_fix_and_was_seen_to_be_well_before_any_user_sees_it(ground: Ground) -> None:
    res = pilot_resources(ground)
    proposed = prepare_fix_of(res, begin(ground, res))
    assert proposed is not None
    with traffic(ground) as users:
        fix = apply_fix_of(res, proposed.id)
        before = seen(users, PILOT)
        time.sleep(0.3)
        assert seen(users, PILOT) == before and seen(users, *REST) > 0
    assert (fix.state, fix.pilot, fix.instance) == (FixState.VALIDATED, PILOT, None)
    assert not any(status == 200 for _, status in users), "whoever saw the pilot saw it with the mistake"
    assert runs_of(ground) == {**dict.fromkeys(REST, BAD), PILOT: GOOD} and committed(ground) == GOOD
    assert servers_of(ground) == {**ALL_SERVE, PILOT: ("ready", 0)}
    assert told(res, fix, "pilot chosen") == [
        f"{PILOT} gets the fix first: it is the last that serves, at least 67% of shop goes on serving"
    ]
    assert f"{PILOT} is ready and no user has seen it: /health well 3 times" in told(res, fix, "fix applied")[0]


@pytest.mark.parametrize("can_tell", [True, False])
def test_a_good_fix_is_compared_with_siblings_that_fail_and_then_the_others_follow_one_by_one(
    ground: Ground, can_tell: bool
) -> None:
    res, fix = applied(ground, can_tell=can_tell)
    users = Users()
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground, users))
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    assert 0 < seen(users, PILOT) <= seen(users, *INSTANCES) / 10
    with traffic(ground) as users:
        promote_fix_of(res, fix.id, result.reason)
    assert runs_of(ground) == dict.fromkeys(INSTANCES, GOOD) and servers_of(ground) == ALL_SERVE
    assert users[PILOT, 500] == 0, "it has had the fix for long"
    assert [text.partition(" ")[0] for text in told(res, fix, "instance followed")] == REST
    assert told(res, fix, "pilot serves fully")[0].startswith(f"{PILOT} has the fix and weight 100")
    assert close_of(res, fix.id, sleep=asking(ground)).state is IncidentState.RESOLVED
    assert reconcile_fixes(later(ground)) == [] and servers_of(ground) == ALL_SERVE


def test_a_bad_fix_reaches_a_tenth_of_the_requests_and_the_pilot_serves_again_only_with_what_git_says(
    ground: Ground,
) -> None:
    """It answers its probe well and fails users: what no check before the canary can see."""
    ground.broken(PILOT).write_text("/")
    res, fix = applied(ground)
    users = Users()
    began = time.monotonic()
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground, users, 40))
    assert result.verdict is CanaryVerdict.REVERT, result.reason
    assert 0 < seen(users, PILOT) <= seen(users, *INSTANCES) / 10
    assert servers_of(ground) == {**ALL_SERVE, PILOT: ("ready", 0)}, "it still has the bad fix"
    assert told(res, fix, "canary ended") == [f"{PILOT} gets no requests until git and what it runs have followed"]
    roll_back_of(res, fix.id, result.reason)
    assert time.monotonic() - began < 15
    assert stored(res, fix).state is FixState.REVERTED and stored(res, fix).taking_back == ""
    assert runs_of(ground) == dict.fromkeys(INSTANCES, BAD) and committed(ground) == BAD
    assert servers_of(ground) == ALL_SERVE and git(ground.repository, "status", "--porcelain") == ""


def test_a_pilot_that_does_not_follow_git_keeps_weight_0_until_it_does(ground: Ground) -> None:
    ground.broken(PILOT).write_text("/")
    res, fix = applied(ground)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground, count=40))
    cut_off(ground, PILOT)
    back = roll_back_of(res, fix.id, result.reason)
    assert f"NOT taken back: {PILOT} stays at weight 0: reload of {PILOT} failed" in back.canary_result
    assert committed(ground) == BAD and runs_of(ground)[PILOT] == GOOD
    assert servers_of(ground)[PILOT] == ("ready", 0)
    join(ground, PILOT)
    assert reconcile_fixes(later(ground)) == [f"the rest of {fix.id} is taken back"]
    assert runs_of(ground)[PILOT] == BAD and servers_of(ground) == ALL_SERVE
    assert reconcile_fixes(later(ground, 120)) == []


def test_a_fix_that_does_not_come_up_is_seen_by_nobody(ground: Ground) -> None:
    """Everything fails on the pilot, its probe included."""
    ground.broken(PILOT).touch()
    with traffic(ground) as users:
        res, fix = applied(ground)
        assert servers_of(ground) == ALL_SERVE
    assert fix.state is FixState.REVERTED and f"{PILOT} is not well with the fix" in fix.canary_result
    assert users[PILOT, 200] == 0 and runs_of(ground) == dict.fromkeys(INSTANCES, BAD)
    assert committed(ground) == BAD and told(res, fix, "fix applied") == []


def test_who_contains_the_incident_by_being_out_gets_the_fix_first_and_others_that_are_out_stay_so(
    ground: Ground,
) -> None:
    """A person has taken shop-3 out by hand; shop-1 was isolated by Quell."""
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    client.order("set", "server", "be_shop/shop-3", "state", "drain")
    res, fix = applied(ground, drained="shop-1")
    assert fix.pilot == "shop-1" and "it is out of the traffic already" in told(res, fix, "pilot chosen")[0]
    assert keep_in_force(res) == []
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    promote_fix_of(res, fix.id, result.reason)
    assert runs_of(ground) == dict.fromkeys(INSTANCES, GOOD)
    assert servers_of(ground) == {"shop-1": FULL, "shop-2": FULL, "shop-3": ("drain", 100)}
    assert keep_in_force(res) == []


def test_a_contained_pilot_whose_fix_is_taken_back_is_contained_again(ground: Ground) -> None:
    ground.broken("shop-2").write_text("/")
    res, fix = applied(ground, drained="shop-2")
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground, count=40))
    roll_back_of(res, fix.id, result.reason)
    assert servers_of(ground) == {**ALL_SERVE, "shop-2": ("drain", 100)}
    assert state_of(res, fix) is IncidentState.CONTAINED and keep_in_force(res) == []


def test_an_instance_that_does_not_follow_is_left_to_a_person_with_what_is_where(ground: Ground) -> None:
    """The containment is held, nothing is tried again, and `resolve` goes on once it is put right."""
    res, fix = applied(ground, drained=PILOT)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    cut_off(ground, "shop-2")
    promote_fix_of(res, fix.id, result.reason)
    assert state_of(res, fix) is IncidentState.CONTAINED and stored(res, fix).state is FixState.PROMOTED
    (said,) = told(res, fix, "handed to a person")
    assert "shop-2 did not follow in 3 tries and has its weight back: reload of shop-2 failed" in said
    assert f"with the fix: {PILOT}, shop-1; not known to have it: shop-2" in said
    assert runs_of(ground) == {PILOT: GOOD, "shop-1": GOOD, "shop-2": BAD} and servers_of(ground) == ALL_SERVE
    with res.store.reading() as tx:
        (held,) = tx.mitigations.find({"incident": fix.incident})
    assert held.state is MitigationState.EFFECTIVE and keep_in_force(res) == []
    assert reconcile_fixes(later(ground)) == [] and runs_of(ground)["shop-2"] == BAD

    join(ground, "shop-2")
    again = prepare_fix_of(res, fix.incident)
    assert again is not None and again.id == fix.id and apply_fix_of(res, fix.id).state is FixState.PROMOTED
    assert judge_fix_of(res, fix.id).verdict is CanaryVerdict.PROMOTE
    promote_fix_of(res, fix.id, "put right")
    assert runs_of(ground) == dict.fromkeys(INSTANCES, GOOD) and servers_of(ground) == ALL_SERVE
    with res.store.reading() as tx:
        assert get_mitigation(tx, held.id).state is MitigationState.UNDONE
    assert close_of(res, fix.id, sleep=asking(ground)).state is IncidentState.RESOLVED


def test_a_promoted_fix_that_is_taken_back_leaves_every_instance_with_what_git_says(ground: Ground) -> None:
    res, fix = promoted(ground)
    close_of(res, fix.id, sleep=asking(ground))
    assert roll_back_of(res, fix.id, "a person wants it back").taking_back == ""
    assert runs_of(ground) == dict.fromkeys(INSTANCES, BAD) and committed(ground) == BAD
    assert servers_of(ground) == ALL_SERVE and reconcile_fixes(later(ground)) == []


def test_while_one_is_out_of_the_traffic_to_follow_the_others_serve(ground: Ground) -> None:
    """At no moment is more than one of them without weight, in either direction."""
    res, fix = promoted(ground)
    moments = list[int]()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            moments.append(sum(weight == 0 for _, weight in servers_of(ground).values()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        roll_back_of(res, fix.id, "a person wants it back")
    finally:
        is_over.set()
        watcher.join()
    assert set(moments) == {0, 1}


def test_a_promotion_that_stands_still_can_be_taken_back_as_a_whole(ground: Ground) -> None:
    res, fix = applied(ground, drained=PILOT)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    cut_off(ground, "shop-2")
    promote_fix_of(res, fix.id, result.reason)
    join(ground, "shop-2")
    assert roll_back_of(res, fix.id, "a person wants it back").taking_back == ""
    assert runs_of(ground) == dict.fromkeys(INSTANCES, BAD) and committed(ground) == BAD
    assert servers_of(ground) == {**ALL_SERVE, PILOT: ("drain", 100)} and keep_in_force(res) == []
    assert state_of(res, fix) is IncidentState.CONTAINED


def test_a_control_of_the_canarys_size_has_its_weight_back_before_the_others_follow(tmp_path: Path) -> None:
    """Beside three siblings one of them gets the canary's weight: also a promotion that stands still gives it back."""
    names = (*INSTANCES, "shop-4")
    with pilot_ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground", names=names) as ground:
        res, fix = applied(ground)
        assert fix.pilot == "shop-4"
        result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
        assert result.verdict is CanaryVerdict.PROMOTE and servers_of(ground)["shop-3"][1] <= 25
        cut_off(ground, "shop-1")
        promote_fix_of(res, fix.id, result.reason)
        assert state_of(res, fix) is IncidentState.TRIAGED, "the first of the others does not follow"
        assert servers_of(ground) == dict.fromkeys(names, FULL)


def test_requests_that_run_are_answered_before_the_instance_is_reloaded(ground: Ground) -> None:
    """They were sent before it had weight 0; a reload that restarts it would cut them off."""
    res = pilot_resources(ground)
    fix = prepare_fix_of(res, begin(ground, res))
    assert fix is not None
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    client.order("set", "server", f"be_shop/{REST[0]}", "state", "maint")
    client.order("set", "server", f"be_shop/{REST[1]}", "state", "maint")
    with slow_request(ground) as is_answered:
        with hold(res, fix.id) as lease:
            take_out(res, fix, lease, CANARY, f"be_shop/{PILOT}")
        assert is_answered.is_set() and servers_of(ground)[PILOT] == ("ready", 0)


def test_where_the_rest_would_not_be_enough_nothing_is_put_into_force_and_a_person_is_told(ground: Ground) -> None:
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    for name in ("shop-1", "shop-2"):
        client.order("set", "server", f"be_shop/{name}", "state", "maint")
    _, fix = applied(ground)
    assert fix.state is FixState.REVERTED and fix.pilot == ""
    assert "no instance of shop can get the fix before the others: nothing beside shop-3 serves" in fix.canary_result
    assert runs_of(ground) == dict.fromkeys(INSTANCES, BAD) and committed(ground) == BAD


def test_where_a_person_changed_the_same_line_the_pilot_runs_what_they_wrote_and_serves_again(ground: Ground) -> None:
    res, fix = applied(ground)
    text = set_key((ground.repository / FILE).read_text(), "payment_timeout_ms", 300)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", "by hand", "--", FILE)
    back = roll_back_of(res, fix.id, "no verdict")
    assert back.state is FixState.REVERTED and back.taking_back == "" and "later commits changed" in back.canary_result
    assert runs_of(ground)[PILOT] == committed(ground) == "payment_timeout_ms: 300"
    assert servers_of(ground) == ALL_SERVE


def test_what_a_person_committed_meanwhile_reaches_the_pilot_too(ground: Ground) -> None:
    """The file on disk is not the one that was tried: the pilot would be the only one to run that."""
    res, fix = applied(ground)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    text = set_key((ground.repository / FILE).read_text(), "workers", 9)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", "more workers", "--", FILE)
    promote_fix_of(res, fix.id, result.reason)
    assert {ground.running(name) for name in INSTANCES} == {text} and servers_of(ground) == ALL_SERVE


def test_automation_that_is_switched_off_stops_it_between_two_instances(ground: Ground) -> None:
    res, fix = applied(ground)
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    set_automation(res, enabled=False, by="bob", why="a look first")
    with pytest.raises(Refused, match="automation is switched off"):
        promote_fix_of(res, fix.id, result.reason)
    assert runs_of(ground) == {**dict.fromkeys(REST, BAD), PILOT: GOOD} and servers_of(ground) == ALL_SERVE
    set_automation(res, enabled=True, by="bob", why="go on")
    assert reconcile_fixes(later(ground)) == [f"{fix.id} was promoted; {fix.incident} is resolved"]
    assert runs_of(ground) == dict.fromkeys(INSTANCES, GOOD) and servers_of(ground) == ALL_SERVE


def test_a_fix_that_somebody_else_deployed_everywhere_is_taken_back_everywhere(ground: Ground) -> None:
    """A person's deployment of another key took the untried fix along."""
    res, fix = applied(ground)
    deploy(ground, "workers", 9, "more workers")
    assert set(runs_of(ground).values()) == {GOOD}
    assert roll_back_of(res, fix.id, "no verdict").taking_back == ""
    assert runs_of(ground) == dict.fromkeys(INSTANCES, BAD) and committed(ground) == BAD
    assert all("workers: 9" in ground.running(name) for name in INSTANCES) and servers_of(ground) == ALL_SERVE


def test_instances_that_are_yet_to_follow_have_not_drifted(ground: Ground) -> None:
    """And once the fix is promoted each of them is looked at."""
    res, fix = applied(ground)
    assert look_for_drift(res) == []
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    promote_fix_of(res, fix.id, result.reason)
    close_of(res, fix.id, sleep=asking(ground))
    text = set_key((ground.repository / FILE).read_text(), "workers", 9)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", "more workers", "--", FILE)
    reload(ground, ["shop-1"])
    soon = replace(res, clock=lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert sorted(said.partition(" ")[0] for said in look_for_drift(soon)) == ["shop-2", "shop-3"]
