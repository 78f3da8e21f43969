"""`quell notify` and `quell noise` as a person uses them, on the example's configuration with receivers."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id
from quell.incidents.labels import fingerprint
from quell.incidents.notification import Notification, NotificationKind, NotificationState

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
SECRET = "S3CRETTOKEN"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    text = (folder / "quell.toml").read_text()
    (folder / "quell.toml").write_text(text.replace("sqlite:///.quell/sandbox/quell.db", f"sqlite:///{tmp_path}/q.db"))
    (tmp_path / "chat").write_text(f"json://127.0.0.1:9/{SECRET}")
    receivers = f"receivers:\n  chat: {{urls: ['file:{tmp_path}/chat'], timeout: 1s}}\n"
    (folder / "notifications.yaml").write_text(receivers + "routes: [{receivers: [chat]}]\n")
    return folder


def quell(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--config", str(folder)])
    return result.exit_code, result.output


def test_a_sample_that_is_not_delivered_ends_with_1_and_shows_no_secret(folder: Path) -> None:
    code, said = quell(folder, "notify", "test", "chat")
    assert code == 1 and "was not reached" in said and SECRET not in said
    code, said = quell(folder, "notify", "test", "chta")
    assert code == 1 and 'receiver "chta" is not defined; did you mean "chat"?' in said


def test_the_list_tells_what_failed_and_why(folder: Path, tmp_path: Path) -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    failed = Notification(
        id="chat/opened/INC-1/1", state=NotificationState.FAILED, kind=NotificationKind.OPENED, receiver="chat",
        incident="INC-1", subject="INC-1", cause="errors", created_at=now, updated_at=now, due_at=None, attempts=9,
        errors=("attempt 9: env:CHAT was not reached: error=500",),
    )  # fmt: skip
    store = SqlStore(f"sqlite:///{tmp_path}/q.db")
    with store.writing() as tx:
        tx.notifications.put(failed)
        tx.notifications.put(replace(failed, id="other", state=NotificationState.SENT, incident="INC-2", errors=()))
    store.close()
    code, said = quell(folder, "notify", "list", "--state", "failed", "--json")
    rows = json.loads(said.splitlines()[0])
    assert code == 0 and [row["about"] for row in rows] == ["attempt 9: env:CHAT was not reached: error=500"]
    code, said = quell(folder, "notify", "list")
    assert code == 0 and "1 notifications were given up" in said
    assert quell(folder, "notify", "list", "--state", "lost")[0] == 1


def test_noise_is_listed_with_a_cure(folder: Path, tmp_path: Path) -> None:
    labels = {"alertname": "DiskFull", "service": "catalog"}
    store = SqlStore(f"sqlite:///{tmp_path}/q.db")
    with store.writing() as tx:
        for hours in range(1, 5):
            start = datetime.now(UTC) - timedelta(hours=hours)
            mark = fingerprint(labels)
            tx.alerts.put(
                Alert(
                    id=alert_id(mark, start), fingerprint=mark, status=AlertStatus.RESOLVED, labels=labels,
                    annotations={}, starts_at=start, ends_at=start + timedelta(seconds=90), source="alertmanager",
                    received_at=start, updated_at=start, outcome=AlertOutcome.WAITING,
                )
            )  # fmt: skip
    store.close()
    code, said = quell(folder, "noise", "--json")
    [rule] = json.loads(said)
    assert code == 0 and rule["cure"] == "raise `for` to 2m: 4 of 4 episodes were over by then"
    assert quell(folder, "noise")[0] == 0
