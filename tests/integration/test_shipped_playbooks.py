"""Every playbook that comes with Quell does what it says on a real HAProxy, and everything is back afterwards."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli.playbook_library import library
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.plugins import open_actuators
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config
from quell.config.load import read_config
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import MitigationState
from quell.incidents.notification import NotificationKind
from quell.incidents.timeline import TimelineEntry
from quell.response.playbook import ApprovalPolicy, Limits
from quell.triage.notification_cause import cause_of
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_for_incident, plan_manual
from tasks.resources import Resources, utc_now
from tests.hook_service import HookService, hook_service
from tests.shop_levers import EXAMPLE, UsersSignal

pytestmark = pytest.mark.integration
SECRET = "of-the-restarter"
TARGETS = {"instance": "checkout-2", "zone": "b", "client": "robot", "service": ""}
HOOK = """
actuators:
  restarter:
    kind: http
    apply: {url}/{{target}}/apply
    undo: {url}/{{target}}/undo
    state: {url}/{{target}}
    secret: env:RESTARTER_SECRET
    actions:
      restart:
        description: Restarts one instance.
        target: "[a-z0-9-]+"
        params: {{share: "[0-9]+"}}
        expect: {{share: "{{share}}"}}
"""
# What a user writes in a playbook for its own names; the trial proxy's are these.
OWN_NAMES = {
    "route:{service}": "route:shop",
    "backend: be_storefront": "backend: be_checkout",
    "be_{service}_blue": "be_green",
    "be_{service}_standby": "be_green",
    "action: restart\n": "action: restart\n    params: {share: 50}\n",
}


@dataclass
class World:
    res: Resources
    proxy: TrialProxy
    hook: HookService

    def seen(self) -> tuple[str, ...]:
        """What HAProxy would say and keep (servers, and the three maps), and what checkout-2's file holds."""
        servers = sorted(
            self.res.actuators["haproxy"].capacity([f"be_checkout/checkout-{n}" for n in (1, 2, 3)]).items()
        )
        maps = [(self.proxy.maps / f"{name}.map").read_text() for name in ("limits", "knobs", "backends")]
        file = Path(self.res.config.catalog.services["checkout"].repository.path) / "services" / "checkout-2.yaml"  # type: ignore[union-attr]
        return (str(servers), *maps, file.read_text())

    def told(self, kind: str) -> list[TimelineEntry]:
        with self.res.store.reading() as tx:
            return [entry for entry in tx.timeline.entries() if entry.kind == kind]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("RESTARTER_SECRET", SECRET)
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    with hook_service(SECRET) as hook, TrialProxy(tmp_path / "proxy") as proxy:
        hook.flags["checkout-2"] = {"enabled": True, "share": 100}
        config = configuration(tmp_path, proxy, hook)
        res = Resources(
            config=config,
            store=store,
            metrics=UsersSignal(),  # type: ignore[arg-type] - nothing is judged here
            actuators=open_actuators(config),
            clock=utc_now,
        )
        yield World(res=res, proxy=proxy, hook=hook)
    store.close()


def configuration(folder: Path, proxy: TrialProxy, hook: HookService) -> Config:
    """The example's, with all playbooks that come with Quell, the trial proxy and the hook."""
    config = Path(shutil.copytree(EXAMPLE, folder / "config"))
    for name, file in library().items():
        text = file.read_text()
        for ours, theirs in OWN_NAMES.items():
            text = text.replace(ours, theirs)
        (config / "playbooks" / f"{name}.yaml").write_text(text)
    own_repository(config, folder / "shop")
    toml = (config / "quell.toml").read_text().replace(".quell/sandbox/haproxy/haproxy.sock", proxy.socket)
    toml = toml.replace(".quell/sandbox/haproxy/maps", str(proxy.maps))
    toml = toml.replace(".quell/sandbox/haproxy/server-state", str(proxy.state_file))
    (config / "quell.toml").write_text(toml)
    (config / "actuators.yaml").write_text(HOOK.format(url=hook.url))
    return replace(read_config(config), people={})


def own_repository(config: Path, repository: Path) -> None:
    """A repository with two versions of each checkout's file; a reload copies what is committed to `running`."""
    (repository / "services").mkdir(parents=True)
    who = ("-c", "user.name=dana", "-c", "user.email=dana@example.org")
    subprocess.run(["git", "init", "--quiet", "-b", "main"], cwd=repository, check=True, timeout=20)
    for milliseconds in (800, 5):
        for number in (1, 2, 3):
            (repository / "services" / f"checkout-{number}.yaml").write_text(f"timeout_ms: {milliseconds}\n")
        for words in (("add", "--all"), ("commit", "--quiet", "-m", f"wait {milliseconds} ms")):
            subprocess.run(["git", *who, *words], cwd=repository, check=True, timeout=20)
    text = (config / "services.yaml").read_text().replace("path: .quell/sandbox/shop-config", f"path: {repository}")
    check = '[python, -m, deployments.sandbox.service, check, "{file}"]'
    text = text.replace(check, '[grep, -q, timeout_ms, "{file}"]')
    text = text.replace(
        '[python, -m, deployments.sandbox.deploy, .quell/sandbox, "{instance}"]', '[cp, "{file}", "running-{instance}"]'
    )
    (config / "services.yaml").write_text(text)


@pytest.mark.parametrize("name", sorted(library()))
def test_it_is_planned_carried_out_and_put_back(world: World, name: str) -> None:
    """Approval and floors have their own tests; here the steps themselves are what is tried."""
    book = world.res.config.playbooks[name]
    if not book.steps:
        with pytest.raises(InvalidInput, match="it only pages"):
            plan_manual(world.res, name, "checkout", "", None, "bob", "trial")
        return
    book = replace(book, approval=ApprovalPolicy(above_capacity_share=1.0), limits=Limits(capacity_floor=0.0))
    res = replace(world.res, config=replace(world.res.config, playbooks={name: book}))
    before = world.seen()
    planned = plan_manual(res, name, "checkout", TARGETS[book.target_kind], None, "bob", "trial")
    applied = apply_mitigation(res, planned.id)
    assert applied.state is MitigationState.APPLIED, applied
    assert world.seen() != before
    undone = undo_mitigation(res, planned.id, "bob", "enough")
    assert undone.state is MitigationState.UNDONE
    after = world.seen()
    assert after[0] == before[0]
    assert [sorted(text.splitlines()) for text in after[1:]] == [sorted(text.splitlines()) for text in before[1:]]


def test_a_restart_is_asked_for_only_when_the_instance_gets_no_requests_any_more(world: World) -> None:
    steps = world.res.config.playbooks["restart-by-hook"].steps
    assert [step.action for step in steps] == ["isolate", "restart"] and not any(step.with_previous for step in steps)


def test_the_example_as_it_is_holds_every_limit_that_its_comments_promise(world: World) -> None:
    """Draining the zone with two of three instances leaves a third, above its floor; another isolation does not fit."""
    planned = plan_manual(world.res, "drain-zone", "checkout", "b", None, "bob", "trial")
    assert planned.state is MitigationState.AWAITING_APPROVAL
    assert planned.plan.blast_radius.capacity_left == pytest.approx(1 / 3)
    assert planned.plan.stages == ((1, 2),)


def test_page_only_pages_once_with_the_runbook_and_touches_nothing(world: World) -> None:
    before = world.seen()
    now = datetime.now(UTC)
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title="the nightly check failed",
        service="checkout",
        onset_at=now,
        opened_at=now,
        updated_at=now,
        opened_because="test",
        opened_by="alertmanager",
    )
    with world.res.store.writing() as tx:
        tx.incidents.add(incident)
    only = {"page-only": replace(world.res.config.playbooks["page-only"], matchers=())}
    res = replace(world.res, config=replace(world.res.config, playbooks=only))
    assert plan_for_incident(res, "INC-1") is None and plan_for_incident(res, "INC-1") is None
    (page,) = world.told("page")
    assert "pages alice for checkout" in page.text and "https://runbooks.shop.example/data-check" in page.text
    cause = cause_of(page, incident=incident, alertname="DataCheckFailed", wait=timedelta(seconds=3))
    assert cause is not None and cause.kind is NotificationKind.PAGE and not cause.wait
    assert world.seen() == before
