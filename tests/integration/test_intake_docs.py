"""What docs/intake.md tells people to paste: run against the gateway over real HTTP, with curl and openssl."""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.gateway import serving
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.gateway.senders import hash_token
from quell.incidents.event_source import EventKind, EventSource

pytestmark = pytest.mark.integration
TEXT = (Path(__file__).parents[2] / "docs" / "intake.md").read_text()
CHANGES = frozenset({EventKind.CHANGES})


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def scripts() -> list[str]:
    """The shell of every snippet: as it stands, and inside the pipelines."""
    found = blocks("bash")
    for text in blocks("yaml"):
        read: dict[str, Any] = yaml.safe_load(text)
        found += [step["run"] for step in read.get("steps", [])]
        found += ["\n".join(job["script"]) for job in read.values() if isinstance(job, dict) and "script" in job]
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    yield store
    store.close()


@pytest.fixture
def address(store: SqlStore, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "signing").write_text("the secret")
    sources = {
        "ci": EventSource(name="ci", may_send=CHANGES, tokens=(hash_token("the token"),)),
        "signer": EventSource(name="signer", may_send=CHANGES, signing_secret=f"file:{tmp_path}/signing"),
    }
    config = Config(
        folder=tmp_path, connections=Connections(store="", prometheus=""), sources=sources,
    )  # fmt: skip
    deps = GatewayDeps(
        store=store,
        config=config,
        clock=lambda: datetime.now(UTC),
        decide=lambda **_: pytest.fail("no decision here"),
        run_url=lambda run: run,
    )
    with serving(create_app(deps)) as url:
        yield url


def test_every_snippet_sends_what_the_gateway_takes(store: SqlStore, address: str) -> None:
    """A snippet is pasted by people who do not read the code: it has to work, and fail where the gateway refuses."""
    known = {
        "PATH": os.environ["PATH"], "no_proxy": "*", "QUELL_GATEWAY": address, "QUELL_TOKEN": "the token",
        "QUELL_SIGNING_SECRET": "the secret", "GITHUB_REF_NAME": "main", "GITHUB_SHA": "abc",
        "CI_COMMIT_REF_NAME": "trunk", "CI_COMMIT_SHA": "def",
    }  # fmt: skip
    for script in scripts():
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=known, capture_output=True, text=True)
        assert done.returncode == 0, script + done.stderr
        wrong = known | {"QUELL_TOKEN": "wrong", "QUELL_SIGNING_SECRET": "wrong"}
        assert subprocess.run(["bash", "-euc", script], env=wrong, capture_output=True).returncode != 0
    with store.reading() as tx:
        said = sorted((item.source, item.payload["summary"], item.payload.get("commit")) for item in tx.inbox.find())
    assert said == [
        ("ci", "deploy 8", None), ("ci", "deploy of main", "abc"), ("ci", "deploy of trunk", "def"),
        ("signer", "deploy 7", None),
    ]  # fmt: skip
