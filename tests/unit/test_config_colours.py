"""A service in two colours, as services.yaml has it: what is built, and what is told of a mistake."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.config import Config
from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.incidents.service import BlueGreen

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
COLOURS = """
  shop:
    team: shop
    instances:
      shop-blue: {server: be_blue/shop-blue, url: "http://127.0.0.1:8001"}
      shop-green: {server: be_green/shop-green, url: "http://127.0.0.1:8002"}
    blue_green: {route: shop, backends: [be_blue, be_green], probes: [/ready], keep_warm: 5m}
"""


def read(tmp_path: Path, text: str) -> Config:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    with (folder / "services.yaml").open("a") as file:
        file.write(text)
    return read_config(folder)


def test_two_colours_are_built_with_the_instances_behind_each(tmp_path: Path) -> None:
    shop = read(tmp_path, COLOURS).catalog.services["shop"]
    assert shop.blue_green == BlueGreen(
        route="shop", backends=("be_blue", "be_green"), probes=("/ready",), keep_warm=timedelta(minutes=5)
    )
    assert [one.name for one in shop.behind("be_green")] == ["shop-green"]
    assert shop.blue_green.other("be_blue") == "be_green" and shop.blue_green.other("be_green") == "be_blue"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[be_blue, be_green]", "[be_blue, be_blue]", 'has backend "be_blue" twice'),
        ("[be_blue, be_green]", "[be_blue]", "at least 2 items"),
        (
            "be_green/shop-green",
            "be_grey/shop-green",
            "server be_grey/shop-green, which is in neither be_blue nor be_gre",
        ),
        ("be_green/shop-green", "be_blue/shop-green", 'no instance of "shop" has a server in be_green'),
        (', url: "http://127.0.0.1:8002"', "", 'instance "shop-green" has no url: a colour is asked by itself'),
        ("keep_warm: 5m", "keep_warm: 5", "blue_green.keep_warm: duration 5 has no unit"),
        ("probes: [/ready]", "probes: [ready]", "blue_green.probes[0]"),
        ("route: shop", "rout: shop", 'blue_green.rout: unknown key; did you mean "route"?'),
    ],
)
def test_colours_that_could_not_be_switched_are_told_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, COLOURS.replace(old, new, 1))
    assert message in str(caught.value) and "services.yaml:" in str(caught.value)
