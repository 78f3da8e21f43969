"""The end of the demo, with the real commands on a real record and repository: accepted, signed, closed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.guards import environment, git, teach
from benchmarks.misconfigurations import MISCONFIGURATIONS, write_repository
from deployments.demo.account import Account
from deployments.demo.closing import close_incident
from deployments.demo.witness import Witness
from quell.adapters.guards import load_guards
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.incidents.guard_record import PROPOSED
from quell.incidents.incident import IncidentState
from tests.postmortem_room import GUARD, INCIDENT, SECRET, Room

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example's configuration with its record and secrets in a folder of the test."""
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    for name in ("quell.toml", "people.yaml"):
        file = copy / name
        file.write_text(file.read_text().replace(".quell/sandbox", str(tmp_path)))
    (tmp_path / "secrets").mkdir()
    for name in ("alice", "bob", "carol"):
        (tmp_path / "secrets" / f"{name}.totp").write_text(SECRET)
    return copy


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose guard is as Quell left it: proved, and proposed."""
    for name, value in environment().items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    root = write_repository(tmp_path / "s")
    teach(root, next(case for case in MISCONFIGURATIONS if case.name == "timeout too short"))
    (guard,) = load_guards(root / "guards")
    file = root / guard.source
    file.write_text(file.read_text().replace("accepted_by: dana", "state: proposed"))
    git(root, "commit", "--quiet", "--all", "-m", "as it was proposed")
    return root


@pytest.fixture
def room(folder: Path, shop: Path) -> Iterator[Room]:
    (guard,) = load_guards(shop / "guards")
    proposed = replace(
        GUARD,
        name=guard.name,
        repository=str(shop),
        file=guard.source,
        state=PROPOSED,
        accepted_by="",
        accepted_at=None,
    )
    store = SqlStore(f"sqlite:///{folder.parent}/quell.db")
    yield Room(store, folder.parent).open(guard=proposed)
    store.close()


@pytest.mark.timeout(300)
def test_the_demo_accepts_the_guard_signs_for_every_team_and_sees_the_incident_closed(
    room: Room, folder: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    witness = Witness(config=load_config(folder), store=room.store, sandbox=None)  # type: ignore[arg-type]
    close_incident(Account(), witness, folder.parent / "secrets", INCIDENT)
    assert room.state is IncidentState.CLOSED
    told = " ".join(capsys.readouterr().out.split())
    (guard,) = load_guards(shop / "guards")
    for words in (
        f"guard {guard.name} is accepted by alice in commit",
        "alice: shop signs edition 1",
        "INC-1 is closed: signed by shop (alice), platform (bob); guarded by",
    ):
        assert words in told, told
    assert (guard.state, guard.accepted_by) == ("accepted", "alice")
    assert "alice accepts" in git(shop, "log", "-1", "--format=%s %an").stdout
