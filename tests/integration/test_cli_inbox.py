"""`quell source new` and `quell inbox` as a person uses them, on the example's configuration and SQLite."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.gateway.inbox_items import held_item
from quell.gateway.senders import Senders
from quell.incidents.event_source import EventKind
from quell.incidents.timeline import verify_chain
from quell.triage.form import Form
from quell.triage.unreadable import Unreadable

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOOD = b'{"labels":{"alertname":"Errors","service":"checkout"},"startsAt":"2026-11-23T11:59:00Z"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    text = (folder / "quell.toml").read_text()
    (folder / "quell.toml").write_text(text.replace("sqlite:///.quell/sandbox/quell.db", f"sqlite:///{tmp_path}/q.db"))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return SqlStore(f"sqlite:///{tmp_path}/q.db")


def quell(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--config", str(folder)])
    return result.exit_code, result.output


def hold(store: SqlStore, body: bytes) -> str:
    kept = Unreadable(form=Form.PLAIN, body=body)
    item = held_item(kept, error="an older Quell could not read it", source="shop", received_at=NOW)
    store.receive([item])
    return item.id


def test_a_new_source_is_admitted_with_the_printed_token_and_yaml(folder: Path) -> None:
    """What is printed works when pasted, and the token is nowhere in what goes into the configuration."""
    result = CliRunner().invoke(app, ["source", "new", "ci", "--may", "changes,reports"])
    token, pasted = result.stdout.strip(), result.stderr.partition("sources:")[2]
    assert result.exit_code == 0 and token not in result.stderr
    (folder / "sources.yaml").write_text("sources:" + pasted)
    assert yaml.safe_load("sources:" + pasted)["sources"]["ci"]["may_send"] == ["changes", "reports"]
    senders = Senders(load_config(folder).sources)
    headers = [(b"authorization", f"Bearer {token}".encode())]
    assert senders.admit(EventKind.CHANGES, headers, b"", client="10.0.0.7", now=NOW).source == "ci"


@pytest.mark.parametrize(("words", "said"), [(["ci", "--may", "pages"], '"pages"'), (["C I"], "is not allowed")])
def test_a_source_that_sources_yaml_would_refuse_is_refused_at_once(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["source", "new", *words])
    assert result.exit_code != 0 and said in (result.output + str(result.exception))


def test_a_replayed_event_passes_triage_and_the_timeline_says_by_whom(folder: Path, store: SqlStore) -> None:
    id = hold(store, GOOD)
    code, said = quell(folder, "inbox", "list", "--json")
    assert code == 0 and [row["id"] for row in json.loads(said.splitlines()[0])] == [id]
    code, said = quell(folder, "inbox", "show", id[:20])
    assert code == 0 and json.loads(said)["payload"]["text"] == GOOD.decode()
    code, said = quell(folder, "inbox", "replay", id, "--by", "alice")
    assert code == 0 and "is triaged" in said
    with store.reading() as tx:
        assert [alert.name for alert in tx.alerts.find()] == ["Errors"]
        noted = [entry for entry in tx.timeline.entries() if entry.kind == "event replayed"]
        assert [(entry.by, entry.subject) for entry in noted] == [("alice", id)]
        assert verify_chain(tx.timeline.entries()) == []
    assert quell(folder, "inbox", "replay", id)[0] != 0


def test_what_still_cannot_be_read_is_held_again_with_its_reason(folder: Path, store: SqlStore) -> None:
    id = hold(store, b"{")
    code, said = quell(folder, "inbox", "replay", id)
    assert code == 1 and "is held again: body is not JSON" in " ".join(said.split())
    with store.reading() as tx:
        assert [item.id for item in tx.inbox.find({"quarantine": "held"})] == [id]


def test_a_discarded_event_is_kept_with_its_reason_and_never_triaged(folder: Path, store: SqlStore) -> None:
    id = hold(store, GOOD)
    assert quell(folder, "inbox", "discard", id, "--why", " ")[0] != 0
    assert quell(folder, "inbox", "discard", id, "--why", "a test of ours", "--by", "bob")[0] == 0
    code, said = quell(folder, "inbox", "list")
    assert code == 0 and "nothing is in quarantine" in said
    assert id in quell(folder, "inbox", "list", "--all", "--json")[1]
    assert quell(folder, "inbox", "replay", id)[0] != 0
    with store.reading() as tx:
        assert tx.alerts.count() == 0
        (noted,) = [entry for entry in tx.timeline.entries() if entry.kind == "event discarded"]
        assert (noted.by, noted.subject) == ("bob", id) and "a test of ours" in noted.text
