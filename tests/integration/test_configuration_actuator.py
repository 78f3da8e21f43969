"""A file in git put back to an earlier version: exact in the plan, whole after a death, refused when wrong."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from quell.adapters.actuators.configuration import ConfigurationActuator, ConfigurationSettings
from quell.incidents.errors import InvalidInput, NotFound, Unavailable
from quell.incidents.mitigation import Step
from quell.incidents.service import Catalog, ConfigRepository, Service
from tests.git_shop import share

pytestmark = pytest.mark.integration
STEP = Step(actuator="configuration", action="restore", target="web-1", params={"commit": "previous"}, key="MIT-1/1")


@dataclass
class Repository:
    folder: Path
    repository: ConfigRepository

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@example.org", *words]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True, timeout=20)
        return done.stdout.strip()

    def save(self, text: str) -> str:
        (self.folder / "web-1.yaml").write_text(text)
        self.git("add", "web-1.yaml")
        self.git("commit", "--quiet", "-m", f"web-1: {text.strip()}")
        return self.git("rev-parse", "HEAD")

    @property
    def lever(self) -> ConfigurationActuator:
        service = Service(name="web", team="shop", repository=self.repository)
        return ConfigurationActuator("configuration", ConfigurationSettings(), Catalog(services={"web": service}))

    @property
    def running(self) -> str:
        return (self.folder / "running").read_text()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "web"
    folder.mkdir()
    made = Repository(
        folder=folder,
        repository=ConfigRepository(
            path=str(folder),
            files={"web-1": "web-1.yaml"},
            validate=("grep", "-q", "^timeout: [0-9]", "{file}"),
            reload=("cp", "{file}", "running"),
        ),
    )
    made.git("init", "--quiet", "-b", "main")
    made.save("timeout: 800\n")
    made.save("timeout: 5\n")
    (folder / "running").write_text("timeout: 5\n")
    return made


def test_previous_is_a_commit_once_it_is_planned_and_stays_that_one(repository: Repository) -> None:
    """Somebody may commit between the plan and the approval: what was approved is what is done."""
    first = repository.git("rev-parse", "HEAD~1")
    planned = repository.lever.resolve(STEP)
    assert planned.params == {"commit": first}
    repository.save("timeout: 7\n")
    repository.lever.apply(planned)
    assert repository.running == "timeout: 800\n" and repository.lever.verify(planned)


def test_with_a_remote_it_goes_back_there_as_well(repository: Repository) -> None:
    """A pipeline deployed the last change from there; this clone has never seen it."""
    shop = share(repository.folder)
    last = shop.colleague_pushes("timeout: 3\n", "even faster", file="web-1.yaml")
    repository.repository = replace(repository.repository, remote="origin")
    planned = repository.lever.resolve(STEP)
    assert planned.params == {"commit": shop.bad}
    before = repository.lever.read_state(planned)
    repository.lever.apply(planned)
    assert repository.running == "timeout: 5\n" and repository.lever.verify(planned)
    assert shop.remote_head() == repository.git("rev-parse", "main") != last
    repository.lever.undo(planned, before)
    assert repository.running == "timeout: 3\n" and shop.remote_head() == repository.git("rev-parse", "main")
    shop.bare.rename(shop.bare.with_name("away.git"))
    with pytest.raises(Unavailable, match=r"origin of .* cannot be reached"):
        repository.lever.apply(planned)
    assert repository.running == "timeout: 3\n"


def test_what_was_never_planned_is_not_guessed(repository: Repository) -> None:
    with pytest.raises(InvalidInput, match="previous is no commit yet"):
        repository.lever.apply(STEP)


def test_both_ways_are_commits_with_the_key_of_the_step(repository: Repository) -> None:
    step = repository.lever.resolve(STEP)
    before = repository.lever.read_state(step)
    repository.lever.apply(step)
    repository.lever.undo(step, before)
    subjects = repository.git("log", "-2", "--format=%s").splitlines()
    assert subjects[0] == "web-1: take back the roll-back" and subjects[1].startswith("web-1: back to")
    assert repository.git("log", "-1", "--format=%b").endswith("Step: MIT-1/1")
    assert repository.running == "timeout: 5\n" and repository.git("status", "--porcelain", "-uno") == ""


def test_a_death_between_commit_and_reload_is_finished_by_the_next(repository: Repository) -> None:
    step = repository.lever.resolve(STEP)
    dead = replace(repository.repository, reload=("false",))
    with pytest.raises(Unavailable, match="reload of web-1 failed"):
        replace_repository(repository, dead).apply(step)
    assert repository.running == "timeout: 5\n" and not repository.lever.verify(step)
    commits = repository.git("rev-list", "--count", "HEAD")
    repository.lever.apply(step)
    assert repository.lever.verify(step) and repository.running == "timeout: 800\n"
    assert repository.git("rev-list", "--count", "HEAD") == commits


def test_a_version_that_the_validator_refuses_changes_nothing(repository: Repository) -> None:
    bad = repository.save("timeout: soon\n")
    repository.save("timeout: 9\n")
    head = repository.git("rev-parse", "HEAD")
    with pytest.raises(InvalidInput, match="validator refuses"):
        repository.lever.apply(replace(STEP, params={"commit": bad}))
    assert repository.git("rev-parse", "main") == head and repository.running == "timeout: 5\n"


def test_uncommitted_work_of_people_is_never_overwritten(repository: Repository) -> None:
    step = repository.lever.resolve(STEP)
    (repository.folder / "web-1.yaml").write_text("timeout: 6 # dana tries something\n")
    with pytest.raises(Unavailable, match="cannot be brought forward"):
        repository.lever.apply(step)
    assert "dana tries" in (repository.folder / "web-1.yaml").read_text()


def test_a_file_with_one_version_has_no_previous_one(repository: Repository) -> None:
    (repository.folder / "new.yaml").write_text("timeout: 1\n")
    repository.git("add", "new.yaml")
    repository.git("commit", "--quiet", "-m", "new")
    lever = replace_repository(repository, replace(repository.repository, files={"web-1": "new.yaml"}))
    with pytest.raises(InvalidInput, match="one version only"):
        lever.resolve(STEP)


@pytest.mark.parametrize("commit", ["--upload-pack=touch /tmp/x", "nowhere", "main:web-1.yaml"])
def test_what_is_no_commit_is_refused(repository: Repository, commit: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        repository.lever.apply(replace(STEP, params={"commit": commit}))
    assert repository.running == "timeout: 5\n"


def test_a_change_within_the_hour_speaks_for_the_step(repository: Repository) -> None:
    assert repository.lever.witness(STEP) == "web-1.yaml was changed 0 min ago: web-1: timeout: 5"


def replace_repository(repository: Repository, other: ConfigRepository) -> ConfigurationActuator:
    return replace(repository, repository=other).lever
