"""kill -9 while a fix is made, tried, promoted or taken back: git and what runs agree, and nothing is left over."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.fix_faults import Sequence
from benchmarks.fix_ground import (
    GOOD,
    Ground,
    commit_and_deploy,
    file_of,
    git,
    ground_of,
    make_repository,
    resources,
    set_key,
)
from benchmarks.fix_sequences import KINDS, Sequences, contain
from benchmarks.fix_victim import QUICK, send_requests
from quell.adapters.git import GitRepository
from quell.incidents.errors import Conflict, Unavailable
from quell.incidents.fix import FixState
from quell.incidents.incident import IncidentId, IncidentState
from tasks.effect import undo_mitigation
from tasks.keeping import keep_in_force
from tasks.record import get_incident
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
from tests.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

FILE = file_of("shop-1")
WAIT = 10.0


def test_after_random_sequences_with_kills_git_says_what_runs_and_nothing_is_left_over(tmp_path: Path) -> None:
    """Two of each kind; `python -m benchmarks.fix_kills` does fifty."""
    with ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        sequences = Sequences(ground, seed=7)
        done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(8)]
    assert [f"{one.story}: {one.faults}" for one in done if one.faults] == []
    assert sum(len(one.kills) for one in done) >= 8 and len(sequences.boundaries) > 200


def test_with_a_remote_the_branch_is_the_same_there_and_here_whoever_died(tmp_path: Path) -> None:
    """One of each kind; killed after a push and before anything changed here, too. The benchmark does twenty."""
    with ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground", has_remote=True) as ground:
        sequences = Sequences(ground, seed=5)
        done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(4)]
    assert [f"{one.story}: {one.faults}" for one in done if one.faults] == []
    assert any("after git push" in name for name in sequences.boundaries)
    assert sum(len(one.kills) for one in done) >= 4


@pytest.fixture
def bare(tmp_path: Path) -> Ground:
    """Only the repository, with the hooks that stop git; nothing runs."""
    ground = Ground(store="", folder=tmp_path, socket="", port=0, ports={})
    make_repository(ground)
    return ground


def prepared_branch(ground: Ground) -> GitRepository:
    """`quell/fix-1` changes two files and adds one."""
    repository = GitRepository(ground.repository)
    with repository.work_tree("quell/fix-1", start="main") as tree:
        for name in ("shop-1", "shop-2"):
            tree.write(file_of(name), set_key(GOOD.format(name=name), "payment_timeout_ms", 700))
        tree.write("guards/shop.yaml", "name: shop\n")
        tree.commit("fix\n")
    return repository


MERGE = "merge('quell/fix-1', into='main')"


def kill_git(ground: Ground, place: str, mode: str = "machine", work: str = MERGE) -> str:
    """A process merges, and is killed while git stands still at the place; its git with it, or not. What it merged."""
    script = (
        "import sys; from pathlib import Path; from quell.adapters.git import GitRepository; "
        f"GitRepository(Path(sys.argv[1])).{work}"
    )
    environment = {**os.environ, "FIX_KILLS_STOP": place, "FIX_KILLS_MARK": str(ground.mark), "FIX_KILLS_MODE": mode}
    process = subprocess.Popen([sys.executable, "-c", script, str(ground.repository)], env=environment)
    stands = ("git stands still", lambda: ground.mark.exists() or process.poll() is not None)
    wait_until(*stands, within=WAIT * 3, every=0.02)
    os.kill(process.pid, signal.SIGKILL)
    if mode == "machine":
        os.killpg(os.getpgid(int(ground.mark.read_text().split()[0])), signal.SIGKILL)
    process.wait(WAIT)
    return git(ground.repository, "rev-parse", "quell/fix-1")


@pytest.mark.parametrize("place", ["smudge", "prepared"])
def test_a_git_that_was_killed_while_it_merged_is_mended_by_the_next_one(bare: Ground, place: str) -> None:
    """Git's locks stopped everybody for ever, and half of the merge stood in the working tree."""
    repository = prepared_branch(bare)
    before = repository.head("main")
    kill_git(bare, place)
    with pytest.raises(subprocess.CalledProcessError):
        git(bare.repository, "commit", "--allow-empty", "-m", "a person is stopped by the lock")
    repository.mend()
    assert repository.head("main") == before and git(bare.repository, "status", "--porcelain") == ""
    assert repository.merge("quell/fix-1", into="main") != before
    assert git(bare.repository, "status", "--porcelain") == ""


def test_a_git_that_was_killed_while_it_removed_a_branch_stops_no_later_removal(bare: Ground) -> None:
    """In a clone the branches are packed: git leaves the half of a file behind there, and never looks at its age."""
    repository = prepared_branch(bare)
    kill_git(bare, "prepared", work="forget('quell/fix-1')")
    assert (bare.repository / ".git/packed-refs.new").exists()
    repository.mend()
    repository.forget("quell/fix-1")
    assert git(bare.repository, "branch", "--format=%(refname:short)") == "main"


def test_what_a_person_changed_is_not_taken_for_half_a_merge(bare: Ground) -> None:
    repository = prepared_branch(bare)
    kill_git(bare, "smudge")
    (bare.repository / FILE).write_text("a person's work\n")
    repository.mend()
    assert (bare.repository / FILE).read_text() == "a person's work\n"
    assert git(bare.repository, "status", "--porcelain") == f"M {FILE}"


def test_a_lock_that_a_person_holds_is_left_alone(bare: Ground) -> None:
    """Nobody of ours died here."""
    repository = prepared_branch(bare)
    lock = bare.repository / ".git/index.lock"
    lock.touch()
    repository.mend()
    assert lock.exists()


def test_a_lock_that_was_left_stays_while_another_git_works_there(bare: Ground) -> None:
    """It may be a person's: `git commit -a` keeps one while the editor is open. What was noted is not forgotten."""
    repository = prepared_branch(bare)
    kill_git(bare, "smudge")
    lock = bare.repository / ".git/index.lock"
    command = ["git", "-c", "alias.edit=!sleep 60", "edit"]
    editor = subprocess.Popen(command, cwd=bare.repository, start_new_session=True)
    try:
        with pytest.raises(Unavailable, match="in use by the git"):
            repository.mend()
        assert lock.exists()
    finally:
        os.killpg(editor.pid, signal.SIGKILL)
        editor.wait(WAIT)
    repository.mend()
    assert not lock.exists() and git(bare.repository, "status", "--porcelain") == ""


def test_a_git_that_outlives_its_quell_is_waited_for(bare: Ground) -> None:
    """Only quell is killed: its git goes on for a moment, and whoever comes next must not mend what it is writing."""
    repository = prepared_branch(bare)
    merged = kill_git(bare, "smudge", mode="orphan")
    repository.mend()
    assert repository.head("main") == merged and git(bare.repository, "status", "--porcelain") == ""


@pytest.fixture
def shop(tmp_path: Path) -> Generator[Ground]:
    with ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        yield ground


def contained(ground: Ground, later: float = 0.0) -> tuple[Resources, Sequence]:
    """shop-1 runs a bad commit and is isolated."""
    res = resources(replace(ground, later=later))
    one = Sequence(number=0, kind="", act="", instance="shop-1")
    text = set_key(GOOD.format(name="shop-1"), "payment_timeout_ms", 5)
    one.bad = commit_and_deploy(ground, {FILE: text}, "fail faster")
    one.incident, one.mitigation = contain(res, one)
    return res, one


def on_canary(res: Resources, one: Sequence) -> str:
    """The fix is in force, and its canary serves; whoever judges it has died."""
    fix = prepare_fix_of(res, one.incident)
    assert fix is not None
    apply_fix_of(res, fix.id)

    def die(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_fix_of(res, fix.id, QUICK, sleep=die)
    return fix.id


def server(res: Resources) -> str:
    return "serves" if res.actuators["haproxy"].capacity(["be_shop/shop-1"])["be_shop/shop-1"] else "drained"


def state_of(res: Resources, one: Sequence) -> IncidentState:
    with res.store.reading() as tx:
        return get_incident(tx, IncidentId(one.incident)).state


def test_a_canary_is_not_isolated_again_while_it_is_judged(shop: Ground) -> None:
    """Keeping found the drained server ready, every 15 s, and took it for a load balancer without memory."""
    res, one = contained(shop)
    on_canary(res, one)
    assert server(res) == "serves" and keep_in_force(res) == [] and server(res) == "serves"


def test_a_canary_whose_containment_was_released_meanwhile_is_not_drained_for_ever(shop: Ground) -> None:
    """Put back as before the canary it would be drained, and no mitigation would know of it."""
    res, one = contained(shop)
    fix = on_canary(res, one)
    undo_mitigation(res, one.mitigation, "bob", "a person releases it")
    roll_back_of(res, fix, "no verdict")
    assert server(res) == "serves"


def test_a_fix_that_was_taken_back_meanwhile_is_not_promoted(shop: Ground) -> None:
    """The containment is all that protects users then, and promoting releases it."""
    res, one = contained(shop)
    fix = on_canary(res, one)
    roll_back_of(res, fix, "somebody was faster")
    with pytest.raises(Conflict, match="taken back meanwhile"):
        promote_fix_of(res, fix, "all is well")
    assert server(res) == "drained"


def test_a_fix_between_its_verdict_and_its_promotion_is_not_abandoned(shop: Ground) -> None:
    """A canary takes longer than a dead process is waited for: reconciliation took the fix back under its flow."""
    passed = timedelta(0)
    res, one = contained(shop)
    clock = res.clock
    res = replace(res, clock=lambda: clock() + passed)
    fix = prepare_fix_of(res, one.incident)
    assert fix is not None
    apply_fix_of(res, fix.id)

    def serve(_seconds: float) -> None:
        nonlocal passed
        passed += timedelta(seconds=15)
        send_requests(shop, 20)

    result = judge_fix_of(res, fix.id, replace(QUICK, deadline=timedelta(minutes=10)), sleep=serve)
    assert passed > timedelta(seconds=45) and reconcile_fixes(res) == []
    assert promote_fix_of(res, fix.id, result.reason).state is FixState.PROMOTED


def test_an_incident_whose_fix_was_never_begun_is_not_forgotten(shop: Ground) -> None:
    """Killed between the fix's record and the incident's move: reconciliation looked at resolving incidents only."""
    res, one = contained(shop)
    on_canary(res, one)
    with res.store.writing() as tx:
        incident = get_incident(tx, IncidentId(one.incident))
        tx.incidents.put(replace(incident, state=IncidentState.CONTAINED))
    res = resources(replace(shop, later=60.0))
    assert [said for said in reconcile_fixes(res) if "is taken back" in said]
    assert server(res) == "drained" and shop.running("shop-1").startswith("payment_timeout_ms: 5\n")


def test_a_promoted_fix_that_a_person_takes_back_reopens_its_incident(shop: Ground) -> None:
    """The cause is in force again; the server keeps serving, since nothing would release a drain."""
    res, one = contained(shop)
    fix = prepare_fix_of(res, one.incident)
    assert fix is not None
    apply_fix_of(res, fix.id)
    result = judge_fix_of(res, fix.id, QUICK, sleep=lambda _seconds: send_requests(shop, 40))
    promote_fix_of(res, fix.id, result.reason)
    assert close_of(res, fix.id).state is IncidentState.RESOLVED
    assert roll_back_of(res, fix.id, "a person wants it back").state is FixState.REVERTED
    assert state_of(res, one) is IncidentState.OPEN and server(res) == "serves"
    assert shop.running("shop-1").startswith("payment_timeout_ms: 5\n")


def test_a_reload_that_failed_while_taking_back_is_tried_again(shop: Ground) -> None:
    """It was told to a person and left: git said one thing, and another ran."""
    res, one = contained(shop)
    fix = on_canary(res, one)
    port = shop.folder / "port-of-shop-1"
    there = port.read_text()
    port.write_text("1")  # nobody listens there
    assert "NOT taken back: reload of shop-1 failed" in roll_back_of(res, fix, "no verdict").canary_result
    assert shop.running("shop-1").startswith("payment_timeout_ms: 800\n")
    port.write_text(there)
    later = resources(replace(shop, later=60.0))
    assert reconcile_fixes(later) == [f"the rest of {fix} is taken back"]
    assert shop.running("shop-1").startswith("payment_timeout_ms: 5\n") and reconcile_fixes(later) == []
