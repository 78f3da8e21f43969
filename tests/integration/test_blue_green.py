"""A fix of a service in two colours, on a real HAProxy, a real repository and instances that are processes."""

import time
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.colour_ground import (
    BLUE,
    COLOURS,
    FILE,
    GREEN,
    ROUTE,
    break_colour,
    break_it,
    colour_ground_of,
    colour_resources,
    committed,
    open_incident,
    route_of,
    runs,
    set_route,
)
from benchmarks.fix_ground import Ground, git, reload, set_key
from benchmarks.fix_victim import send_requests
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentId, IncidentState
from quell.incidents.timeline import TimelineEntry, verify_chain
from quell.resolution.canary import CanaryPolicy, CanaryVerdict
from tasks.drift import look_for_drift
from tasks.fix import get_fix
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
from tests.shop_users import Users, ask, asking, seen, traffic

pytestmark = pytest.mark.integration

BAD, GOOD = "payment_timeout_ms: 5", "payment_timeout_ms: 800"
QUICK = CanaryPolicy(
    shares=(0.1, 0.5), window=timedelta(0), minimum_requests=8, margin=0.4, deadline=timedelta(seconds=30)
)


@pytest.fixture
def ground(tmp_path: Path) -> Generator[Ground]:
    with colour_ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        yield ground


def applied(ground: Ground) -> tuple[Resources, Fix]:
    """The bad commit serves on blue; the fix is in force on the idle colour, and nothing more."""
    res = colour_resources(ground)
    incident = open_incident(res, break_it(ground))
    fix = prepare_fix_of(res, incident)
    assert fix is not None
    return res, apply_fix_of(res, fix.id)


def stored(res: Resources, fix: Fix) -> Fix:
    with res.store.reading() as tx:
        return get_fix(tx, fix.id)


def told(res: Resources, fix: Fix, kind: str) -> list[str]:
    with res.store.reading() as tx:
        assert verify_chain(tx.timeline.entries()) == []
        return [entry.text for entry in tx.timeline.of(fix.incident) if entry.kind == kind]


def test_the_idle_colour_has_the_fix_and_was_seen_to_be_well_before_any_user_sees_it(ground: Ground) -> None:
    with traffic(ground) as users:
        res, fix = applied(ground)
    assert fix.state is FixState.VALIDATED and fix.colour == GREEN
    assert seen(users, *COLOURS[GREEN]) == 0 and seen(users, *COLOURS[BLUE]) > 0
    assert (runs(ground, GREEN), runs(ground, BLUE), committed(ground)) == ({GOOD}, {BAD}, GOOD)
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}
    (said,) = told(res, fix, "fix applied")
    assert "be_jade is ready and no user has seen it: 2 instances, /health, /ready well 3 times" in said


def test_a_good_fix_goes_by_shares_to_the_whole_and_the_other_colour_stays_warm(ground: Ground) -> None:
    """While blue fails of what is mended, green is held against no failures at all, not against blue's."""
    res, fix = applied(ground)
    users, splits = Users(), list[str]()

    def sleep(_seconds: float) -> None:
        splits.append(route_of(ground)["splits"])
        ask(ground, users, 200)

    result = judge_fix_of(res, fix.id, replace(QUICK, minimum_requests=80), sleep=sleep)
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    steps = [split for split in dict.fromkeys(splits) if split not in ("be_jade:50", "be_jade:250")]
    assert steps == ["be_jade:100", "be_jade:500"]
    assert told(res, fix, "canary step promote")[0].startswith("weight 100, step 1 of 2: ")

    promote_fix_of(res, fix.id, result.reason)
    assert route_of(ground) == {"backends": GREEN, "splits": "none:0"}
    assert (runs(ground, GREEN), runs(ground, BLUE)) == ({GOOD}, {BAD}), "blue is kept as it was"
    assert close_of(res, fix.id, sleep=asking(ground)).state is IncidentState.RESOLVED
    after = Users()
    ask(ground, after, 50)
    assert (seen(after, *COLOURS[GREEN]), seen(after, *COLOURS[BLUE])) == (50, 0)
    assert {status for _, status in after} == {200}


def test_when_it_was_warm_long_enough_the_other_colour_gets_the_fix_too(ground: Ground) -> None:
    res, fix = applied(ground)
    promote_fix_of(res, fix.id, judge_fix_of(res, fix.id, QUICK, sleep=asking(ground)).reason)
    close_of(res, fix.id, sleep=asking(ground))
    assert reconcile_fixes(res) == [] and runs(ground, BLUE) == {BAD}
    later = colour_resources(replace(ground, later=ROUTE.keep_warm.total_seconds() + 1))
    assert reconcile_fixes(later) == [f"{fix.id}: be_blue has the fix as well: reload confirmed"]
    assert runs(ground, BLUE) == runs(ground, GREEN) == {GOOD} and reconcile_fixes(later) == []
    assert stored(res, fix).warm_until is None


def test_a_bad_fix_is_stopped_with_a_tenth_exposed_and_both_colours_run_what_git_says(ground: Ground) -> None:
    """It answers its probes well and fails users: what no check before the switch can see."""
    break_colour(ground, GREEN, "/")
    res, fix = applied(ground)
    users = Users()
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground, users, 40))
    assert result.verdict is CanaryVerdict.REVERT, result.reason
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}, "users are away from it before anything else"
    assert 0 < seen(users, *COLOURS[GREEN]) <= (seen(users, *COLOURS[GREEN]) + seen(users, *COLOURS[BLUE])) / 10
    roll_back_of(res, fix.id, result.reason)
    assert stored(res, fix).state is FixState.REVERTED and stored(res, fix).taking_back == ""
    assert runs(ground, GREEN) == runs(ground, BLUE) == {BAD} == {committed(ground)}
    assert git(ground.repository, "status", "--porcelain") == ""


def test_an_idle_colour_that_is_not_well_is_never_shown_to_a_user(ground: Ground) -> None:
    break_colour(ground, GREEN)
    with traffic(ground) as users:
        _, fix = applied(ground)
    assert fix.state is FixState.REVERTED and seen(users, *COLOURS[GREEN]) == 0
    assert "be_jade is not well with the fix: " in fix.canary_result and "HTTP 500" in fix.canary_result
    assert committed(ground) == BAD and runs(ground, GREEN) == {BAD}


def test_an_idle_colour_that_the_load_balancer_does_not_send_to_is_no_colour_to_switch_to(ground: Ground) -> None:
    RuntimeClient(ground.socket, timedelta(seconds=5)).order("set", "server", f"{GREEN}/jade-2", "state", "maint")
    _, fix = applied(ground)
    assert fix.state is FixState.REVERTED
    assert "be_jade/jade-2 takes no requests at the load balancer" in fix.canary_result


def test_a_switched_fix_goes_back_with_one_command_while_the_other_colour_is_warm(ground: Ground) -> None:
    res, fix = applied(ground)
    promote_fix_of(res, fix.id, judge_fix_of(res, fix.id, QUICK, sleep=asking(ground)).reason)
    close_of(res, fix.id, sleep=asking(ground))
    began = time.monotonic()
    assert roll_back_of(res, fix.id, "a person wants it back").state is FixState.REVERTED
    assert time.monotonic() - began < 15
    (switched,) = [entry for entry in _entries(res, fix) if entry.kind == "colours switched back"]
    (undone,) = [entry for entry in _entries(res, fix) if entry.kind == "fix taken back"]
    assert switched.at <= undone.at, "users first, git afterwards"
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}
    assert runs(ground, GREEN) == runs(ground, BLUE) == {BAD} == {committed(ground)}
    assert reconcile_fixes(colour_resources(replace(ground, later=3600.0))) == []


def test_a_switched_fix_goes_back_also_when_the_other_colour_has_the_fix_already(ground: Ground) -> None:
    res, fix = applied(ground)
    promote_fix_of(res, fix.id, judge_fix_of(res, fix.id, QUICK, sleep=asking(ground)).reason)
    close_of(res, fix.id, sleep=asking(ground))
    later = colour_resources(replace(ground, later=ROUTE.keep_warm.total_seconds() + 1))
    reconcile_fixes(later)
    assert roll_back_of(later, fix.id, "a person wants it back").taking_back == ""
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}
    assert runs(ground, GREEN) == runs(ground, BLUE) == {BAD} == {committed(ground)}


def test_without_a_map_for_the_split_nothing_is_switched_and_a_person_is_told_why(
    ground: Ground, tmp_path: Path
) -> None:
    """Straight to all users would be no canary."""
    res, fix = applied(ground)
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    client.order("del", "map", client.map_ids()["splits.map"], "shop")
    result = judge_fix_of(res, fix.id, QUICK, sleep=asking(ground))
    assert result.verdict is CanaryVerdict.INCONCLUSIVE
    assert "splits.map has no route 'shop'" in result.reason and "docs/resolution.md" in result.reason


def test_a_colour_that_dies_under_traffic_is_reverted_although_no_server_of_it_answers(ground: Ground) -> None:
    """The proxy's own 503 is no server's answer: counted by server, a dead colour would have had no requests."""
    res, fix = applied(ground)
    client = RuntimeClient(ground.socket, timedelta(seconds=5))
    dead = iter(COLOURS[GREEN])

    def sleep(_seconds: float) -> None:
        for name in dead:
            client.ask("set", "server", f"{GREEN}/{name}", "addr", "127.0.0.1", "port", "1")
        send_requests(ground, 60)

    result = judge_fix_of(res, fix.id, QUICK, sleep=sleep)
    assert result.verdict is CanaryVerdict.REVERT, result.reason
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}


def test_a_person_who_switches_meanwhile_is_not_overruled(ground: Ground) -> None:
    """The colour that was idle serves now: it is not reloaded under its users."""
    res = colour_resources(ground)
    fix = prepare_fix_of(res, open_incident(res, break_it(ground)))
    assert fix is not None
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), colour=GREEN))
    set_route(ground, "backends", GREEN)
    before = runs(ground, GREEN)
    after = apply_fix_of(res, fix.id)
    assert after.state is FixState.REVERTED and "somebody switched meanwhile" in after.canary_result
    assert runs(ground, GREEN) == before and route_of(ground)["backends"] == GREEN


def test_a_switch_that_contains_the_incident_is_where_the_fix_comes_back_from(ground: Ground) -> None:
    """Blue is bad, users were sent to green: blue is the idle one, gets the fix, and is switched back to."""
    res = colour_resources(ground)
    commit = break_it(ground)
    set_route(ground, "backends", GREEN)
    fix = prepare_fix_of(res, open_incident(res, commit))
    assert fix is not None and apply_fix_of(res, fix.id).colour == BLUE
    promote_fix_of(res, fix.id, judge_fix_of(res, fix.id, QUICK, sleep=asking(ground)).reason)
    assert route_of(ground) == {"backends": BLUE, "splits": "none:0"}
    assert runs(ground, GREEN) == runs(ground, BLUE) == {GOOD}


def test_the_colour_that_serves_nobody_does_not_drift(ground: Ground) -> None:
    """It has the release before, on purpose; the one that serves is looked at, instance by instance."""
    res = colour_resources(ground)
    text = set_key((ground.repository / FILE).read_text(), "workers", 9)
    (ground.repository / FILE).write_text(text)
    git(ground.repository, "commit", "--quiet", "-m", "more workers", "--", FILE)
    reload(ground, ["blue-1"])
    (found,) = look_for_drift(res)
    assert found.startswith("blue-2 runs another content of services/shop.yaml")
    reload(ground, ["blue-2"])
    later = replace(res, clock=lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert look_for_drift(later) == []


def _entries(res: Resources, fix: Fix) -> list[TimelineEntry]:
    with res.store.reading() as tx:
        return list(tx.timeline.of(IncidentId(fix.incident)))
