"""`quell mitigate`, `approve` and `release` against a real HAProxy and a real record."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner, Result

from deployments.cli.main import app
from deployments.cli.record import opened
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.sandbox import Sandbox
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.config.load import load_config
from quell.incidents.mitigation import MitigationState
from tasks.effect import apply_mitigation
from tasks.planning import plan_manual
from tasks.resources import Resources

pytestmark = pytest.mark.integration

AWAY = "http://127.0.0.1:1/api"
ISOLATE = ("--playbook", "isolate-bad-instance", "--service", "checkout", "--target", "checkout-2")


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """In a folder of its own under /tmp: pytest's is too long for a unix socket."""
    with (
        tempfile.TemporaryDirectory(prefix="quell-", dir="/tmp") as folder,
        Sandbox(Path(folder) / "s", find_base_port()) as sandbox,
    ):
        yield sandbox


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Prefect is away: planning, approving and releasing must not need it.

    Also where another test has read its settings already: it would start a server of its own, for the rest of the run.
    """
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PREFECT_API_URL", AWAY)
    monkeypatch.setenv("PREFECT_UI_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("QUELL_CONFIG", "put back by monkeypatch")
    with temporary_settings({PREFECT_API_URL: AWAY}):
        yield


@pytest.fixture
def res(shop: Sandbox) -> Iterator[Resources]:
    with opened(shop.config_folder) as resources:
        yield resources


def quell(shop: Sandbox, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(shop.config_folder)])


def admin_state(shop: Sandbox, server: str) -> str:
    socket = load_config(shop.config_folder).connections.haproxy_socket
    assert socket is not None
    return RuntimeClient(socket, timedelta(seconds=2)).servers()[server].admin_state


def test_without_apply_the_plan_is_shown_and_nothing_is_stored_or_changed(shop: Sandbox, res: Resources) -> None:
    with res.store.reading() as tx:
        before = tx.mitigations.count()
    result = quell(shop, "mitigate", *ISOLATE)
    assert result.exit_code == 0, result.output
    assert "takes 33% of checkout's live capacity, leaves 67% of the full one" in result.stdout
    assert "more than 25%: a person with role approver must agree" in result.stdout
    assert "guardrails: allowed" in result.stdout and "dry run: nothing was changed" in result.stdout
    with res.store.reading() as tx:
        assert tx.mitigations.count() == before
    assert admin_state(shop, "be_checkout/checkout-2") == "ready"


def test_applying_without_a_reason_is_refused(shop: Sandbox) -> None:
    result = quell(shop, "mitigate", *ISOLATE, "--apply")
    assert result.exit_code == 1 and "reason is empty" in result.stderr


def test_a_plan_whose_run_cannot_be_started_does_not_hold_the_target(shop: Sandbox, res: Resources) -> None:
    """Otherwise the target would stay taken by a plan that nothing will ever carry out."""
    result = quell(shop, "mitigate", *ISOLATE, "--apply", "--reason", "errors", "--by", "carol")
    assert result.exit_code == 1 and "could not be started" in result.stderr
    with res.store.reading() as tx:
        newest = tx.mitigations.find(order="created_at", descending=True, limit=1)[0]
    assert newest.state is MitigationState.REFUSED
    assert "guardrails: allowed" in quell(shop, "mitigate", *ISOLATE).stdout


def test_a_plan_that_still_waits_is_withdrawn_by_releasing_it(shop: Sandbox, res: Resources) -> None:
    planned = plan_manual(res, "isolate-bad-instance", "checkout", "checkout-1", None, "carol", "errors")
    released = quell(shop, "release", planned.id)
    assert released.exit_code == 0 and f"{planned.id} was never applied; it is withdrawn" in released.stdout


def test_an_approved_mitigation_is_released_and_the_server_serves_again(shop: Sandbox, res: Resources) -> None:
    planned = plan_manual(res, "isolate-bad-instance", "checkout", "checkout-2", None, "carol", "errors")
    secret = load_config(shop.config_folder).people["alice"].totp_secret.removeprefix("file:")
    code = pyotp.TOTP(Path(secret).read_text().strip()).now()
    approved = quell(shop, "approve", planned.id.lower(), "--person", "alice", "--code", code)
    assert approved.exit_code == 0, approved.output
    assert f"alice said approve to {planned.id}" in approved.stdout and "be_checkout/checkout-2" in approved.stdout
    again = quell(shop, "approve", planned.id, "--person", "alice", "--code", code)
    assert again.exit_code == 1 and "Traceback" not in again.stderr
    apply_mitigation(res, planned.id)
    assert admin_state(shop, "be_checkout/checkout-2") == "drain"
    released = quell(shop, "release", planned.id, "--by", "bob")
    assert released.exit_code == 0, released.output
    assert f"{planned.id} is undone" in released.stdout
    assert admin_state(shop, "be_checkout/checkout-2") == "ready"


def test_the_first_of_two_approvals_says_who_is_waited_for(shop: Sandbox) -> None:
    file = shop.config_folder / "playbooks" / "isolate-bad-instance.yaml"
    text = file.read_text()
    file.write_text(text.replace("  approvers: 1\n", "  approvers: 2\n"))
    try:
        with opened(shop.config_folder) as res:
            planned = plan_manual(res, "isolate-bad-instance", "checkout", "checkout-3", None, "carol", "errors")
            first = quell(shop, "approve", planned.id, "--person", "alice", "--code", code_of(shop, "alice"))
            assert "approvals: 0 of 2 approvals, waiting for 2 persons" in first.stdout, first.output
            said = f"alice said approve to {planned.id} (plan {planned.plan_hash[:12]})"
            assert f"{said}: 1 of 2 approvals (alice), waiting for another person" in first.stdout
            second = quell(shop, "approve", planned.id, "--person", "bob", "--code", code_of(shop, "bob"))
            assert ": approved by alice, bob" in second.stdout
            released = quell(shop, "release", planned.id)
            assert "withdrawn" in released.stdout
    finally:
        file.write_text(text)


def code_of(shop: Sandbox, person: str) -> str:
    """A code that no other test here has used: the next one is good for half a minute already."""
    secret = load_config(shop.config_folder).people[person].totp_secret.removeprefix("file:")
    return pyotp.TOTP(Path(secret).read_text().strip()).at(datetime.now(UTC) + timedelta(seconds=30))
