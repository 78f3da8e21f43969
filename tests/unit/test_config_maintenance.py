"""Planned maintenance in routing.yaml, and what is said of mistakes in it."""

import shutil
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.incidents.maintenance import Maintenance

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"


def read(tmp_path: Path, entry: str) -> Maintenance:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    (folder / "routing.yaml").write_text(f"maintenance:\n  - name: rebuild\n{entry}")
    [found] = read_config(folder).maintenance
    return found


def test_once_and_weekly_are_read(tmp_path: Path) -> None:
    entry = "    match: service=payment\n    from: 2026-12-01T22:00:00Z\n    until: 2026-12-02T02:00:00+01:00\n"
    once = read(tmp_path / "a", entry)
    assert once.once == (datetime(2026, 12, 1, 22, tzinfo=UTC), datetime(2026, 12, 2, 1, tzinfo=UTC))
    # 13:30 without quotes is a number to YAML
    hours = "{days: [sun, mon], from: 13:30, until: 03:00, zone: Europe/Berlin}"
    found = read(tmp_path / "b", f"    match: service=payment\n    weekly: {hours}\n").weekly
    assert found is not None
    assert (found.days, found.start, found.end, str(found.zone)) == ((0, 6), time(13, 30), time(3), "Europe/Berlin")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("    match: service=a\n", "needs either from and until, or weekly"),
        ("    match: service=a\n    from: 2026-12-01T22:00:00Z\n", "needs either from and until, or weekly"),
        ("    match: '{}'\n    weekly: {days: [sun], from: 1:00, until: 2:00}\n", "match is empty"),
        (
            "    match: service=a\n    from: 2026-12-01T22:00:00Z\n    until: 2026-12-01T21:00:00Z\n",
            "until 2026-12-01T21:00:00+00:00 must come after from 2026-12-01T22:00:00+00:00",
        ),
        ("    match: service=a\n    from: 2026-12-01T22:00:00\n    until: 2026-12-01T23:00:00Z\n", "timezone"),
        ("    match: service=a\n    weekly: {days: [sunday], from: 1:00, until: 2:00}\n", '"sunday" is not one of mon'),
        ("    match: service=a\n    weekly: {days: [sun], from: noon, until: 2:00}\n", '"noon" is not a time of day'),
        (
            "    match: service=a\n    weekly: {days: [sun], from: 1:00, until: 2:00, zone: Mars}\n",
            '"Mars" is not a time zone: write a name like Europe/Berlin',
        ),
        ("    match: service=a\n    weekly: {day: [sun], from: 1:00, until: 2:00}\n", "unknown key"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, entry: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, entry)
    assert said in str(caught.value)
    assert "routing.yaml:" in str(caught.value)
