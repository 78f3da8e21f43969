"""Guards: derived from a bad change, false of the bad file and true of the good one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from deployments.cli.guard import command, guard
from quell.adapters.documents import HeldFiles, TextDocument
from quell.adapters.guards import check_text, read_guard, write_guard
from quell.incidents.errors import InvalidInput
from quell.resolution.bound import limit_between
from quell.resolution.evidence import BadChange
from quell.resolution.guard import Guard, check_content
from quell.resolution.key_change import changed_keys
from quell.resolution.proposal import common_glob, propose
from quell.resolution.proving import Ground

pytestmark = pytest.mark.unit


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FILE = "services/x.yaml"


def propose_for(good: object, bad: object) -> tuple[Guard, ...]:
    """What is proposed from one change alone, without history or other files."""
    texts = [yaml.safe_dump(content) for content in (good, bad)]
    before, after = (TextDocument(name=FILE, text=text) for text in texts)
    change = BadChange(
        service="checkout", incident="INC-1", commit="3f2a1bc09d", good=before, bad=after, globs=("services/*.yaml",)
    )
    around_good, around_bad = (HeldFiles(texts={FILE: text}) for text in texts)
    found, _ = propose(change, Ground(bad=after, around_bad=around_bad, around_good=around_good, now=NOW))
    return tuple(proposal.guard for proposal in found)


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ({"a": 800}, {"a": 5}, {"type": "number", "minimum": 63}),
        ({"a": 5}, {"a": 800}, {"type": "number", "maximum": 63}),
        ({"a": 0}, {"a": 3}, {"type": "number", "maximum": 1}),
        ({"a": -2}, {"a": -8}, {"type": "number", "minimum": -4}),
        ({"a": True}, {"a": False}, {"const": True}),
        ({"a": "x"}, {"a": "y"}, {"not": {"const": "y"}}),
        ({"a": 800}, {"a": "8s"}, {"type": "number"}),
        ({"a": {"b": [1, 10]}}, {"a": {"b": [1, 90]}}, None),
        ({"a": 1, "b": 2}, {"a": 1}, None),
        ({"a": 1}, {"a": 1, "b": 2}, None),
    ],
)
def test_a_proposal_fails_on_the_bad_file_and_passes_on_the_good_one(
    good: dict[str, Any], bad: dict[str, Any], rule: dict[str, Any] | None
) -> None:
    (proposal,) = propose_for(good, bad)
    assert check_content([proposal], "services/x.yaml", good) == ()
    assert len(check_content([proposal], "services/x.yaml", bad)) == 1
    if rule is not None:
        assert proposal.schema["properties"]["a"] == rule


def test_a_number_hidden_in_quotes_does_not_get_round_a_limit() -> None:
    """JSON Schema's minimum says nothing about text; the service would have read it as a number."""
    (proposal,) = propose_for({"a": 800}, {"a": 5})
    assert check_content([proposal], "services/x.yaml", {"a": "5"})


def test_every_changed_key_gets_its_own_guard_and_equal_ones_none() -> None:
    names = [g.name for g in propose_for({"a": 1, "b": {"c": 2}, "d": 3}, {"a": 9, "b": {"c": 8}, "d": 3})]
    assert names == ["checkout-a", "checkout-b-c"]
    assert propose_for({"a": 1}, {"a": 1}) == ()


@given(
    st.one_of(st.integers(-1000, 1000), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    st.one_of(st.integers(-1000, 1000), st.floats(allow_nan=False, allow_infinity=False, width=32)),
)
def test_a_limit_separates_good_from_bad(good: float, bad: float) -> None:
    if good == bad:
        return
    limit = limit_between(good, bad)
    assert (bad < limit <= good) or (good <= limit < bad)


SCALARS = st.one_of(st.integers(-100, 100), st.booleans(), st.text(max_size=5), st.none())
TREES = st.dictionaries(st.sampled_from("abcd"), st.one_of(SCALARS, st.dictionaries(st.sampled_from("xy"), SCALARS)))


@settings(deadline=None)  # a whole proposal, on a machine that may be busy
@given(TREES, TREES)
def test_whatever_changed_the_good_file_passes_every_proposal(good: dict[str, Any], bad: dict[str, Any]) -> None:
    guards = propose_for(good, bad)
    assert check_content(guards, "services/x.yaml", good) == ()
    assert not changed_keys(good, bad) or guards


def test_a_guard_survives_its_file() -> None:
    (proposal,) = propose_for({"a": {"b": 800}}, {"a": {"b": 5}})
    again = read_guard(write_guard(proposal), source=proposal.source)
    assert again == proposal


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "is not a mapping"),
        ("name: x\n", "lacks incident"),
        ("{name: x, incident: i, files: f, schema: {}, message: m, extra: 1}", "unknown key extra"),
        ("{name: x, incident: i, files: f, schema: {type: nonsense}, message: m}", "not JSON Schema"),
        ("a: [", "x.yaml:1: this is not YAML"),
    ],
)
def test_a_guard_that_cannot_be_read_says_why(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read_guard(text, source="x.yaml")


def test_a_finding_names_the_line_of_the_nested_key() -> None:
    (proposal,) = propose_for({"a": {"b": 800}}, {"a": {"b": 5}})
    text = "# head\nother: 1\na:\n  # why\n  b: 5\n"
    (finding,) = check_text([proposal], "services/x.yaml", text)
    assert finding.line == 5 and str(finding).startswith("services/x.yaml:5: a.b: 5 is less than the minimum")


def test_names_without_anything_in_common_are_not_globbed() -> None:
    assert common_glob("a/x.yaml", ["a/y.yaml"]) == "a/x.yaml"
    assert common_glob("x-1.yaml", ["x-2.yaml"]) == "x-*.yaml"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "guards").mkdir()
    (proposal,) = propose_for({"a": 800}, {"a": 5})
    (tmp_path / "guards" / proposal.source).write_text(write_guard(proposal))
    (tmp_path / "services").mkdir()
    (tmp_path / "services/good.yaml").write_text("a: 800\n")
    (tmp_path / "services/bad.yaml").write_text("b: 1\na: 5\n")
    return tmp_path


def test_the_gate_answers_with_file_line_and_the_incident(repository: Path) -> None:
    assert guard([repository / "services/good.yaml"]) == []
    (line,) = guard([repository / "services/good.yaml", repository / "services/bad.yaml"])
    assert line.startswith("services/bad.yaml:2: a: 5 is less") and "INC-1" in line


def test_the_gate_fails_closed_on_what_it_cannot_read(repository: Path) -> None:
    (repository / "services/broken.yaml").write_text("a: [1\n")
    assert "not YAML" in guard([repository / "services/broken.yaml"])[0]
    assert "cannot be read" in guard([repository / "services/missing.yaml"])[0]
    (repository / "guards/odd.yaml").write_text("name: x\n")
    assert "lacks" in guard([repository / "services/good.yaml"])[0]
    assert "is no folder of guards" in guard([repository / "services/good.yaml"], guards=repository / "nowhere")[0]


def test_a_repository_without_guards_passes(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"a": 1}))
    assert guard([tmp_path / "x.yaml"]) == []


def test_the_command_exits_0_or_1(repository: Path) -> None:
    app = Typer()
    app.command()(command)
    run = CliRunner().invoke
    assert run(app, [str(repository / "services/good.yaml")]).exit_code == 0
    failed = run(app, [str(repository / "services/bad.yaml")])
    assert failed.exit_code == 1 and "services/bad.yaml:2" in failed.output
