"""One instance first, as services.yaml says it: what is built, what is told of a mistake, and who gets no canary."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from quell.config.config import Config
from quell.config.load import read_config
from quell.config.problem import ConfigError
from quell.config.rollout_check import rollout_hints

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
SHOP = """
  shop:
    team: shop
    instances:
      shop-1: {server: be_shop/shop-1, url: "http://127.0.0.1:8001"}
      shop-2: {server: be_shop/shop-2, url: "http://127.0.0.1:8002"}
    repository:
      path: .
      files: {shop: services/shop.yaml}
      reload: [deploy, "{instance}"]
      running: [deploy, "{instance}", --running]
      one_by_one: true
"""


def folder_with(tmp_path: Path, text: str) -> Path:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    with (folder / "services.yaml").open("a") as file:
        file.write(text)
    return folder


def read(tmp_path: Path, text: str) -> Config:
    return read_config(folder_with(tmp_path, text))


def test_a_service_whose_instances_are_reloaded_one_by_one_is_built(tmp_path: Path) -> None:
    shop = read(tmp_path, SHOP).catalog.services["shop"]
    assert shop.repository is not None and shop.repository.one_by_one
    assert [one.name for one in shop.readers] == ["shop-1", "shop-2"]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("{shop: services/shop.yaml}", "{shop-1: services/shop.yaml}", "files", 'files has no entry "shop"'),
        ('reload: [deploy, "{instance}"]', "reload: [deploy, all]", "reload", "reload does not contain {instance}"),
        ('      reload: [deploy, "{instance}"]\n', "", "reload", "reload does not contain {instance}"),
        ('"{instance}", --running', "--running", "running", "running does not contain {instance}"),
        ("be_shop/shop-2", "be_other/shop-2", "one_by_one", "there are: 1 in be_shop, 1 in be_other"),
        ("server: be_shop/shop-2, ", "", "one_by_one", "needs at least 2 instances that read the service's file"),
        (', url: "http://127.0.0.1:8002"', "", "instances.shop-2", 'instance "shop-2" has no url: with one_by_one'),
        ("one_by_one: true", "one_by_one: yes please", "one_by_one", "valid boolean"),
        ("one_by_one: true", "one_by_on: true", "one_by_on", 'did you mean "one_by_one"?'),
    ],
)
def test_what_cannot_go_one_by_one_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, key: str, message: str
) -> None:
    assert old in SHOP
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, SHOP.replace(old, new, 1))
    assert message in str(caught.value) and "services.yaml:" in str(caught.value) and key in str(caught.value)


def test_the_remote_whose_branch_counts_is_a_name_and_no_address(tmp_path: Path) -> None:
    shop = read(tmp_path, SHOP + "      remote: origin\n").catalog.services["shop"]
    assert shop.repository is not None and shop.repository.remote == "origin"
    with pytest.raises(ConfigError, match=r"remote: \"git@forge:shop.git\" is not the name of a remote"):
        read(tmp_path / "again", SHOP + "      remote: git@forge:shop.git\n")


def test_two_colours_are_not_reloaded_one_by_one_as_well(tmp_path: Path) -> None:
    text = (
        SHOP.replace("be_shop/shop-2", "be_two/shop-2") + "    blue_green: {route: shop, backends: [be_shop, be_two]}\n"
    )
    with pytest.raises(ConfigError, match=r'one_by_one: service "shop" has blue_green: .* take one of the two out'):
        read(tmp_path, text)


def test_who_gets_no_canary_is_told_how_to_get_one(tmp_path: Path) -> None:
    config = read(tmp_path, SHOP.replace("      one_by_one: true\n", ""))
    (hint,) = rollout_hints(config.catalog)
    assert hint.startswith("services.shop: its 2 instances read one file") and "one_by_one: true" in hint


def test_a_hint_is_no_mistake(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, SHOP.replace("      one_by_one: true\n", ""))
    done = CliRunner().invoke(app, ["check", "--config", str(folder)])
    assert done.exit_code == 0 and "hint: services.shop: its 2 instances read one file" in done.output


def test_the_example_gives_no_hints() -> None:
    assert list(rollout_hints(read_config(EXAMPLE).catalog)) == []
