"""The canary's policy in quell.toml."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.config import Config
from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.resolution.policy import THOROUGH, CanaryPolicy

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"


def read(tmp_path: Path, keys: str) -> Config:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    file = folder / "quell.toml"
    file.write_text(file.read_text().replace('policy = "quick"', keys, 1))
    return read_config(folder)


def test_what_is_not_given_is_the_quick_policy(tmp_path: Path) -> None:
    """A fix under little traffic, as in the demo, must not wait for ten thousand requests unasked."""
    assert read(tmp_path, "").canary == CanaryPolicy()


def test_the_thorough_policy_with_keys_of_ones_own(tmp_path: Path) -> None:
    keys = 'policy = "thorough"\nrequest_log = "requests"\nshares = [0.05, 1.0]\ndeadline = "2h"\np99_margin = 0.2'
    policy = read(tmp_path, keys).canary
    assert policy.shares == (0.05, 1.0) and policy.deadline == timedelta(hours=2) and policy.p99_margin == 0.2
    assert policy.margin == THOROUGH.margin and policy.precision == THOROUGH.precision


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('policy = "thorough"', "needs request_log: p99 is judged on single requests"),
        ("p99_margin = 0.1", "needs request_log: p99 is judged on single requests"),
        ("shares = [0.1, 1.5]", "less than or equal to 1"),
        ('saturation = "up"', "instance"),
        ('request_log = "a; shutdown"', "request_log"),
    ],
)
def test_a_policy_that_could_never_promote_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, keys)
    assert message in str(caught.value)
