"""A playbook's approval: what nobody can answer, or nobody would hear of, is an error before it is needed."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.incidents.incident import Severity
from quell.incidents.notification import NotificationKind
from quell.response.playbook import TELLABLE, NotificationRule

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


def notification(folder: Path, *lines: str) -> None:
    file = folder / ISOLATE
    file.write_text(file.read_text() + "notification:\n" + "".join(f"  {line}\n" for line in lines))


def with_receiver(folder: Path) -> None:
    file = folder / "notifications.yaml"
    text = file.read_text()
    assert text.count("receivers: {}\n") == 1
    file.write_text(text.replace("receivers: {}\n", "receivers:\n  shop-oncall: {urls: [env:CHAT]}\n"))


def test_a_playbook_says_whom_its_mitigations_are_told_and_of_what(folder: Path) -> None:
    with_receiver(folder)
    notification(folder, "to: [shop-oncall]", "kinds: [applied, undone]")
    config = read_config(folder)
    rule = config.playbooks["isolate-bad-instance"].notification
    assert (rule.to, rule.kinds) == (("shop-oncall",), (NotificationKind.APPLIED, NotificationKind.UNDONE))
    assert config.playbooks["drain-zone"].notification == NotificationRule()


def test_whoever_is_named_without_kinds_hears_of_all(folder: Path) -> None:
    with_receiver(folder)
    notification(folder, "to: [shop-oncall]")
    assert read_config(folder).playbooks["isolate-bad-instance"].notification.kinds == TELLABLE


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["to: [shop-oncal]"],
            'notification.to[0]: receiver, person or role "shop-oncal" is not defined; did you mean',
        ),
        (["to: [carol]"], "notification.to[0]: carol is told by e-mail, and notifications.yaml does not say how"),
        (["kinds: [undon]"], 'notification.kinds[0]: kind "undon" is not defined; did you mean "undone"?'),
        (["kinds: [opened]"], 'notification.kinds[0]: kind "opened" is not defined'),  # no mitigation's
        (["kinds: [7]"], 'notification.kinds[0]: kind "7" is not defined'),
        (["to:"], "notification is empty: say whom it is told (to), what is told (kinds), or both"),
        (["too: [shop-oncall]"], "did you mean"),
    ],
)
def test_a_notification_that_reaches_nobody_or_says_nothing_is_an_error(
    folder: Path, lines: list[str], said: str
) -> None:
    with_receiver(folder)
    notification(folder, *lines)
    assert any(said in problem for problem in problems(folder)), problems(folder)


def test_the_error_of_an_unknown_receiver_names_file_and_line(folder: Path) -> None:
    with_receiver(folder)
    notification(folder, "kinds: [applied]", "to: [shop-oncal]")
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    [problem] = caught.value.problems
    last = len((folder / ISOLATE).read_text().splitlines())
    assert problem.file.endswith(ISOLATE) and problem.line == last
