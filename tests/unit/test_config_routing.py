"""The rules in routing.yaml: each knows its file and line, and mistakes are told."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.config import Config
from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.incidents.matcher import parse_matchers

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
FULL = """\
grouping: {after_change: 3m}
open_after:
  - name: slow ones
    match: alertname=Slow
    count: 3
    within: 4m
  - {name: long ones, match: alertname=Long, for: 10m}
inhibit:
  - name: node down
    source_matchers: [alertname="NodeDown", 'severity="critical"']
    target_matchers: 'severity=~"warning|info"'
    equal: [zone]
flapping: {changes: 4, within: 20m}
maintenance:
  - {name: rebuild, match: service=catalog, weekly: {days: [sun], from: "03:00", until: "04:00"}}
"""


def read(tmp_path: Path, text: str) -> Config:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    (folder / "routing.yaml").write_text(text)
    return read_config(folder)


def test_every_rule_is_read_with_its_file_and_line(tmp_path: Path) -> None:
    config = read(tmp_path, FULL)
    slow, long = config.rules.open_after
    assert (slow.count, slow.within, slow.lasting, slow.where) == (
        3, timedelta(minutes=4), timedelta(minutes=4), "routing.yaml:3"
    )  # fmt: skip
    assert (long.count, long.lasting, long.where) == (1, timedelta(minutes=10), "routing.yaml:7")
    (rule,) = config.rules.inhibit
    assert rule.source == parse_matchers('alertname="NodeDown", severity="critical"')
    assert (rule.target, rule.equal, rule.where) == (
        parse_matchers('severity=~"warning|info"'), ("zone",), "routing.yaml:9"
    )  # fmt: skip
    flapping = config.rules.flapping
    assert (flapping.changes, flapping.within, flapping.where) == (4, timedelta(minutes=20), "routing.yaml:13")
    assert config.maintenance[0].where == "routing.yaml:15"
    assert config.grouping.after_change == timedelta(minutes=3)


def test_the_example_says_the_defaults(tmp_path: Path) -> None:
    example, nothing = read_config(EXAMPLE), read(tmp_path, "{}\n")
    assert example.grouping == nothing.grouping
    assert example.rules.flapping.changes == nothing.rules.flapping.changes
    assert example.rules.flapping.within == nothing.rules.flapping.within


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("open_after: [{name: a, match: a=b}]", "needs count above 1, or for"),
        ("open_after: [{name: a, match: a=b, count: 0}]", "greater than or equal to 1"),
        ("open_after: [{name: a, match: a=b, fro: 1m}]", 'unknown key; did you mean "for"?'),
        ("inhibit: [{name: a, source_matchers: [], target_matchers: a=b}]", "must select something"),
        ("inhibit: [{name: a, source_matchers: ['a=~\"(\"'], target_matchers: a=b}]", "is not a regular expression"),
        ("inhibit: [{name: a, source_matchers: [1], target_matchers: a=b}]", "must be text like"),
        ("flapping: {changes: 1}", "greater than or equal to 2"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text + "\n")
    assert said in str(caught.value)
    assert "routing.yaml:1" in str(caught.value)
