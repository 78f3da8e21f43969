"""A fix where the branch counts at a remote: it is there before it runs, what colleagues push meanwhile stays."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.cli.check_repository import check_remotes, check_repositories
from quell.incidents.errors import Unavailable
from quell.incidents.fix import FixState
from quell.incidents.incident import IncidentState
from quell.incidents.service import Catalog
from tasks.deployment_document import propose_documents
from tasks.drift import look_for_drift
from tasks.forms import FixRequest
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
from tests.git_shop import RemoteShop, share
from tests.resolution_world import BAD, FILE, GOOD, World, add_incident, git, make_resources, make_world, save

pytestmark = pytest.mark.integration

OTHER = "services/other.yaml"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def shop(world: World) -> RemoteShop:
    return share(world.folder)


@pytest.fixture
def res(world: World, shop: RemoteShop) -> Resources:
    assert shop.bare.is_dir()
    return make_resources(world, remote="origin")


@pytest.fixture
def incident(res: Resources, world: World) -> str:
    return add_incident(res, world)


def prepared(res: Resources, incident: str) -> str:
    fix = prepare_fix_of(res, incident)
    assert fix is not None and fix.state is FixState.VALIDATED
    return fix.id


def said(res: Resources, incident: str) -> str:
    with res.store.reading() as tx:
        return "\n".join(entry.text for entry in tx.timeline.of(incident))


def state_of(res: Resources, incident: str) -> IncidentState:
    with res.store.reading() as tx:
        found = tx.incidents.get(incident)
    assert found
    return found.state


def agree(shop: RemoteShop) -> bool:
    """Whether the branch here, the one there and the working tree are the same."""
    is_clean = shop.git("status", "--porcelain") == ""
    return is_clean and shop.git("rev-parse", "main") == shop.remote_head()


def test_a_fix_is_at_the_remote_before_it_runs_and_so_is_what_takes_it_back(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    fix = prepared(res, incident)
    assert shop.remote_head() == shop.bad, "what is not approved is nowhere but on its own branch"
    applied = apply_fix_of(res, fix)
    assert applied.fix_commit == shop.remote_head() and agree(shop)
    promote_fix_of(res, fix, judge_fix_of(res, fix, sleep=world.sleep).reason)
    assert close_of(res, fix, sleep=world.sleep).state is IncidentState.RESOLVED
    pushed = shop.colleague_pushes("x: 1\n", "the colleague works on", file=OTHER)
    assert roll_back_of(res, fix, "a person wants it back").state is FixState.REVERTED
    assert agree(shop) and (world.folder / FILE).read_text() == BAD
    assert git(shop.bare, "merge-base", "--is-ancestor", pushed, "main") == "", "the colleague's commit stays"


def test_what_a_colleague_pushes_while_the_fix_waits_stays(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    fix = prepared(res, incident)
    pushed = shop.colleague_pushes("x: 1\n", "somebody else's work", file=OTHER)
    assert apply_fix_of(res, fix).state is FixState.VALIDATED
    assert agree(shop) and (world.folder / FILE).read_text() == GOOD and (world.folder / OTHER).exists()
    assert git(shop.bare, "rev-parse", "main^") == pushed


def test_a_bad_commit_that_is_only_at_the_remote_is_undone(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    """A pipeline deployed it from there; the clone that Quell works in has never seen it."""
    shop.colleague_pushes(GOOD, "mended by hand", file=FILE)
    bad = shop.colleague_pushes(GOOD.replace("800", "3"), "even faster", file=FILE)
    with res.store.writing() as tx:
        change = tx.changes.get("CHG-1")
        assert change
        tx.changes.put(replace(change, commit=bad))
    apply_fix_of(res, prepared(res, incident))
    assert agree(shop) and (world.folder / FILE).read_text() == GOOD


def test_a_remote_that_refuses_has_the_fix_for_people_to_merge(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    shop.protect("main is protected")
    fix = prepared(res, incident)
    branch = f"quell/{fix.lower()}"
    assert apply_fix_of(res, fix).state is FixState.REVERTED
    assert shop.remote_head() == shop.bad and agree(shop) and (world.folder / FILE).read_text() == BAD
    assert GOOD in git(shop.bare, "show", f"{branch}:{FILE}") + "\n"
    assert "main is protected" in said(res, incident) and f"{branch} is at origin: have it merged" in said(
        res, incident
    )
    assert state_of(res, incident) is IncidentState.CONTAINED, "what contains it holds"
    assert reconcile_fixes(res) == [], "there is nothing left to do"


def test_without_its_remote_no_fix_is_begun_and_the_person_is_told(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    away = shop.bare.rename(shop.bare.with_name("away.git"))
    with res.store.writing() as tx:
        first, known = tx.changes.get("CHG-1"), tx.incidents.get(incident)  # type: ignore[arg-type]
        assert first and known
        tx.changes.add(replace(first, id="CHG-2", commit=git(world.folder, "rev-parse", "main^")))
        tx.incidents.put(replace(known, changes=("CHG-1", "CHG-2")))
    assert prepare_fix_of(res, incident) is None
    assert said(res, incident).count("cannot be reached") == 1, "it is not waited for with each candidate"
    asked = FixRequest(
        key="payment_timeout_ms", value="800", place="checkout-2", reason="as before", requested_by="dana"
    )
    with pytest.raises(Unavailable, match=r"origin of .* cannot be reached"):
        prepare_fix_of(res, incident, asked)
    with res.store.reading() as tx:
        assert list(tx.fixes.find()) == []
    away.rename(shop.bare)
    apply_fix_of(res, prepared(res, incident))
    assert agree(shop) and (world.folder / FILE).read_text() == GOOD


def test_a_bad_fix_is_taken_back_once_the_remote_is_back(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    """Users are away from it at once; git follows when it can be pushed, and says so meanwhile."""
    world.broken_anyway = True
    fix = prepared(res, incident)
    apply_fix_of(res, fix)
    away = shop.bare.rename(shop.bare.with_name("away.git"))
    result = judge_fix_of(res, fix, sleep=world.sleep)
    roll_back_of(res, fix, result.reason)
    assert "NOT taken back: origin of" in said(res, incident)
    assert all(state["admin_state"] != "ready" for name, state in world.balancer.states.items() if name.endswith("-2"))
    away.rename(shop.bare)
    world.now += timedelta(seconds=60)
    assert reconcile_fixes(res) == [f"the rest of {fix} is taken back"]
    assert agree(shop) and (world.folder / FILE).read_text() == BAD


def test_a_process_that_died_after_its_push_is_followed_up(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    """The fix is at the remote, and neither here nor in force: it is found there and taken back in both places."""
    fix = prepared(res, incident)
    shop.git("push", "--quiet", "origin", f"quell/{fix.lower()}:main")
    world.now += timedelta(seconds=60)
    assert roll_back_of(res, fix, "its process died").state is FixState.REVERTED
    assert agree(shop) and (world.folder / FILE).read_text() == BAD
    assert git(shop.bare, "log", "-1", "--format=%(trailers:key=Undoes,valueonly)", "main").strip() == fix


def test_a_push_whose_answer_was_lost_is_found_again(
    res: Resources, world: World, incident: str, shop: RemoteShop
) -> None:
    fix = prepared(res, incident)
    shop.git("push", "--quiet", "origin", f"quell/{fix.lower()}:main")
    pushed = shop.colleague_pushes("x: 1\n", "on top of it", file=OTHER)
    applied = apply_fix_of(res, fix)
    assert applied.fix_commit == git(shop.bare, "rev-parse", "main^") and shop.remote_head() == pushed
    assert agree(shop) and (world.folder / FILE).read_text() == GOOD


def test_drift_looks_at_what_the_remote_has(res: Resources, world: World, shop: RemoteShop) -> None:
    pushed = shop.colleague_pushes(GOOD, "mended by hand", file=FILE)
    assert look_for_drift(res) == [] and world.folder.joinpath(FILE).read_text() == GOOD
    assert git(world.folder, "rev-parse", "main") == pushed
    save(world.folder, {OTHER: "x: 1\n"}, "never pushed")
    world.now += timedelta(hours=1)
    [told] = look_for_drift(res)
    assert "what origin has cannot be compared" in told and "has a commit that origin has not" in told


def test_documents_to_review_are_at_the_remote_on_a_branch_of_their_own(res: Resources, shop: RemoteShop) -> None:
    proposed = propose_documents(res, "checkout")
    assert proposed.branch and shop.remote_head(proposed.branch) == shop.git("rev-parse", proposed.branch)
    assert shop.remote_head() == shop.bad, "nothing is merged"


def test_the_check_says_what_a_remote_lacks(res: Resources, shop: RemoteShop) -> None:
    [found] = check_remotes(res.config)
    assert found.is_ok and f"main is at {shop.bad[:12]} there, and Quell may write" in found.text
    shop.bare.rename(shop.bare.with_name("away.git"))
    [found] = check_remotes(res.config)
    assert not found.is_ok and "cannot be reached" in found.text
    shop.git("remote", "rename", "origin", "upstream")
    [found] = check_repositories(res.config)
    assert not found.is_ok and "has no remote origin" in found.text


def test_a_branch_of_two_services_is_asked_for_once(res: Resources) -> None:
    checkout = res.config.catalog.services["checkout"]
    both = Catalog(services={"checkout": checkout, "payment": replace(checkout, name="payment")})
    assert len(list(check_remotes(replace(res.config, catalog=both)))) == 1
