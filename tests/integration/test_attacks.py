"""Attacks on approvals and plans that are tried and refused, on the real gateway, a real store and a real HAProxy.

Those that come through Prefect are in test_attacks_prefect.py; docs/response.md lists all of them.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.gateway import build_app, serving
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.config.load import load_config
from quell.config.problem import ConfigError
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.incident import Incident
from quell.incidents.mitigation import Mitigation, MitigationState, plan_hash
from tasks.acts import act
from tasks.effect import apply_mitigation
from tasks.intake import drain_inbox
from tasks.planning import plan_for_incident, plan_manual
from tasks.reconciliation import reconcile_all
from tests.approval_desk import EXAMPLE, PLAYBOOK, SERVER, Desk, open_desk

pytestmark = pytest.mark.integration


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as opened:
        yield opened


def refused(desk: Desk, mitigation: Mitigation, person: str, rule: str, **other: Any) -> None:
    """The answer is refused by this rule, and neither reconcile nor a run can apply the plan afterwards."""
    with pytest.raises(Refused) as caught:
        desk.answer(mitigation, person, **other)
    assert caught.value.rule == rule, caught.value
    desk.clock.later(seconds=30)
    reconcile_all(desk.res)
    with pytest.raises(Refused, match="needs an approval"):
        apply_mitigation(desk.res, mitigation.id)
    assert not desk.is_drained


# Codes


def test_a_code_that_approved_one_plan_approves_no_other(desk: Desk) -> None:
    code = desk.code("alice")
    desk.answer(desk.ask(target="checkout-1", incident=None), "alice", "refuse", code=code)
    desk.clock.later(seconds=21)
    reconcile_all(desk.res)
    second = desk.ask()
    refused(desk, second, "alice", "one-time code", code=code)


def test_a_code_that_was_spent_on_something_else_approves_nothing(desk: Desk) -> None:
    """One person, one code, one use: acknowledging an incident with it is a use."""
    code, asked = desk.code("alice"), desk.ask()
    acted = {"action": "acknowledge", "subject": "INC-1", "person": "alice", "code": code, "why": ""}
    act(desk.res, is_signed_in=False, **acted)
    refused(desk, asked, "alice", "one-time code", code=code)


@pytest.mark.parametrize("channel", ["page", "cli", "api", "prefect"])
def test_the_code_of_another_person_proves_nothing_on_any_channel(desk: Desk, channel: str) -> None:
    refused(desk, desk.ask(), "alice", "one-time code", code=desk.code("dave"), channel=channel)


def test_a_code_from_the_future_or_from_long_ago_proves_nothing(desk: Desk) -> None:
    """The time at which a code is said to have been given is believed for five minutes only."""
    asked, old = desk.ask(), desk.code("alice")
    desk.clock.later(minutes=6)
    refused(desk, asked, "alice", "one-time code", code=old, given_at=desk.clock() - timedelta(minutes=6))


def test_guessing_is_stopped_before_the_right_code_is_found(desk: Desk) -> None:
    asked = desk.ask()
    for _ in range(5):
        with pytest.raises(Refused, match="wrong or expired"):
            desk.answer(asked, "alice", code="000000")
    refused(desk, asked, "alice", "wrong codes")


# Persons


@pytest.mark.parametrize("name", ["bob", "Bob", " bob ", "BOB TANAKA", "bob@shop.example", "ｂｏｂ"])
def test_nobody_approves_what_they_asked_for_however_they_wrote_their_name(desk: Desk, name: str) -> None:
    asked = plan_manual(desk.res, PLAYBOOK, "checkout", "checkout-2", "INC-1", name, "it fails")
    refused(desk, asked, "bob", "four eyes")


def test_an_approval_by_the_requester_that_stands_in_the_store_opens_nothing(desk: Desk) -> None:
    """Whoever could write it there directly: the last check before the effect asks again."""
    asked = desk.ask(by="carol")
    given = desk.answer(asked, "alice")
    with desk.res.store.writing() as tx:
        tx.decisions.put(replace(given, person="carol"))
    with pytest.raises(Refused, match="needs an approval"):
        apply_mitigation(desk.res, asked.id)
    assert not desk.is_drained


def test_who_has_not_the_role_and_who_is_unknown_approve_nothing(desk: Desk) -> None:
    asked = desk.ask(by="bob")
    refused(desk, asked, "carol", "role")
    refused(desk, asked, "mallory", "known person", code="123456")


def test_nobody_asks_in_quells_name(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="requested_by is 'quell'"):
        desk.ask(by="quell")


# Plans


def test_an_approval_of_what_was_shown_is_none_of_what_is_stored(desk: Desk) -> None:
    asked = desk.ask()
    other = plan_hash(replace(asked.plan, target="instance:checkout-1"))
    refused(desk, asked, "alice", "plan hash", plan_hash=other)


@pytest.mark.parametrize("covers_up", [False, True], ids=["the hash kept", "the hash made anew"])
def test_a_plan_that_was_changed_after_its_approval_is_not_carried_out(desk: Desk, covers_up: bool) -> None:
    """The steps that run must be the steps that were approved, whoever can write to the store."""
    asked = desk.ask()
    desk.answer(asked, "alice")
    (step,) = asked.plan.steps
    changed = replace(asked.plan, steps=(replace(step, target="be_checkout/checkout-1"),))
    with desk.res.store.writing() as tx:
        known = tx.mitigations.get(asked.id)
        assert known is not None
        kept = plan_hash(changed) if covers_up else known.plan_hash
        tx.mitigations.put(replace(known, plan=changed, plan_hash=kept))
    if covers_up:
        with pytest.raises(Refused, match="needs an approval"):
            apply_mitigation(desk.res, asked.id)
    else:
        assert apply_mitigation(desk.res, asked.id).state is MitigationState.REFUSED
        assert any("somebody changed the record" in line for line in desk.told())
    untouched(desk)


def test_an_answer_after_the_deadline_is_none(desk: Desk) -> None:
    asked = desk.ask()
    desk.clock.later(minutes=15, seconds=1)
    with pytest.raises(Refused) as caught:
        desk.answer(asked, "alice")
    assert caught.value.rule == "deadline"
    reconcile_all(desk.res)
    assert desk.mitigation().state is MitigationState.EXPIRED and not desk.is_drained


def test_an_approval_that_nobody_carried_out_in_time_is_used_up(desk: Desk) -> None:
    """Everything was down for half an hour: what was right then may be wrong now."""
    asked = desk.ask()
    desk.answer(asked, "alice")
    desk.clock.later(minutes=15 + 10, seconds=1)
    reconcile_all(desk.res)
    assert desk.mitigation().state is MitigationState.EXPIRED and not desk.is_drained
    assert apply_mitigation(desk.res, asked.id).state is MitigationState.EXPIRED


def test_an_approval_is_good_for_one_effect(desk: Desk) -> None:
    asked = desk.ask()
    desk.answer(asked, "alice")
    act(desk.res, action="release", subject=asked.id, person="dave", code="", why="no", is_signed_in=True)
    assert apply_mitigation(desk.res, asked.id).state is MitigationState.REFUSED
    assert not desk.is_drained


@pytest.mark.parametrize("target", ["checkout-9", "payment-1", "../checkout-2", "checkout-2;disable", "{server}", ""])
def test_a_target_outside_the_configuration_is_not_planned(desk: Desk, target: str) -> None:
    with pytest.raises(InvalidInput, match="is no instance of checkout; its instances are checkout-1"):
        desk.ask(target=target)


@pytest.mark.parametrize("service", ["nope", "", "checkout\n", "../checkout", "{target.__class__}"])
def test_a_service_outside_the_configuration_is_not_planned(desk: Desk, service: str) -> None:
    with pytest.raises(InvalidInput, match="is not configured; configured are storefront"):
        plan_manual(desk.res, PLAYBOOK, service, "checkout-2", None, "carol", "it fails")


EVIL_CLIENTS = [  # NUL is refused at the door already: tests/unit/test_intake_fuzz.py
    "a b",
    "a;disable server be_checkout/checkout-1",
    "a\ndisable server be_checkout/checkout-1",
    "a\r\nshutdown sessions server be_checkout/checkout-1",
    "x" * 65,
    "#0",
    "a\x1bb",
    "{target.__class__}",
    "../../etc/passwd" + "/.." * 20,
    "ünïcode",
]


@pytest.mark.parametrize("client", EVIL_CLIENTS)
def test_a_client_name_that_is_a_command_reaches_no_haproxy_when_a_person_types_it(desk: Desk, client: str) -> None:
    with pytest.raises(InvalidInput):
        plan_manual(desk.res, "throttle-noisy-client", "checkout", client, None, "carol", "noisy")
    untouched(desk)


@pytest.mark.parametrize("client", EVIL_CLIENTS)
def test_a_client_name_that_is_a_command_reaches_no_haproxy_when_an_alert_carries_it(desk: Desk, client: str) -> None:
    """And it is refused once with its reason: a plan that can never be made is not tried for ever."""
    incident = alert(desk, alertname="NoisyClient", service="checkout", client=client)
    assert plan_for_incident(desk.res, incident.id) is None
    untouched(desk)
    assert any(line.startswith("plan refused") for line in desk.told())


def untouched(desk: Desk) -> None:
    client = RuntimeClient(desk.proxy.socket, timedelta(seconds=2))
    assert {n for n, s in client.servers().items() if s.admin_state != "ready"} == {"be_empty/empty-1"}
    assert client.map_entries(client.map_ids()["limits.map"]) == {}


# Webhooks


def alert(desk: Desk, annotations: dict[str, str] | None = None, **labels: str) -> Incident:
    """An alert through the real webhook; the incident that came of it."""
    one = {
        "status": "firing",
        "labels": labels,
        "annotations": annotations or {},
        "startsAt": desk.clock().isoformat(),
        "fingerprint": "f00d",
    }
    message = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "quell", "alerts": [one]}
    with serving(build_app(desk.res)) as url:
        answer = httpx.post(f"{url}/api/v1/alerts/alertmanager", content=json.dumps(message))
    assert answer.is_success, answer.text
    with desk.res.store.writing() as tx:  # the alert's own incident, and no other
        tx.incidents.delete("INC-1")
    drain_inbox(desk.res)
    with desk.res.store.reading() as tx:
        (incident,) = tx.incidents.find()
    return incident


WISHES = {
    "playbook": "throttle-noisy-client",
    "action": "isolate",
    "command": "rm -rf /",
    "approved_by": "alice",
    "needs_approval": "false",
    "mitigation": "MIT-1",
    "requested_by": "alice",
    "target": "{target.__class__.__mro__}",
    "severity": "critical",
}


def test_a_webhook_that_asks_for_an_action_gets_the_configured_one_and_a_person_is_asked(desk: Desk) -> None:
    """Labels select a playbook by its matchers and name a target of the configuration; they are nothing else."""
    incident = alert(desk, WISHES, alertname="Errors", service="checkout", instance="checkout-2", **WISHES)
    planned = plan_for_incident(desk.res, incident.id)
    assert planned is not None and planned.playbook == PLAYBOOK
    assert [(s.actuator, s.action, s.target) for s in planned.plan.steps] == [("haproxy", "isolate", SERVER)]
    assert planned.state is MitigationState.AWAITING_APPROVAL and planned.requested_by == "quell"
    with pytest.raises(Refused):
        apply_mitigation(desk.res, planned.id)
    untouched(desk)


@pytest.mark.parametrize("instance", ["payment-1", "checkout-9", "be_checkout/checkout-1", "checkout-2\n", "{server}"])
def test_a_webhook_that_names_a_target_outside_the_service_plans_nothing_on_it(desk: Desk, instance: str) -> None:
    incident = alert(desk, alertname="Errors", service="checkout", instance=instance, severity="critical")
    planned = plan_for_incident(desk.res, incident.id)
    assert planned is None or planned.plan.target == f"instance:{instance}"
    assert planned is None or planned.service == desk.res.config.catalog.instances[instance].service
    untouched(desk)


@pytest.mark.parametrize(
    "text", ["{target.__class__}", "{{ config }}", "{% for x in [] %}", "${PATH}", "$(id)", "`id`", "%(name)s", "{0}"]
)
def test_templates_in_a_webhook_stay_text(desk: Desk, text: str) -> None:
    incident = alert(
        desk, {"summary": text}, alertname="Errors", service="checkout", instance="checkout-2", severity="critical"
    )
    planned = plan_for_incident(desk.res, incident.id)
    assert planned is not None, desk.told()
    assert any(text in line for line in planned.plan.evidence)
    with serving(build_app(desk.res)) as url:
        page = httpx.get(f"{url}/incidents/{incident.id}").text
    assert "&lt;class" not in page and "uid=" not in page


# Playbooks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


@pytest.mark.parametrize(
    "target",
    [
        "{target.__class__}",
        "{service.__init__.__globals__}",
        "{server!r}",
        "{target:>999999999}",
        "{0}",
        "{}",
        "{self}",
    ],
)
def test_a_playbook_whose_target_is_a_program_is_not_loaded(folder: Path, target: str) -> None:
    file = folder / "playbooks" / "isolate-bad-instance.yaml"
    text = file.read_text()
    assert text.count('"{server}"') == 1
    file.write_text(text.replace('"{server}"', json.dumps(target)))
    with pytest.raises(ConfigError, match="placeholder"):
        load_config(folder)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['id']", "!!python/name:os.system", "!include /etc/passwd"]
)
def test_a_playbook_that_is_a_program_is_not_loaded(folder: Path, tag: str) -> None:
    file = folder / "playbooks" / "isolate-bad-instance.yaml"
    file.write_text(file.read_text().replace("owner: platform", f"owner: {tag}"))
    with pytest.raises(ConfigError):
        load_config(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "a\\nb", "{target}", "-rf", "x" * 129, "a b"])
def test_a_playbook_whose_name_is_a_path_or_an_option_is_not_loaded(folder: Path, name: str) -> None:
    file = folder / "playbooks" / "isolate-bad-instance.yaml"
    file.write_text(file.read_text().replace("name: isolate-bad-instance", f'name: "{name}"'))
    with pytest.raises(ConfigError, match="name"):
        load_config(folder)


def test_a_playbook_that_another_file_smuggles_in_is_told(folder: Path) -> None:
    """Only playbooks/*.yaml of the folder are read; a second one of the same name is an error, not the last word."""
    twin = (folder / "playbooks" / "isolate-bad-instance.yaml").read_text().replace("always: false", "always: true")
    (folder / "playbooks" / "zz.yaml").write_text(twin)
    with pytest.raises(ConfigError, match="already defined"):
        load_config(folder)
