"""What is known of deploying a service stands in the service's own repository, as a branch that somebody reviews."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tasks.deployment_document
from benchmarks.guards import git, teach
from benchmarks.misconfigurations import MISCONFIGURATIONS, write_repository
from deployments.cli.main import app
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import NotFound
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.service import Catalog, ConfigRepository, Service
from quell.incidents.suspect import Suspect
from quell.resolution.deployment_document import BEGIN, END
from tasks.deployment_document import document_file, log_file, propose_documents
from tasks.resources import Resources

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"NAME": "Dana Reyes", "EMAIL": "dana@shop.example"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    root = write_repository(tmp_path / "s")
    teach(root, next(case for case in MISCONFIGURATIONS if case.name == "timeout too short"))
    return root


@pytest.fixture
def res(shop: Path) -> Resources:
    """A shop of which one incident is on record, with the change that made it and the fix that ended it."""
    bad = git(shop, "log", "--format=%H", "--grep=^timeout too short$").stdout.strip()
    config = Config(folder=shop, connections=Connections(store="", prometheus=""), catalog=catalog_of(shop))
    store = MemoryStore()
    with store.writing() as tx:
        tx.changes.add(change(bad))
        tx.incidents.add(incident())
        tx.fixes.add(fix(shop, bad))
    return Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: NOW)  # pyright: ignore[reportArgumentType]


def catalog_of(shop: Path) -> Catalog:
    repository = ConfigRepository(
        path=str(shop),
        files={"checkout-2": "services/checkout-2.yaml"},
        validate=("shop-check", "{file}"),
        reload=("shop-reload", "{instance}"),
    )
    return Catalog(
        services={
            "checkout": Service(name="checkout", team="shop", repository=repository),
            "bank": Service(name="bank", team="outside"),
        }
    )


def change(bad: str) -> Change:
    return Change(
        id="CHG-1",
        kind=ChangeKind.CONFIG,
        service="checkout",
        instance="checkout-2",
        at=NOW,
        summary="fail | faster",
        author="dana",
        commit=bad,
        received_at=NOW,
    )


def incident() -> Incident:
    return Incident(
        id=IncidentId("INC-4"),
        state=IncidentState.RESOLVED,
        severity=Severity.CRITICAL,
        title="checkout fails",
        service="checkout",
        onset_at=NOW,
        opened_at=NOW,
        updated_at=NOW,
        opened_because="",
        opened_by="sweep",
        changes=("CHG-1",),
        suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="", change="CHG-1"),),
    )


def fix(shop: Path, bad: str) -> Fix:
    return Fix(
        id="FIX-1",
        state=FixState.PROMOTED,
        incident="INC-4",
        service="checkout",
        instance="checkout-2",
        repository=str(shop),
        file="services/checkout-2.yaml",
        bad_commit=bad,
        diff="",
        created_at=NOW,
        updated_at=NOW + timedelta(seconds=60),
        fix_commit="f" * 40,
        guard="guards/shop-payment-timeout-ms.yaml",
    )


def on_branch(shop: Path, branch: str, file: str) -> str:
    return git(shop, "show", f"{branch}:{file}").stdout


def test_the_document_names_failure_modes_checks_and_the_rollback_that_was_proven(res: Resources, shop: Path) -> None:
    head = git(shop, "rev-parse", "main").stdout
    proposed = propose_documents(res, "checkout")
    assert proposed.branch == "quell/docs-checkout" and git(shop, "rev-parse", "main").stdout == head
    text = on_branch(shop, proposed.branch, document_file("checkout"))
    for part in (
        "quell guard .",
        "shop-payment-timeout-ms",
        "shop-check {file}",
        "shop-reload {instance}",
        "git revert --no-edit COMMIT",
        "Last carried out on 2026-11-23 by FIX-1 on checkout-2",
        "| INC-4 | 2026-11-23 | checkout fails | fail \\| faster",
    ):
        assert part in text
    log = on_branch(shop, proposed.branch, log_file("checkout"))
    assert log.index("FIX-1 takes back") < log.index("fail \\| faster"), "newest first"
    assert "caused INC-4; undone by FIX-1" in log


def test_a_rollback_that_was_never_carried_out_is_not_called_proven(res: Resources, shop: Path) -> None:
    with res.store.writing() as tx:
        fix = tx.fixes.get("FIX-1")
        assert fix
        tx.fixes.put(replace(fix, state=FixState.REVERTED))
    text = on_branch(shop, propose_documents(res, "checkout").branch, document_file("checkout"))
    assert "nothing proves it" in text


def test_merged_documents_are_left_alone_until_something_happens_and_people_may_write_around(
    res: Resources, shop: Path
) -> None:
    propose_documents(res, "checkout")
    git(shop, "merge", "--quiet", "quell/docs-checkout")
    assert propose_documents(res, "checkout").diff == ""
    assert git(shop, "branch", "--list", "quell/docs-checkout").stdout == ""

    file = shop / document_file("checkout")
    file.write_text(file.read_text().replace(BEGIN, f"Ask Mira on Fridays.\n\n{BEGIN}") + "\nSee also the wiki.\n")
    git(shop, "commit", "--quiet", "--all", "-m", "a note")
    assert propose_documents(res, "checkout").diff == ""
    with res.store.writing() as tx:
        fix = tx.fixes.get("FIX-1")
        assert fix
        tx.fixes.put(replace(fix, id="FIX-2", updated_at=NOW + timedelta(days=1)))
    proposed = propose_documents(res, "checkout")
    text = on_branch(shop, proposed.branch, document_file("checkout"))
    assert "by FIX-2 on checkout-2" in text and text.count(BEGIN) == text.count(END) == 1
    assert "Ask Mira on Fridays." in text and text.endswith("\nSee also the wiki.\n")


def test_a_service_without_a_repository_has_no_place_for_documents(res: Resources) -> None:
    with pytest.raises(NotFound, match="bank has no repository"):
        propose_documents(res, "bank")


def test_the_daily_task_makes_a_branch_for_each_service_that_has_news(
    res: Resources, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.deployment_document, "resources", lambda: res)
    assert tasks.deployment_document.document_all.fn() == ["quell/docs-checkout"]
    git(shop, "merge", "--quiet", "quell/docs-checkout")
    assert tasks.deployment_document.document_all.fn() == []


def test_the_document_is_shown_on_the_command_line(tmp_path: Path) -> None:
    config = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    settings = config / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    shown = CliRunner().invoke(app, ["document", "checkout", "--config", str(config)])
    assert shown.exit_code == 0 and "## Before checkout is deployed" in shown.output
    assert "nothing proves it" in shown.output
    assert CliRunner().invoke(app, ["document", "chekout", "--config", str(config)]).exit_code == 1
