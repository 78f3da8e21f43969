"""`quell anomaly` on a real SQLite record."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.incidents.anomaly import Anomaly
from quell.incidents.labels import Fingerprint
from quell.incidents.verdict import VerdictKind

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


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
    return copy


@pytest.fixture
def store(folder: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{folder.parent}/quell.db")
    anomaly = Anomaly(
        id="ANO-3", series="shop-error-ratio:x", signal="shop-error-ratio", labels={}, service="storefront",
        fingerprint=Fingerprint("x"), started_at=NOW, last_at=NOW, worst_at=NOW, kind=VerdictKind.NORMAL, value=0.02,
        expected=0.0, lower=None, upper=0.021, score=0.95, reason="0.02 stays below 0.021",
        because="judged just inside the limit: score 0.48, the limit is 0.5",
    )  # fmt: skip
    with opened.writing() as tx:
        tx.anomalies.add(anomaly)
    yield opened
    opened.close()


def quell(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(folder)])


def test_what_waits_is_listed_and_labelled_by_name(folder: Path, store: SqlStore) -> None:
    listed = quell(folder, "anomaly", "list").output
    assert "ANO-3" in listed and "just inside the limit" in listed and "0.02 stays below 0.021" in listed
    done = quell(folder, "anomaly", "label", "ano-3", "expected", "--why", "load test", "--by", "carol")
    assert (done.exit_code, done.output.strip()) == (0, "ANO-3 is expected, says carol")
    assert "no anomaly waits for review" in quell(folder, "anomaly", "list").output
    assert "expected by carol: load test" in quell(folder, "anomaly", "list", "--labelled").output
    with store.reading() as tx:
        assert tx.timeline.entries()[-1].kind == "anomaly expected"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ANO-3", "maybe", "--by", "carol"), "label is 'maybe'; it must be one of real, false, expected"),
        (("ANO-3", "expected", "--by", "carol"), "why is empty"),
        (("ANO-9", "real", "--by", "carol"), "anomaly ANO-9 is not in the store"),
        (("ANO-3", "real", "--by", "mallory"), "people.yaml knows no such person"),
    ],
)
def test_what_cannot_be_labelled_ends_with_one_message(
    folder: Path, store: SqlStore, words: tuple[str, ...], said: str
) -> None:
    result = quell(folder, "anomaly", "label", *words)
    assert result.exit_code == 1 and said in result.stderr and "Traceback" not in result.output
