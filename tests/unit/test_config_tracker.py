"""[tracker] in quell.toml: read whole, and refused where no issue could ever be made or a secret would stand in it."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.load import read_config
from quell.config.problem import ConfigError

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


def tracker(folder: Path, text: str) -> None:
    file = folder / "quell.toml"
    file.write_text(f"{file.read_text()}\n[tracker]\n{text}\n")


def test_the_example_in_the_file_is_right_once_its_marks_are_taken_away(folder: Path) -> None:
    file = folder / "quell.toml"
    head, _, example = file.read_text().partition("# [tracker]\n")
    file.write_text(head + "[tracker]\n" + "\n".join(line.removeprefix("# ") for line in example.splitlines()))
    made = read_config(folder).tracker
    assert made is not None
    assert (made.kind, made.project, made.projects) == ("github", "shop/operations", {"platform": "platform/backlog"})
    assert (made.token, made.labels, made.timeout) == (
        "env:QUELL_TRACKER_TOKEN", ("post-mortem",), timedelta(seconds=10),
    )  # fmt: skip


def test_without_it_nothing_is_exported(folder: Path) -> None:
    assert read_config(folder).tracker is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "github"\nurl = "https://api.github.com"\ntoken = "env:T"', "has no project"),
        ('kind = "gitlab"\nurl = "https://g.example/api/v4"\nproject = "a/b"', "has no token: gitlab takes issues"),
        ('kind = "github"\nurl = "https://x"\nproject = "a/b"\ntoken = "ghp_secret4711"', "holds a secret"),
        ('kind = "jira"\nurl = "https://x"', "kind"),
        ('kind = "webhook"\nurl = "https://x"\nprojekt = "a"', "projekt"),
    ],
)
def test_what_could_never_work_is_told_with_file_and_line(folder: Path, text: str, said: str) -> None:
    tracker(folder, text)
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    told = "\n".join(str(problem) for problem in caught.value.problems)
    assert said in told and "quell.toml:" in told and "ghp_secret4711" not in told
