"""`quell playbook`: what each may do by itself, and its record, as a user reads it."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.incidents.mitigation import MitigationState, Recovery
from quell.ports import Document
from tests.integration.test_autonomy import Desk
from tests.shop_levers import EXAMPLE

pytestmark = pytest.mark.integration
NAME = "isolate-bad-instance"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUELL_CONFIG", "put back by monkeypatch")
    monkeypatch.setenv("COLUMNS", "160")
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    toml = copy / "quell.toml"
    toml.write_text(toml.read_text().replace("sqlite:///.quell/sandbox/quell.db", f"sqlite:///{tmp_path}/quell.db"))
    return copy


def quell(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["playbook", *words, "--config", str(folder)])


def test_the_list_says_what_was_earned(folder: Path, tmp_path: Path) -> None:
    empty = json.loads(quell(folder, "list", "--json").output)
    levels = {row["playbook"]: row["level"] for row in empty}
    assert levels[NAME] == "approve" and levels["throttle-noisy-client"] == "automatic"
    assert set(levels) == {file.stem for file in (folder / "playbooks").glob("*.yaml")}
    desk = Desk()
    made = [desk.planned("alertmanager", "sweep")]
    desk.finish(made[0], MitigationState.EFFECTIVE)
    with desk.res.store.reading() as tx:
        past = tx.mitigations.find()
    assert [m.recovery for m in past] == [Recovery.EFFECTIVE]
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    with store.writing() as tx:
        tx.mitigations.put_all(past)
    store.close()
    (row,) = [row for row in json.loads(quell(folder, "list", "--json").output) if row["playbook"] == NAME]
    assert (row["alert"], row["used"], row["effective"], row["failed"]) == ("InstanceErrors", 1, 1, 0)
    assert "effective 1 of the 3 times" in row["reason"]
    shown = quell(folder, "list").output
    assert "1 used, 1 effective, 0 failed" in " ".join(shown.split())


def test_one_playbook_is_described_and_an_unknown_one_names_the_nearest(folder: Path) -> None:
    said = " ".join(quell(folder, "show", NAME).output.split())
    for part in ("haproxy: isolate {server}", "shop-error-ratio below 0.02 for 15 s", "6 an hour for a service"):
        assert part in said
    assert "as the routes in notifications.yaml say" in said
    wrong = quell(folder, "show", "isolate-bad-instances")
    assert wrong.exit_code == 1
    assert f"did you mean '{NAME}'" in wrong.output


def test_a_playbook_shows_whom_it_tells_of_what(folder: Path) -> None:
    notifications = folder / "notifications.yaml"
    receiver = "receivers:\n  shop-oncall: {urls: [env:CHAT]}\n"
    notifications.write_text(notifications.read_text().replace("receivers: {}\n", receiver))
    file = folder / "playbooks" / f"{NAME}.yaml"
    file.write_text(file.read_text() + "notification: {to: [shop-oncall], kinds: [applied, undone]}\n")
    assert "shop-oncall of applied, undone" in quell(folder, "show", NAME).output


def test_checking_names_file_and_line_of_what_is_wrong(folder: Path) -> None:
    count = len(list((folder / "playbooks").glob("*.yaml")))
    assert f"{count} playbooks are right" in quell(folder, "check").output
    file = folder / "playbooks" / f"{NAME}.yaml"
    file.write_text(file.read_text().replace("level: automatic", "level: autmatic"))
    wrong = quell(folder, "check")
    assert wrong.exit_code == 1
    assert f"{NAME}.yaml:" in wrong.output and "automatic" in wrong.output


def test_the_library_shows_every_playbook_and_which_are_in_use(folder: Path) -> None:
    said = quell(folder, "library").output
    for name in ("isolate-bad-instance", "drain-zone", "blue-green-switch-back", "page-only"):
        assert name in said
    assert "throttle-noisy-client" in said and said.count(" yes ") == len(list((folder / "playbooks").glob("*.yaml")))


def test_what_fits_is_added_and_an_own_file_is_never_overwritten(folder: Path) -> None:
    file = folder / "playbooks" / "drain-zone.yaml"
    file.unlink()
    assert quell(folder, "add", "drain-zone").exit_code == 0
    assert quell(folder, "check").exit_code == 0 and "target_kind: zone" in file.read_text()
    file.write_text(file.read_text().replace("owner: platform", "owner: mine"))
    again = quell(folder, "add", "drain-zone")
    assert again.exit_code == 1 and "stays as it is" in " ".join(again.output.split())
    assert "owner: mine" in file.read_text()


def test_what_does_not_fit_yet_is_put_beside_with_what_to_mend(folder: Path) -> None:
    """A file that names a hook nobody configured would keep the whole of Quell from starting."""
    added = quell(folder, "add", "restart-by-hook")
    said = " ".join(added.output.split())
    assert added.exit_code == 1
    assert "restart-by-hook.yaml:" in said and 'actuator "restarter" is not defined' in said
    assert (folder / "playbooks" / "restart-by-hook.yaml.draft").exists()
    assert quell(folder, "check").exit_code == 0


def test_an_unknown_one_names_the_nearest(folder: Path) -> None:
    wrong = quell(folder, "add", "drain-zones")
    assert wrong.exit_code == 1 and "drain-zone" in wrong.output


def test_a_playbook_that_nobody_exercised_is_reported_with_a_diff_until_it_is_drilled(
    folder: Path, tmp_path: Path
) -> None:
    long_ago = datetime.now(UTC) - timedelta(weeks=14)
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    with store.writing() as tx:
        tx.documents.put(Document(id=f"playbook {NAME}", kind="playbook", updated_at=long_ago, body={"name": NAME}))
    store.close()
    patch = tmp_path / "proposed.diff"
    found = quell(folder, "check", "--json", "--diff", str(patch))
    assert found.exit_code == 1
    wrong = {row["playbook"]: row["wrong"] for row in json.loads(found.output) if row["wrong"]}
    assert set(wrong) == {NAME}, "the others are new, and have a quarter's time"
    assert wrong[NAME][0]["kind"] == "unused"
    subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
    assert "level: approve # not exercised since" in (folder / "playbooks" / f"{NAME}.yaml").read_text()
    assert quell(folder, "drilled", NAME, "--note", "drained checkout-2 on staging", "--by", "alice").exit_code == 0
    again = quell(folder, "check")
    assert again.exit_code == 0 and "playbooks are right" in again.output
    assert "isolate-bad-instanc" in quell(folder, "drilled", f"{NAME}s", "--note", "x").output


def test_a_misspelt_signal_comes_with_a_diff_that_mends_it(folder: Path) -> None:
    file = folder / "playbooks" / f"{NAME}.yaml"
    right = file.read_text()
    file.write_text(right.replace("signal: shop-error-ratio", "signal: shop-eror-ratio"))
    found = quell(folder, "check")
    assert found.exit_code == 1 and 'did you mean "shop-error-ratio"' in found.output
    diff = found.stdout[found.stdout.index("--- a/playbooks") :]
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=folder, check=True)
    assert file.read_text() == right


def test_without_the_record_the_files_are_checked_and_that_is_said(folder: Path) -> None:
    toml = folder / "quell.toml"
    toml.write_text(re.sub('store = ".*"', 'store = "env:QUELL_NO_SUCH_STORE"', toml.read_text()))
    found = quell(folder, "check")
    assert found.exit_code == 0 and "only the files were checked" in found.stderr
