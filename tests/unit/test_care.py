"""Care for playbooks: who is told to exercise what, and that a proposed diff changes only what it says."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from quell.prevention.care import QUARTER, Care, find_unused, propose_level, propose_name

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
LONG_AGO = NOW - QUARTER - timedelta(days=1)
BLOCK = """name: p # ours
autonomy:
  # earned
  level: automatic
  successes: 3
expires_after: 1h
"""
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example" / "playbooks"


def patched(tmp_path: Path, text: str, diff: str) -> str:
    """What `git apply` makes of the proposal."""
    file = tmp_path / "p.yaml"
    file.write_text(text)
    subprocess.run(["git", "apply", "-"], input=diff, text=True, check=True, cwd=tmp_path)
    return file.read_text()


@pytest.mark.parametrize(
    ("used", "drilled", "known", "is_reported"),
    [
        (None, None, NOW - timedelta(days=1), False),  # young: it has time left
        (None, None, LONG_AGO, True),
        (LONG_AGO, None, LONG_AGO, True),
        (LONG_AGO, NOW - timedelta(days=2), LONG_AGO, False),  # a drill counts as well as a use
        (NOW - timedelta(days=2), LONG_AGO, LONG_AGO, False),
        (NOW - QUARTER, None, LONG_AGO, False),
    ],
)
def test_a_quarter_without_use_or_drill_is_reported(
    used: datetime | None, drilled: datetime | None, known: datetime, is_reported: bool
) -> None:
    care = Care(playbook="p", owner="o", known_since=known, last_used_at=used, last_drilled_at=drilled)
    found = find_unused(care, now=NOW, level="automatic", file="p.yaml", text=BLOCK)
    assert (found is not None) is is_reported
    if found is not None:
        assert "quell playbook drilled p" in found.text and "+  level: approve" in found.diff


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        "name: p\nautonomy: {environments: {production: approve}, level: automatic} # mine\n",
        "name: p\nautonomy: {successes: 2}\n",
        "name: p\nautonomy:\n  successes: 2\nrunbook: x\n",
        "name: p\n",
        "name: p\nautonomy:\n  environments:\n    production: approve\n  level: automatic\n",
    ],
)
def test_the_diff_lowers_the_level_and_leaves_the_rest(tmp_path: Path, text: str) -> None:
    after = patched(tmp_path, text, propose_level("p.yaml", text, "approve", "not exercised"))
    before, now = yaml.safe_load(text), yaml.safe_load(after)
    assert now["autonomy"].pop("level") == "approve"
    before.setdefault("autonomy", {}).pop("level", None)
    assert now == before
    assert all(line in after.splitlines() for line in text.splitlines() if "#" in line and "autonomy" not in line)


@pytest.mark.parametrize("file", sorted(EXAMPLE.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_diff_applies_to_every_playbook_of_the_example(tmp_path: Path, file: Path) -> None:
    text = file.read_text()
    after = patched(tmp_path, text, propose_level("p.yaml", text, "observe", "a trial"))
    assert yaml.safe_load(after)["autonomy"]["level"] == "observe"


def test_what_only_pages_people_or_only_observes_has_nothing_to_give_up() -> None:
    care = Care(playbook="p", owner="o", known_since=LONG_AGO)
    paging = find_unused(care, now=NOW, level="automatic", file="p.yaml", text=BLOCK, acts=False)
    lowest = find_unused(care, now=NOW, level="observe", file="p.yaml", text=BLOCK)
    assert paging is not None and lowest is not None
    assert (paging.diff, lowest.diff) == ("", "") and "drill it" in paging.text


def test_what_stands_at_the_level_already_needs_no_diff() -> None:
    assert propose_level("p.yaml", BLOCK, "automatic", "") == ""


def test_a_name_that_nothing_carries_is_replaced_on_its_line_only(tmp_path: Path) -> None:
    text = "name: p\nrecovery:\n  signal: shop-eror-ratio\nrunbook: shop-eror-ratio\n"
    diff = propose_name("p.yaml", text, 3, "shop-eror-ratio", "shop-error-ratio")
    assert patched(tmp_path, text, diff) == text.replace("signal: shop-eror-ratio", "signal: shop-error-ratio")
    assert propose_name("p.yaml", text, 1, "shop-eror-ratio", "x") == ""
