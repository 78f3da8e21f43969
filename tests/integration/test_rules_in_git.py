"""Limits whose rule files are kept in git: each change is a commit, here and there, and what Prometheus runs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.cli.check_repository import check_remotes
from quell.adapters.git import GitRepository
from quell.adapters.rule_repository import RuleRepository
from quell.adapters.rules import RuleFolder
from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Conflict, Refused, Unavailable
from quell.incidents.threshold import ThresholdState
from quell.ports import Store
from tasks.resources import Resources
from tasks.thresholds import promote_threshold, recompute_of, revert_threshold
from tests.git_shop import RemoteShop, save, share
from tests.integration.test_threshold_life import LATENCY, NOW, Latency
from tests.limit_life import approve, resources_of, rules_in_force, version

pytestmark = pytest.mark.integration

FILE = "rules/quell-latency.yml"
NAME = "quell-latency.yml"
RULE = "groups: [{name: slow, rules: [{alert: Slow, expr: latency_seconds > 2}]}]\n"
OTHER = RULE.replace("2", "3")


@pytest.fixture
def shop(rule_prometheus: RuleFolder) -> RemoteShop:
    """The folder of rules is one of a clone's folders; a colleague has another clone."""
    folder = rule_prometheus.folder.parent
    assert rule_prometheus.folder.name == "rules"
    GitRepository(folder).git("init", "--quiet", "-b", "main")
    (folder / ".gitignore").write_text("/*\n!/rules\n")
    save(folder, RULE.replace("slow", "people"), "rules of people", file="rules/people.yml")
    return share(folder, beside=folder / "forge")


@pytest.fixture
def rules(rule_prometheus: RuleFolder, shop: RemoteShop) -> RuleFolder:
    git = GitRepository(rule_prometheus.folder, remote="origin")
    return replace(rule_prometheus, repository=RuleRepository(git=git, branch="main"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SqlStore(f"sqlite:///{tmp_path}/record.db")
    yield opened
    opened.close()


@pytest.fixture
def res(store: Store, rule_prometheus: RuleFolder, shop: RemoteShop) -> Resources:
    made = resources_of(store, LATENCY, Latency(), now=NOW, rules=rule_prometheus)
    assert made.config.connections.prometheus_rules == shop.folder / "rules"
    kept = replace(made.config.connections, prometheus_rules_branch="main", prometheus_rules_remote="origin")
    return replace(made, config=replace(made.config, connections=kept))


def agree(shop: RemoteShop) -> bool:
    return (
        shop.git("status", "--porcelain", "--", "rules") == "" and shop.git("rev-parse", "main") == shop.remote_head()
    )


def test_a_limit_is_a_commit_at_the_remote_and_so_is_its_way_back(res: Resources, shop: RemoteShop) -> None:
    recompute_of(res)
    approve(res, "THR-1")
    assert promote_threshold(res, "THR-1", "carol").state is ThresholdState.ACTIVE
    said = shop.git("log", "-1", "--format=%an: %B", "main")
    assert said.startswith("Quell: latency: the limit of THR-1") and "Threshold: THR-1" in said
    assert "new limit: false alarms 0 per week" in said, "the evidence is in the commit"
    assert agree(shop) and (shop.folder / FILE).read_text() == version(res, "THR-1").rule
    assert [rule["name"] for rule in rules_in_force(res)] == ["Slow", "QuellLatencyHigh"]
    revert_threshold(res, "THR-1", "carol", "it wakes us")
    assert "Reverts: THR-1" in shop.git("log", "-1", "--format=%B", "main")
    assert agree(shop) and not (shop.folder / FILE).exists()
    assert [rule["name"] for rule in rules_in_force(res)] == ["Slow"]


def test_what_colleagues_pushed_stays(rules: RuleFolder, shop: RemoteShop) -> None:
    pushed = shop.colleague_pushes(RULE.replace("slow", "theirs"), "more rules", file="rules/theirs.yml")
    rules.put(NAME, RULE, "a limit")
    assert agree(shop) and shop.git("rev-parse", "main^") == pushed and (shop.folder / "rules/theirs.yml").exists()


def test_rules_that_prometheus_does_not_load_are_taken_back_in_git_too(rules: RuleFolder, shop: RemoteShop) -> None:
    rules.put(NAME, RULE, "a limit")
    with pytest.raises(Unavailable):
        rules.put(NAME, "groups: [{name: slow, rules: [{alert: Slow, expr: 'latency_seconds >'}]}]\n", "half a limit")
    assert agree(shop) and (shop.folder / FILE).read_text() == RULE
    assert shop.git("log", "-2", "--format=%s").splitlines() == ["Take back: half a limit", "half a limit"]


def test_a_remote_that_refuses_leaves_everything_as_it_was(rules: RuleFolder, shop: RemoteShop) -> None:
    rules.put(NAME, RULE, "a limit")
    before = shop.remote_head()
    shop.protect("main is protected")
    with pytest.raises(Refused, match="main is protected"):
        rules.put(NAME, OTHER, "another limit")
    assert shop.remote_head() == before and agree(shop) and (shop.folder / FILE).read_text() == RULE


def test_a_person_who_edits_the_file_keeps_their_work(rules: RuleFolder, shop: RemoteShop) -> None:
    rules.put(NAME, RULE, "a limit")
    (shop.folder / FILE).write_text("# half done\n")
    for text in (OTHER, RULE):  # RULE is what the branch says already
        with pytest.raises(Conflict, match=FILE):
            rules.put(NAME, text, "another limit")
    assert (shop.folder / FILE).read_text() == "# half done\n"


def test_the_check_says_whether_the_branch_is_what_prometheus_reads(res: Resources, shop: RemoteShop) -> None:
    here, there = check_remotes(res.config)
    assert here.is_ok and "each limit is a commit on main" in here.text
    assert there.is_ok and "Quell may write" in there.text
    shop.git("checkout", "--quiet", "-b", "trial")
    here, _ = check_remotes(res.config)
    assert not here.is_ok and "branch trial is checked out, prometheus_rules_branch is main" in here.text


def test_who_died_between_commit_and_reload_is_followed_up(rules: RuleFolder, shop: RemoteShop) -> None:
    """The commit is there, and is not made twice; Prometheus reads it now."""
    assert rules.repository is not None
    rules.repository.keep(shop.folder / FILE, RULE, "a limit")
    head = shop.remote_head()
    rules.put(NAME, RULE, "a limit")
    assert shop.remote_head() == head and agree(shop)
