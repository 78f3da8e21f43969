"""`quell review` on a real SQLite record: reading, signing with a code, action items, and what is overdue."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyotp.totp import TOTP
from typer.testing import CliRunner, Result

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.incidents.incident import IncidentState
from tests.postmortem_room import SECRET, Room

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("QUELL_CONFIG", "PREFECT_API_URL", "PREFECT_UI_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/api")  # commands set these; monkeypatch puts them back


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    settings = copy / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    people = copy / "people.yaml"
    people.write_text(people.read_text().replace(".quell/sandbox", str(tmp_path)))
    (tmp_path / "secrets").mkdir()
    for name in ("alice", "bob", "carol"):
        (tmp_path / "secrets" / f"{name}.totp").write_text(SECRET)
    return copy


@pytest.fixture
def room(folder: Path) -> Iterator[Room]:
    store = SqlStore(f"sqlite:///{folder.parent}/quell.db")
    yield Room(store, folder.parent).open()
    store.close()


def quell(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["review", *words, "--config", str(folder)])


def code() -> str:
    return TOTP(SECRET).at(datetime.now(UTC))


def test_a_post_mortem_is_shown_signed_and_closed(folder: Path, room: Room) -> None:
    shown = quell(folder, "show", "inc-1").output
    assert "INC-1 is reviewed" in shown and "missing: shop has not signed" in shown and "INC-1/A1" in shown
    assert quell(folder, "show", "INC-1", "--markdown").output == room.review.markdown
    by_shop = ("sign", "INC-1", "--team", "shop", "--edition", "1", "--by", "alice", "--code")
    refused = quell(folder, *by_shop, "000000")
    assert refused.exit_code == 1 and "one-time code of alice is wrong" in refused.output
    assert "shop signs edition 1" in quell(folder, *by_shop, code()).output
    by_platform = ("sign", "INC-1", "--team", "platform", "--edition", "1", "--by", "bob", "--code", code())
    assert "INC-1 is closed" in quell(folder, *by_platform).output
    assert room.state is IncidentState.CLOSED


def test_action_items_are_added_and_finished_and_what_is_overdue_is_listed(folder: Path, room: Room) -> None:
    """The record is of 2026-11-23: whether its sign-offs are overdue depends on the day; `--all` has both."""
    words = ("action", "add", "INC-1", "Bound every timeout", "--owner", "platform", "--by", "alice", "--code")
    assert "Bound every timeout; platform, due" in quell(folder, *words, code()).output
    listed = quell(folder, "overdue", "--all").output
    assert "INC-1/A3" in listed and "sign-off" in listed
    quell(folder, "action", "done", "inc-1/a3", "--by", "bob", "--code", code())
    assert "INC-1/A3" not in quell(folder, "overdue", "--all").output
    exported = quell(folder, "action", "export", "INC-1/A1", "--by", "carol", "--code", code())
    assert exported.exit_code == 1 and "nothing says where issues are kept" in exported.output
