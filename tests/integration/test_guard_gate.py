"""The gate as pipelines use it: real git hooks and the pre-commit program, real commits, the real command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.guards import Trial, environment, git, teach, try_all
from benchmarks.misconfigurations import MISCONFIGURATIONS, read, write, write_repository
from deployments.cli.main import app
from deployments.cli.record import opened
from quell.adapters.documents import HeldFiles, TextDocument
from quell.adapters.guards import load_guards
from quell.incidents.guard_record import GuardRecord
from quell.incidents.incident import IncidentId
from quell.resolution.gate import check_document
from tasks.guard_standing import standing_of, take_up_acceptances
from tasks.guards import guard_records, put_guard
from tests.postmortem_room import GUARD, INCIDENT

pytestmark = pytest.mark.integration

TREE = Path(__file__).resolve().parents[2]
PIPELINES = TREE / "deployments" / "pipelines"
NAMES = [case.name for case in MISCONFIGURATIONS]
CASES = {case.name: case for case in MISCONFIGURATIONS}
run = CliRunner().invoke


@pytest.fixture(scope="module")
def git_of_ours() -> Iterator[None]:
    """Git as on a fresh machine, for what calls it in this process as well."""
    patch = pytest.MonkeyPatch()
    for name, value in environment().items():
        if name.startswith("GIT_") or name == "PATH":
            patch.setenv(name, value)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, git_of_ours: None) -> dict[str, Trial]:
    folder = tmp_path_factory.mktemp("g") / "s"
    return {trial.name: trial for trial in try_all(folder)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_misconfiguration_is_stopped_by_gits_own_hook_when_it_is_tried_again(
    trials: dict[str, Trial], name: str
) -> None:
    """The figure of ten: the mistake got in once, was taken back, left its guard, and git refuses the next commit."""
    trial = trials[name]
    assert trial.proved and trial.guards
    assert trial.again.is_stopped and f"INC-{1 + NAMES.index(name)}" in trial.again.said
    assert trial.alike.is_stopped, "the same kind of mistake with another value got through"
    assert not trial.fine.is_stopped, trial.fine.said


@pytest.fixture
def shop(tmp_path: Path, git_of_ours: None) -> Path:
    return write_repository(tmp_path / "s")


def commit_bad(root: Path, name: str) -> str:
    write(root, CASES[name].bad(read(root)))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--no-verify", "-m", name)
    return git(root, "rev-parse", "HEAD").stdout.strip()


def test_pre_commit_itself_runs_the_snippet_and_refuses_the_commit(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    case = CASES["timeout too short"]
    teach(shop, case)
    shutil.copy(PIPELINES / "pre-commit-config.yaml", shop / ".pre-commit-config.yaml")
    git(shop, "add", "--all")
    git(shop, "commit", "--quiet", "-m", "pre-commit")
    program = str(Path(sys.executable).with_name("pre-commit"))
    subprocess.run([program, "install"], cwd=shop, env=os.environ, check=True, capture_output=True, timeout=60)
    for change, is_refused in ((case.bad, True), (case.fine, False)):
        before = git(shop, "rev-parse", "HEAD").stdout
        write(shop, change(read(shop)))
        git(shop, "add", "--all")
        done = git(shop, "commit", "-m", "a change")
        assert (git(shop, "rev-parse", "HEAD").stdout == before) is is_refused, done.stderr
        assert ("taught by INC-4" in done.stderr + done.stdout) is is_refused
        git(shop, "reset", "--hard", "--quiet", before.strip())


def test_the_hooks_that_we_offer_are_what_pre_commit_understands() -> None:
    from pre_commit.clientlib import load_manifest

    (hook,) = load_manifest(str(TREE / ".pre-commit-hooks.yaml"))
    assert hook["entry"] == "quell guard" and hook["require_serial"]


def test_the_hook_looks_at_what_is_staged_not_at_what_lies_around(shop: Path) -> None:
    case = CASES["retry storm"]
    teach(shop, case)
    hook = shop / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(PIPELINES / "pre-commit.sh", hook)
    write(shop, case.bad(read(shop)))
    git(shop, "add", "--all")
    git(shop, "checkout", "--quiet", "HEAD~0", "--", "flags.yaml")
    (shop / "gateway/client.toml").write_text(git(shop, "show", "HEAD:gateway/client.toml").stdout)
    assert git(shop, "commit", "-m", "bad is staged, good lies in the tree").returncode == 1
    git(shop, "add", "--all")
    write(shop, case.bad(read(shop)))
    (shop / "README").write_text("new\n")
    git(shop, "add", "README")
    assert git(shop, "commit", "-m", "good is staged, bad lies in the tree").returncode == 0


@pytest.mark.parametrize("name", ["github-actions.yaml", "gitlab-ci.yaml"])
def test_the_script_of_a_ci_snippet_stops_the_job(shop: Path, name: str) -> None:
    """The last line of the job, run by a shell as the runner would, in a checkout with the bad change."""
    content = yaml.safe_load((PIPELINES / name).read_text())
    steps = content.get("jobs", {}).get("guard", {}).get("steps", [])
    script = content["guard"]["script"][-1] if "guard" in content else steps[-1]["run"]
    teach(shop, CASES["wrong port"])
    good = subprocess.run(
        ["sh", "-ec", script], cwd=shop, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert good.returncode == 0, good.stderr
    write(shop, CASES["wrong port"].alike(read(shop)))
    bad = subprocess.run(["sh", "-ec", script], cwd=shop, env=environment(), capture_output=True, text=True, timeout=60)
    assert bad.returncode == 1 and "haproxy/haproxy.cfg:" in bad.stderr and "INC-1" in bad.stderr


def test_the_gate_needs_only_what_the_snippets_install(shop: Path) -> None:
    """`pip install --no-deps`: Prefect, SQLAlchemy, numpy and the like are not there, and would take long to load."""
    teach(shop, CASES["expired certificate"])
    script = (
        "import sys\n"
        "from deployments.cli.start import run\n"
        "sys.argv[1:] = ['guard', '.']\n"
        "try:\n    run()\n"
        "except SystemExit as end:\n    assert not end.code, end\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'prefect', 'sqlalchemy', 'numpy', 'pandas', 'scipy', 'pydantic', 'httpx', 'fastapi'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=shop, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_person_edits_and_accepts_a_proposal_and_both_proofs_are_shown_again(shop: Path) -> None:
    bad = commit_bad(shop, "timeout too short")
    git(shop, "revert", "--no-edit", bad)
    here = ["--repository", str(shop)]
    shown = run(app, ["guard", "propose", bad, "--incident", "INC-7", *here])
    assert shown.exit_code == 0 and "minimum: 400" in shown.output and not (shop / "guards").exists()
    assert run(app, ["guard", "propose", bad, "--incident", "INC-7", "--write", *here]).exit_code == 0
    (guard,) = load_guards(shop / "guards")
    assert guard.state == "proposed" and guard.proof.bad == f"{bad}:services/checkout-2.yaml"
    file = shop / guard.source

    file.write_text(file.read_text().replace("minimum: 400", "minimum: 5"))
    refused = run(app, ["guard", "accept", guard.name, "--by", "dana", *here])
    assert refused.exit_code == 1 and "passes the bad file" in refused.output
    file.write_text(file.read_text().replace("minimum: 5", "minimum: 900"))
    refused = run(app, ["guard", "accept", guard.name, "--by", "dana", *here])
    assert refused.exit_code == 1 and "fails on services/checkout-1.yaml" in refused.output

    file.write_text(file.read_text().replace("minimum: 900", "minimum: 100"))
    accepted = run(app, ["guard", "accept", guard.name, "--by", "dana", *here])
    assert accepted.exit_code == 0, accepted.output
    (kept,) = load_guards(shop / "guards")
    assert (kept.state, kept.accepted_by) == ("accepted", "dana") and kept.proof.good
    assert git(shop, "status", "--porcelain").stdout == ""
    assert "dana accepts" in git(shop, "log", "-1", "--format=%s").stdout
    assert "accepted" in run(app, ["guard", "list", *here]).output
    assert "minimum: 100" in run(app, ["guard", "show", guard.name, *here]).output
    assert "fails on" in run(app, ["guard", "prove", *here]).output
    (shop / "services/checkout-3.yaml").write_text("payment_timeout_ms: 9\n")
    assert run(app, ["guard", "prove", guard.name, *here]).exit_code == 1


def test_an_acceptance_stands_on_the_incidents_timeline_and_names_a_known_person(shop: Path, tmp_path: Path) -> None:
    config = Path(shutil.copytree(TREE / "deployments" / "config.example", tmp_path / "config"))
    settings = config / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    teach(shop, CASES["retry storm"])
    (guard,) = load_guards(shop / "guards")
    record = GuardRecord(
        name=guard.name,
        incident="INC-10",
        fix="FIX-3",
        service="checkout",
        repository=str(shop),
        file=guard.source,
        state="proposed",
        bad=guard.proof.bad,
        said="it is refused",
        passed=("gateway/client.toml",),
        proposed_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    with opened(config) as res, res.store.writing() as tx:
        put_guard(tx, record, record.proposed_at)
    accept = ["guard", "accept", guard.name, "--repository", str(shop), "--config", str(config)]
    refused = run(app, [*accept, "--by", "nobody"])
    assert refused.exit_code == 1 and "nobody is not in people.yaml" in refused.output
    accepted = run(app, [*accept, "--by", "alice"])
    assert accepted.exit_code == 0 and "on the timeline of INC-10" in accepted.output
    with opened(config) as res, res.store.reading() as tx:
        (kept,) = guard_records(tx, "INC-10")
        (entry,) = tx.timeline.of("INC-10")
    assert (kept.state, kept.accepted_by) == ("accepted", "alice")
    assert (entry.kind, entry.by, entry.subject) == ("guard accepted", "alice", "FIX-3")


def test_a_guard_that_people_wrote_for_an_incident_is_on_its_record_once_it_is_accepted(
    shop: Path, tmp_path: Path
) -> None:
    """Where Quell found none, a person's counts: proved like every other."""
    config = Path(shutil.copytree(TREE / "deployments" / "config.example", tmp_path / "config"))
    settings = config / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    teach(shop, CASES["retry storm"])
    (guard,) = load_guards(shop / "guards")
    with opened(config) as res, res.store.writing() as tx:
        tx.incidents.put(replace(INCIDENT, id=IncidentId(guard.incident)))
    accept = ["guard", "accept", guard.name, "--repository", str(shop), "--config", str(config), "--by", "alice"]
    assert f"on the timeline of {guard.incident}" in run(app, accept).output
    with opened(config) as res, res.store.reading() as tx:
        (kept,) = guard_records(tx, guard.incident)
        standing = standing_of(tx, guard.incident)
    assert (kept.state, kept.accepted_by, kept.fix, kept.bad) == ("accepted", "alice", "", guard.proof.bad)
    assert standing.is_accepted


def test_an_acceptance_in_git_alone_is_taken_up_when_the_guard_is_proved(shop: Path, tmp_path: Path) -> None:
    """A pull request, or a machine without the configuration, accepts as well; a worthless edit does not."""
    config = Path(shutil.copytree(TREE / "deployments" / "config.example", tmp_path / "config"))
    settings = config / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    teach(shop, CASES["retry storm"])
    (guard,) = load_guards(shop / "guards")
    file = shop / guard.source
    record = replace(GUARD, name=guard.name, fix="", repository=str(shop), file=guard.source, state="proposed")
    with opened(config) as res:
        with res.store.writing() as tx:
            tx.incidents.put(INCIDENT)
            put_guard(tx, record, record.proposed_at)
        accepted = file.read_text().replace("accepted_by: dana", "accepted_by: alice")
        file.write_text(accepted.replace("accepted_by: alice", "state: proposed"))
        git(shop, "commit", "--quiet", "--all", "-m", "as it was proposed")
        assert take_up_acceptances(res, [record]) == []
        file.write_text(accepted)
        assert take_up_acceptances(res, [record]) == [], "it is not committed yet"
        git(shop, "commit", "--quiet", "--all", "-m", "accept it")
        (said,) = take_up_acceptances(res, [record])
        assert said == f"INC-1: guard {guard.name} was accepted in git by alice"
        with res.store.reading() as tx:
            assert standing_of(tx, "INC-1").is_accepted


def test_a_guard_that_nobody_has_accepted_yet_is_in_force_and_says_so(shop: Path) -> None:
    bad = commit_bad(shop, "bad feature flag")
    git(shop, "revert", "--no-edit", bad)
    run(app, ["guard", "propose", bad, "--incident", "INC-7", "--write", "--repository", str(shop)])
    write(shop, CASES["bad feature flag"].alike(read(shop)))
    refused = run(app, ["guard", str(shop / "flags.yaml")])
    assert refused.exit_code == 1 and "taught by INC-7" in refused.output and "proposed" in refused.output


def test_a_large_file_is_compared_whole(shop: Path) -> None:
    """git's answer was once cut to its last 20,000 characters; a guard for the top of a large file was then lost."""
    lines = "".join(f"key_{n}: {n}\n" for n in range(3000))
    write(shop, {"large.yaml": "first: 500\n" + lines})
    git(shop, "add", "--all")
    git(shop, "commit", "--quiet", "-m", "a large file")
    write(shop, {"large.yaml": "first: 5\n" + lines})
    git(shop, "commit", "--quiet", "--all", "-m", "wrong at the top")
    bad = git(shop, "rev-parse", "HEAD").stdout.strip()
    git(shop, "revert", "--no-edit", bad)
    assert run(app, ["guard", "propose", bad, "--write", "--repository", str(shop)]).exit_code == 0
    guards = load_guards(shop / "guards")
    document = TextDocument(name="large.yaml", text="first: 6\n" + lines)
    assert check_document(guards, document, HeldFiles(texts={}), datetime(2026, 11, 23, tzinfo=UTC))


def test_a_gate_that_finds_no_guards_does_not_say_that_they_were_kept(tmp_path: Path) -> None:
    """A pipeline that looks in the wrong folder would be green for ever."""
    file = tmp_path / "services" / "shop.yaml"
    file.parent.mkdir()
    file.write_text("workers: 4\n")
    bare = run(app, ["guard", str(file)])
    assert bare.exit_code == 0 and bare.stdout == "1 file, no folder `guards` above: nothing was checked\n"
    (tmp_path / "guards").mkdir()
    assert run(app, ["guard", str(file)]).stdout == "1 file kept to all guards\n"
