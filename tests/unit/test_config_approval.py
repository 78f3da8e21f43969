"""A playbook's approval: what nobody can answer, or nobody would hear of, is an error before it is needed."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.incidents.incident import Severity

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
ISOLATE = "playbooks/isolate-bad-instance.yaml"
PEOPLE_URL = "people: {url: env:QUELL_NOTIFY_PEOPLE}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


def approval(folder: Path, *lines: str) -> None:
    """Put these lines in the place of `approvers: 1`."""
    file = folder / ISOLATE
    text = file.read_text()
    assert text.count("  approvers: 1\n") == 1
    file.write_text(text.replace("  approvers: 1\n", "".join(f"  {line}\n" for line in lines)))


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    return [str(problem).partition(": ")[2] for problem in caught.value.problems]


def test_every_key_of_approval_is_read(folder: Path) -> None:
    approval(
        folder,
        "approvers: 1",
        "approvers_by_severity: {critical: 2}",
        "escalate_after: 5m",
        "escalate_to: [carol, approver]",
    )
    notifications = folder / "notifications.yaml"
    notifications.write_text(notifications.read_text() + PEOPLE_URL)
    config = read_config(folder)
    policy = config.playbooks["isolate-bad-instance"].approval
    assert (policy.approvers, policy.approvers_by_severity) == (1, {Severity.CRITICAL: 2})
    assert (policy.escalate_after, policy.escalate_to) == (timedelta(minutes=5), ("carol", "approver"))
    assert config.notifying.people is not None and config.notifying.people.url == "env:QUELL_NOTIFY_PEOPLE"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["approvers: 3"], "approvers is 3, but only 2 in people.yaml are approver with a totp_secret: alice, bob"),
        (["approvers_by_severity: {critical: 3}"], "approvers_by_severity.critical is 3, but only 2"),
        (["approvers_by_severity: {SEV1: 2}"], "critical"),
        (["approvers: 0"], "greater than or equal to 1"),
        (["escalate_after: 5m"], "escalate_after needs escalate_to"),
        (["escalate_to: [carol]"], "escalate_to needs escalate_after"),
        (["escalate_after: 15m", "escalate_to: [carol]"], "escalate_after 15m must be shorter than deadline 15m"),
        (["escalate_after: 5m", "escalate_to: [carlo]"], 'receiver, person or role "carlo" is not defined'),
        (["escalate_after: 5m", "escalate_to: [carol]"], "carol is told by e-mail, and notifications.yaml"),
    ],
)
def test_what_could_never_work_is_told(folder: Path, lines: list[str], said: str) -> None:
    approval(folder, *lines)
    assert any(said in problem for problem in problems(folder)), problems(folder)
