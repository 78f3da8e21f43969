"""Bisection on real git repositories with real checks: the commit that did it is found, and nothing else is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.cli.record import opened
from deployments.sandbox.files import render_config
from deployments.sandbox.layout import Layout, find_base_port
from deployments.sandbox.repository import DANA, commit, create_repository, set_value
from quell.adapters.git import GitRepository
from quell.adapters.git_bisect import left_trees
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import Conflict, InvalidInput, NotFound
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import TimelineEntry, verify_chain
from quell.resolution.bisection import Outcome, TrialVerdict
from tasks.bisect import bisect_of, confirm_cause_of, lease_of, remove_left_trees
from tasks.bisect_record import ranked_candidates
from tasks.fix import find_cause
from tasks.lease import hold
from tasks.resources import Resources

pytestmark = pytest.mark.integration

ONSET = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FILE = "services/checkout-2.yaml"
# A check of a running thing would look at it; this one looks at what it would read, and says so.
CHECK = ("sh", "-c", 'grep -q "timeout_ms: 5$" "$1" && echo "half of the requests fail" && exit 1; exit 0', "check")


class Shop:
    """A repository whose commits are a minute apart, the last one a minute before the onset."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commits = folder, list[str]()
        self.git("init", "--quiet", "-b", "main", ".")

    def git(self, *arguments: str, at: datetime = ONSET) -> str:
        command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@shop.example", *arguments]
        env = {**os.environ, "GIT_AUTHOR_DATE": at.isoformat(), "GIT_COMMITTER_DATE": at.isoformat()}
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True, timeout=20, env=env)
        return done.stdout.strip()

    def save(self, files: Mapping[str, str], subject: str, *, minutes: float) -> str:
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject, at=ONSET - timedelta(minutes=minutes))
        self.commits.append(self.git("rev-parse", "HEAD"))
        return self.commits[-1]

    def state(self) -> tuple[str, ...]:
        """Everything that a bisection must leave as it was."""
        return (
            self.git("rev-parse", "HEAD"),
            self.git("status", "--porcelain", "--branch"),
            self.git("for-each-ref"),
            self.git("worktree", "list"),
            (self.folder / FILE).read_text(),
        )


def settings(timeout_ms: int, retries: int = 1) -> str:
    return f"retries: {retries}\nqueue: 10\nbanner: none\nworkers: 4\ntimeout_ms: {timeout_ms}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Thirty commits; number 11 makes checkout-2 fail, and later ones change other lines and other files."""
    (tmp_path / "shop").mkdir()
    shop = Shop(tmp_path / "shop")
    for number in range(30):
        timeout = 800 if number < 11 else 5
        files = {FILE: settings(timeout, retries=number), "services/checkout-1.yaml": settings(800)}
        shop.save(files, f"checkout-2: change {number}", minutes=30 - number)
    return shop


def resources_of(shop: Shop, **repository: object) -> Resources:
    instances = tuple(Instance(name=f"checkout-{n}", service="checkout") for n in (1, 2))
    given = {"trial": (*CHECK, "{file}"), "reload": ("touch", str(shop.folder / "reloaded")), **repository}
    config_repository = ConfigRepository(
        path=str(shop.folder),
        files={i.name: f"services/{i.name}.yaml" for i in instances},
        **given,  # pyright: ignore[reportArgumentType]
    )
    service = Service(name="checkout", team="shop", instances=instances, repository=config_repository)
    config = Config(
        folder=shop.folder,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": service}),
    )
    store = MemoryStore()
    return Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: ONSET + timedelta(minutes=5))  # pyright: ignore[reportArgumentType]


def open_incident(res: Resources, *changes: tuple[str, float], accused: int | None = None) -> str:
    """INC-1 with linked changes: (commit, minutes before the onset), the first one CHG-1."""
    ids = tuple(f"CHG-{n}" for n in range(1, len(changes) + 1))
    suspect = Suspect(
        node="checkout-2", metric="errors", score=0.9, reason="", change=None if accused is None else f"CHG-{accused}"
    )
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.CONTAINED,
        severity=Severity.MAJOR,
        title="checkout fails",
        service="checkout",
        onset_at=ONSET,
        opened_at=ONSET,
        updated_at=ONSET,
        opened_because="",
        opened_by="sweep",
        changes=ids,
        suspects=(suspect,),
    )
    with res.store.writing() as tx:
        tx.incidents.add(incident)
        for id, (sha, minutes) in zip(ids, changes, strict=True):
            at = ONSET - timedelta(minutes=minutes)
            tx.changes.add(
                Change(
                    id=id,
                    kind=ChangeKind.CONFIG,
                    service="checkout",
                    instance="checkout-2",
                    at=at,
                    summary=f"change {sha[:7]}",
                    commit=sha,
                    received_at=at,
                )
            )
    return "INC-1"


def incident_of(res: Resources) -> Incident:
    with res.store.reading() as tx:
        found = tx.incidents.get("INC-1")
    assert found is not None
    return found


def entries(res: Resources, kind: str) -> list[TimelineEntry]:
    with res.store.reading() as tx:
        every = tx.timeline.entries()
        assert verify_chain(every, written=tx.timeline.written()) == []
    return [entry for entry in every if entry.kind == kind]


def test_a_commit_that_nobody_announced_is_found_among_thirty_and_is_first_from_then_on(shop: Shop) -> None:
    res = resources_of(shop)
    open_incident(res)
    before, told = shop.state(), list[str]()
    found = bisect_of(res, "INC-1", by="dana", tell=told.append)
    culprit = shop.commits[11]
    assert (found.outcome, found.commit) == (Outcome.CONFIRMED, culprit)
    assert len(found.trials) <= 2 + 5 + 2, "both ends, log2 of thirty, and both answers once more"
    assert len(told) == len(found.trials) and "trial 1: " in told[0]
    assert shop.state() == before and not (shop.folder / "reloaded").exists()

    incident = incident_of(res)
    assert incident.accused_change == f"GIT-{culprit[:12]}" and incident.suspects[0].node == "checkout-2"
    (entry,) = entries(res, "cause confirmed")
    assert entry.by == "dana" and "half of the requests fail" in entry.text and culprit[:12] in entry.text
    assert entry.evidence["commit"] == culprit and entry.evidence["trials"].count(" is good") >= 2
    assert "nobody had announced it" in entries(res, "change linked")[0].text
    cause = find_cause(res, incident)
    assert not isinstance(cause, str) and cause.candidate.commit == culprit and cause.instance == "checkout-2"


def test_the_likeliest_commit_needs_no_search_when_it_flips_the_check(shop: Shop) -> None:
    res = resources_of(shop)
    open_incident(res, (shop.commits[11], 19), (shop.commits[29], 1), accused=1)
    found = bisect_of(res, "INC-1", by="dana")
    assert found.commit == shop.commits[11]
    assert len(found.trials) == 1 + 2 + 2, "at the onset, the flip, and the flip once more"
    assert incident_of(res).accused_change == "CHG-1", "the change as it was announced, not a second one"


def test_a_wrong_first_candidate_gives_way_to_the_one_that_did_it(shop: Shop) -> None:
    """Suspects and time alone name the newest; undoing that would have mended nothing."""
    res = resources_of(shop)
    incident = open_incident(res, (shop.commits[29], 1), (shop.commits[11], 19))
    guessed = find_cause(res, incident_of(res))
    assert not isinstance(guessed, str) and guessed.candidate.commit == shop.commits[29]
    assert confirm_cause_of(res, incident).startswith("confirmed: ")
    cause = find_cause(res, incident_of(res))
    assert not isinstance(cause, str) and cause.candidate.commit == shop.commits[11]
    assert "flips the check from good to bad" in cause.candidate.reason
    with res.store.reading() as tx:
        ranked = ranked_candidates(tx, incident_of(res))
    assert [c.commit for c in ranked] == [shop.commits[11], shop.commits[29]]
    assert "it is good at" in confirm_cause_of(res, incident), "the flow does not try again what is known"


def test_the_flow_tries_nothing_where_the_cause_is_clear_or_no_trial_is_configured(shop: Shop) -> None:
    res = resources_of(shop)
    open_incident(res, (shop.commits[11], 19), (shop.commits[29], 1), accused=1)
    with res.store.writing() as tx:
        tx.incidents.put(replace(incident_of(res), suspects=(replace(incident_of(res).suspects[0], change="CHG-1"),)))
        tx.changes.delete("CHG-2")
    assert confirm_cause_of(res, "INC-1") == "the likeliest commit is clear"
    untried = resources_of(shop, trial=(), validate=("true",))
    open_incident(untried)
    assert confirm_cause_of(untried, "INC-1") == "no trial is configured"
    assert entries(res, "cause confirmed") == entries(untried, "cause not confirmed") == []


def test_a_check_that_does_not_see_the_trouble_confirms_nothing(shop: Shop) -> None:
    res = resources_of(shop, trial=("true",))
    open_incident(res, (shop.commits[11], 19))
    found = bisect_of(res, "INC-1", by="dana")
    assert (found.outcome, found.commit, len(found.trials)) == (Outcome.NOT_SHOWN, None, 1)
    assert "it does not see this trouble" in entries(res, "cause not confirmed")[0].text
    assert incident_of(res).accused_change is None


def test_a_fault_that_is_older_than_all_commits_is_said_to_be(shop: Shop) -> None:
    res = resources_of(shop, trial=("false",))
    open_incident(res, (shop.commits[20], 10))
    assert bisect_of(res, "INC-1", by="dana").outcome is Outcome.OLDER


def test_what_the_validator_refuses_never_ran_and_is_skipped(shop: Shop) -> None:
    """An unreadable version in the middle of the history is no cause: it was never in force."""
    shop.save({FILE: settings(5) + "broken: [\n"}, "checkout-2: unreadable", minutes=0.6)
    shop.save({FILE: settings(5)}, "checkout-2: readable again", minutes=0.5)
    res = resources_of(shop, validate=("sh", "-c", '! grep -q broken "$1"', "validate", "{file}"))
    open_incident(res, (shop.commits[30], 0.6), (shop.commits[31], 0.5))
    found = bisect_of(res, "INC-1", by="dana")
    assert found.commit == shop.commits[11]
    refused = [trial for trial in found.trials if trial.commit == shop.commits[30]]
    assert all(trial.verdict is TrialVerdict.SKIP and "validator refuses" in trial.said for trial in refused)


def test_commits_that_cannot_be_tried_leave_those_it_could_be(shop: Shop) -> None:
    """Around the culprit nothing can be started: neither is named."""
    script = 'n=$(sed -n "s/retries: //p" "$1"); [ "$n" -ge 9 ] && [ "$n" -le 13 ] && exit 125; [ "$n" -lt 11 ]'
    res = resources_of(shop, trial=("sh", "-c", script, "trial", "{file}"))
    open_incident(res)
    found = bisect_of(res, "INC-1", by="dana")
    assert found.outcome is Outcome.UNCLEAR and found.commit is None
    assert shop.commits[11][:12] in found.reason and "could not be tried" in found.reason


def test_a_check_that_answers_by_chance_names_nobody(shop: Shop, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f'echo x >> {count}; [ $(wc -l < {count}) -gt 3 ] && exit 0; grep -q "timeout_ms: 800" "$1"'
    res = resources_of(shop, trial=("sh", "-c", script, "trial", "{file}"))
    open_incident(res, (shop.commits[11], 19), accused=1)
    found = bisect_of(res, "INC-1", by="dana")
    assert found.outcome is Outcome.UNCLEAR and "contradicts itself" in found.reason


def test_a_trial_that_hangs_is_ended_with_its_children_and_says_nothing(shop: Shop, tmp_path: Path) -> None:
    mark = tmp_path / "still-there"
    script = f"(sleep 3; touch {mark}) & wait"
    res = resources_of(shop, trial=("sh", "-c", script), trial_timeout=timedelta(seconds=0.5))
    open_incident(res, (shop.commits[11], 19))
    found = bisect_of(res, "INC-1", by="dana")
    assert found.outcome is Outcome.NOT_SHOWN and "ran longer than 0.5 s" in found.reason
    time.sleep(3)
    assert not mark.exists()


def test_a_bisection_is_bounded_in_time(shop: Shop) -> None:
    res = resources_of(shop, trial=("sh", "-c", 'sleep 0.4; grep -q "timeout_ms: 800" "$1"', "trial", "{file}"))
    open_incident(res)
    began = time.monotonic()
    found = bisect_of(res, "INC-1", by="dana", longest=timedelta(seconds=1.5))
    assert found.outcome is Outcome.UNCLEAR and "out of time after" in found.reason
    assert time.monotonic() - began < 6


def test_a_command_that_does_not_exist_is_a_mistake_of_the_configuration(shop: Shop) -> None:
    res = resources_of(shop, trial=("no-such-check", "{file}"))
    open_incident(res)
    before = shop.state()
    with pytest.raises(InvalidInput, match="no-such-check of the trial cannot be run"):
        bisect_of(res, "INC-1", by="dana")
    assert shop.state() == before and entries(res, "cause not confirmed") == []


def test_without_a_check_or_a_repository_there_is_nothing_to_bisect(shop: Shop) -> None:
    res = resources_of(shop, trial=())
    open_incident(res)
    with pytest.raises(InvalidInput, match=r"give services\.yaml repository\.trial"):
        bisect_of(res, "INC-1", by="dana")
    config = replace(res.config, catalog=Catalog(services={"checkout": Service(name="checkout", team="shop")}))
    with pytest.raises(NotFound, match="checkout has a repository"):
        bisect_of(replace(res, config=config), "INC-1", by="dana")


def test_two_cannot_bisect_one_incident_at_once(shop: Shop) -> None:
    res = resources_of(shop)
    open_incident(res)
    with hold(res, lease_of("INC-1")), pytest.raises(Conflict, match="somebody else works on bisect INC-1"):
        bisect_of(res, "INC-1", by="dana")


def test_a_bisection_of_the_user_goes_on_undisturbed(shop: Shop) -> None:
    shop.git("bisect", "start", shop.commits[-1], shop.commits[0])
    standing = (shop.git("rev-parse", "HEAD"), shop.git("bisect", "log"))
    res = resources_of(shop)
    open_incident(res)
    assert bisect_of(res, "INC-1", by="dana").commit == shop.commits[11]
    assert (shop.git("rev-parse", "HEAD"), shop.git("bisect", "log")) == standing


def test_a_file_that_belongs_to_the_service_beside_its_instances_is_found_and_left_to_a_person(shop: Shop) -> None:
    """`also`: a map that all instances read. No single one can try its undo, so no canary can judge it."""
    shop.git("checkout", "--quiet", "-b", "other", shop.commits[5])
    shop.commits = shop.commits[:6]
    bad = shop.save({"maps/limits.map": "alice 0\n"}, "limits: lower", minutes=2)
    shop.save({FILE: settings(800, retries=99)}, "checkout-2: unrelated", minutes=1)
    check = ("sh", "-c", '! grep -qs " 0$" "$1"/maps/limits.map', "check", "{tree}")
    res = resources_of(shop, trial=check, branch="other", also=("maps/*.map",))
    open_incident(res)
    found = bisect_of(res, "INC-1", by="dana")
    assert found.commit == bad
    cause = find_cause(res, incident_of(res))
    assert isinstance(cause, str) and "changed maps/limits.map, which no single instance can try" in cause
    assert f"git revert {bad[:12]}" in cause


_DIES = """
import sys, time
from pathlib import Path
from quell.adapters.git import GitRepository
from quell.adapters.git_bisect import bisect_tree
from tasks.bisect_trial import Bench, try_commit
from quell.incidents.service import ConfigRepository
from datetime import timedelta
folder, commit = sys.argv[1:]
repository = ConfigRepository(path=folder, files={"checkout-2": "services/checkout-2.yaml"},
    trial=("sh", "-c", "touch " + folder + ".started; sleep 60"), trial_timeout=timedelta(seconds=3))
with bisect_tree(GitRepository(Path(folder)), "INC-1", commit) as tree:
    tree.start(bad=commit, good=commit + "~20", paths=())
    try_commit(Bench(tree=tree, repository=repository, instance="checkout-2"), commit, longest=timedelta(seconds=3))
"""


def test_a_bisection_that_is_killed_leaves_nothing(shop: Shop) -> None:
    """kill -9 in the middle of a trial: reconciliation removes the tree, and the trial ends by itself."""
    before = shop.state()
    command = [sys.executable, "-c", _DIES, str(shop.folder), shop.commits[-1]]
    process = subprocess.Popen(command, start_new_session=True)
    started = Path(f"{shop.folder}.started")
    give_up = time.monotonic() + 30
    while not started.exists():
        assert time.monotonic() < give_up and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    git = GitRepository(shop.folder)
    assert left_trees(git) == ("inc-1",)
    res = resources_of(shop)
    with hold(res, lease_of("INC-1")):
        assert remove_left_trees(res, git) == [], "somebody works there"
    assert remove_left_trees(res, git) == ["the working tree of a bisection of INC-1 that had died is removed"]
    assert left_trees(git) == () and shop.state() == before
    give_up = time.monotonic() + 10
    while _runs("sleep 60", shop.folder):
        assert time.monotonic() < give_up, "the trial outlives its limit"
        time.sleep(0.1)


def _runs(command: str, folder: Path) -> bool:
    """Whether a process of this command line works below the folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if words == command and str(folder) in str((process / "cwd").readlink()):
                return True
        except OSError:
            continue
    return False


def test_the_sandbox_tries_a_version_with_a_running_instance_where_no_customer_is(tmp_path: Path) -> None:
    """The real shop in small: what made customers fail fails there, and a good version does not."""
    layout = Layout(folder=tmp_path / "s", base_port=find_base_port())
    layout.save()
    create_repository(layout, "# nothing\n", now=ONSET)

    def trial(key: str, value: int) -> tuple[int, str]:
        set_value(layout.settings_file("checkout-2"), key, value)
        command = [sys.executable, "-m", "deployments.sandbox.trial"]
        command += [str(layout.folder), str(layout.repository), "checkout-2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    assert trial("payment_timeout_ms", 800) == (0, "0 of 41 requests failed\n")
    code, said = trial("payment_timeout_ms", 8)
    assert code == 1 and "requests failed: " in said
    assert trial("payment_timeout_ms", 800)[0] == 0
    assert trial("payment_port", layout.port("fe_shop"))[0] == 1, "a port where nobody answers"
    assert trial("payment_port", layout.port("fe_payment"))[0] == 0
    assert trial("health_check", 0)[0] == 1, "a load balancer would send it nothing"


def test_the_command_ranks_tries_with_progress_and_names_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of it with the example's configuration: the shop's repository, its validator, its trial."""
    monkeypatch.setenv("COLUMNS", "250")
    for name in ("QUELL_CONFIG", "PREFECT_API_URL", "PREFECT_UI_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/api")  # commands set these; monkeypatch puts them back
    layout = Layout(folder=tmp_path / "s", base_port=find_base_port())
    layout.save()
    render_config(layout)
    create_repository(layout, "# nothing\n", now=ONSET - timedelta(days=1))
    values = (("retries", 2), ("payment_timeout_ms", 8), ("work_ms", 5), ("retries", 1))
    commits: list[str] = []
    for minutes, (key, value) in zip((40, 30, 20, 10), values, strict=True):
        file = layout.settings_file("checkout-2")
        set_value(file, key, value)
        at = ONSET - timedelta(minutes=minutes)
        commits.append(commit(layout.repository, DANA, f"checkout-2: {key} {value}", paths=["services"], at=at))
    with opened(layout.config) as res:
        open_incident(res, (commits[3], 10), (commits[1], 30))
    bisect = ["bisect", "INC-1", "--config", str(layout.config), "--by", "dana"]
    listed = CliRunner().invoke(app, [*bisect, "--list"])
    assert listed.exit_code == 0, listed.output
    assert listed.output.index(commits[3][:12]) < listed.output.index(commits[1][:12]), "the newest is likeliest yet"
    assert "+payment_timeout_ms: 8" in listed.output and "trial 1" not in listed.output
    found = CliRunner().invoke(app, [*bisect, "--no-diff"])
    assert found.exit_code == 0, found.output
    assert "trial 1: " in found.output and f"confirmed {commits[1]}: " in found.output
    assert "requests failed" in found.output and "+payment_timeout_ms" not in found.output
    with opened(layout.config) as res:
        assert incident_of(res).accused_change == "CHG-2"
        (entry,) = entries(res, "cause confirmed")
    assert entry.by == "dana" and "payment" in entry.text
