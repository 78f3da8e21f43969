"""[standing_limits] in quell.toml: read whole, and refused where limits could not be learned or held as written."""

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


def change(folder: Path, old: str, new: str, file: str = "quell.toml") -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def test_the_example_learns_from_the_traffic_of_clients(folder: Path) -> None:
    change(folder, "# promised = ", "promised = ")
    made = read_config(folder).standing
    assert made is not None
    assert (made.signal, made.window, made.block) == (
        "client-traffic", timedelta(seconds=15), timedelta(minutes=10),
    )  # fmt: skip
    assert (made.headroom, made.unnamed, made.promised) == (2, ("unknown", "other"), {"partner": 50})


def test_without_it_no_limits_are_learned(folder: Path) -> None:
    text = (folder / "quell.toml").read_text()
    start, end = text.index("[standing_limits]"), text.index("[canary]")
    (folder / "quell.toml").write_text(text[:start] + text[end:])
    assert read_config(folder).standing is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('signal = "client-traffic"', 'signal = "client-trafic"', 'did you mean "client-traffic"?'),
        (
            'signal = "client-traffic"',
            'signal = "shop-latency-p99"',
            "is of kind latency; standing limits need traffic",
        ),
        ('window = "15s" ', 'window = "1m" ', 'window is 1m, and signal "client-traffic" measures over [15s]'),
        ("headroom = 2 ", "headroom = 1.5 ", "greater than or equal to 2"),
        ("least_blocks = 7", "least_blocks = 1", "greater than or equal to 2"),
        ("# promised = { partner = 50 }", "promised = { Partner = 50 }", "promises to 'Partner': a client's name"),
        ("# promised = { partner = 50 }", "promised = { partner = 0 }", "greater than 0"),
        ('shadow = "30m"', 'shaddow = "30m"', "shaddow"),
        ("haproxy_maps = ", "# haproxy_maps = ", "standing_limits needs connections.haproxy_maps"),
    ],
)
def test_what_could_never_work_is_told_with_file_and_line(folder: Path, old: str, new: str, said: str) -> None:
    change(folder, old, new)
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    told = [str(problem) for problem in caught.value.problems]
    assert any(said in line and "quell.toml:" in line for line in told), told


def test_a_signal_that_is_looked_at_more_rarely_than_its_window_is_told(folder: Path) -> None:
    text = (folder / "signals.yaml").read_text()
    head, name, body = text.partition("  client-traffic:\n")
    (folder / "signals.yaml").write_text(head + name + body.replace("step: 5s", "step: 1m", 1))
    with pytest.raises(ConfigError, match='signal "client-traffic" has step 1m, longer than window 15s'):
        read_config(folder)
