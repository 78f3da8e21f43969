"""What a person chooses from in Prefect's forms, on a real Prefect server that refuses what does not fit."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from deployments.run_forms import choices_of, mitigate_form, offer, offer_what_is_there, release_form
from flows.prevention import recompute_thresholds, review_incident, weekly_report
from flows.resolution import resolve
from flows.response import mitigate, release, respond
from quell.config.config import Config, Connections
from quell.incidents.mitigation import MitigationState
from tasks.effect import apply_mitigation
from tasks.reconciliation import end_pending
from tests.approval_desk import Desk, open_desk

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        for flow in (mitigate, release, resolve):
            client.create_deployment(client.create_flow(flow), flow.name)
        yield client


@pytest.fixture
def desk(tmp_path: Path, client: SyncPrefectClient) -> Iterator[Desk]:
    with open_desk(tmp_path) as opened:
        offer(client, choices_of(opened.res.config))
        yield opened


def ask(client: SyncPrefectClient, name: str, request: dict[str, Any], **more: Any) -> httpx.Response:
    """What a person or a program asks of Prefect's REST interface; its SQLite is busy now and then, and says so."""
    id = client.read_deployment_by_name(name).id
    address = f"{PREFECT_API_URL.value()}/deployments/{id}/create_flow_run"
    body = {"parameters": {"request": request}, **more}
    answers = (httpx.post(address, json=body, timeout=30) for _ in range(20))
    return next(answer for answer in answers if answer.status_code != 503)


def fields(client: SyncPrefectClient, name: str, form: str) -> dict[str, Any]:
    schema: Any = client.read_deployment_by_name(name).parameter_openapi_schema
    return schema["definitions"][form]["properties"]


def test_the_form_offers_what_the_configuration_knows(desk: Desk, client: SyncPrefectClient) -> None:
    found = fields(client, "mitigate/mitigate", "MitigationRequest")
    config = desk.res.config
    assert found["playbook"]["enum"] == list(config.playbooks) and found["playbook"]["default"] in config.playbooks
    assert found["service"]["enum"] == ["storefront", "checkout", "payment", "catalog"]
    assert "default" not in found["service"]  # nobody's service is chosen by accident
    assert found["requested_by"]["enum"] == ["alice", "bob", "carol", "dave", "erin"]
    instance, other = found["target"]["anyOf"]
    assert "checkout-2" in instance["enum"] and (instance["title"], other["title"]) == (
        "Instance or zone",
        "Client or other",
    )
    assert found["dry_run"]["default"] is True and "nothing is touched" in str(
        client.read_deployment_by_name("mitigate/mitigate").parameter_openapi_schema
    )


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"service": "chekout"}, "'chekout' is not one of ['storefront', 'checkout'"),
        ({"playbook": "rm-rf"}, "'rm-rf' is not one of"),
        ({"service": "checkout", "target": "checkout-1; shutdown"}, "request.target"),
        ({"service": "checkout", "target": "x\ny"}, "request.target"),
        ({"service": "checkout", "target": "x" * 129}, "request.target"),
        ({"requested_by": "mallory"}, "'mallory' is not one of"),
        ({"incident": "INC-1' OR 1=1"}, "request.incident"),
        ({"dryrun": False}, "Additional properties are not allowed"),
        ({"dry_run": "certainly"}, "request.dry_run"),
    ],
)
def test_what_the_form_does_not_offer_is_refused_with_the_field_and_the_reason(
    desk: Desk, client: SyncPrefectClient, request_: dict[str, Any], said: str
) -> None:
    answer = ask(client, "mitigate/mitigate", request_)
    assert answer.status_code == 409 and said in answer.json()["detail"], answer.text


@pytest.mark.parametrize(
    "request_",
    [
        {"mitigation": "MIT-1", "dry_run": False},  # as Quell starts its own
        {"service": "checkout", "target": "checkout-2", "requested_by": "carol"},
        {"playbook": "throttle-noisy-client", "service": "checkout", "target": "batch-importer", "incident": ""},
        {"service": "checkout", "target": "checkout-2", "incident": "INC-77"},  # a minute old, and not offered yet
    ],
)
def test_quells_own_runs_typed_clients_and_new_incidents_are_taken(
    desk: Desk, client: SyncPrefectClient, request_: dict[str, Any]
) -> None:
    assert ask(client, "mitigate/mitigate", request_).status_code == 201


WISH = {"place": "checkout-2", "key": "retries", "value": "2", "requested_by": "alice", "reason": "the bank is slow"}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"incident": "INC-7"}, ""),  # as Quell starts its own
        ({"incident": "INC-7", "request": WISH}, ""),
        ({"incident": "INC-7", "request": {**WISH, "place": ""}}, ""),
        ({"incident": "INC-7", "request": {**WISH, "place": "chekout"}}, "request.place"),
        ({"incident": "INC-7", "request": {**WISH, "requested_by": "mallory"}}, "'mallory' is not one of"),
        ({"incident": "7", "request": WISH}, "incident"),
        ({"request": WISH}, "'incident' is a required property"),
    ],
)
def test_a_fix_is_asked_for_with_names_that_exist(
    desk: Desk, client: SyncPrefectClient, parameters: dict[str, Any], said: str
) -> None:
    id = client.read_deployment_by_name("resolve/resolve").id
    address = f"{PREFECT_API_URL.value()}/deployments/{id}/create_flow_run"
    answers = (httpx.post(address, json={"parameters": parameters}, timeout=30) for _ in range(20))
    answer = next(answer for answer in answers if answer.status_code != 503)
    assert (answer.status_code, said in answer.text) == (409 if said else 201, True), answer.text


def test_open_incidents_and_what_can_be_released_are_offered_while_they_last(
    desk: Desk, client: SyncPrefectClient
) -> None:
    asked = desk.ask()
    desk.answer(asked, "alice")
    apply_mitigation(desk.res, asked.id)
    assert offer_what_is_there(desk.res, client) == ["mitigate/mitigate", "release/release", "resolve/resolve"]
    assert fields(client, "mitigate/mitigate", "MitigationRequest")["incident"]["anyOf"][0]["enum"] == ["INC-1"]
    assert fields(client, "release/release", "ReleaseRequest")["mitigation"]["anyOf"][0]["enum"] == ["MIT-1"]
    assert "MIT-1: INC-1 isolate checkout-2, applied" in str(fields(client, "release/release", "ReleaseRequest"))
    assert "INC-1: major, checkout" in str(fields(client, "mitigate/mitigate", "MitigationRequest"))
    assert offer_what_is_there(desk.res, client) == []
    given = {"requested_by": "bob", "reason": "mended"}
    assert ask(client, "release/release", {"mitigation": "MIT-1", **given}).status_code == 201
    assert ask(client, "release/release", {"mitigation": "MIT-2", **given}).status_code == 201  # newer than the form
    wrong = ask(client, "release/release", {"mitigation": "MIT-1/../..", **given})
    assert wrong.status_code == 409 and "request.mitigation" in wrong.json()["detail"]


def test_what_is_over_is_offered_no_more(desk: Desk, client: SyncPrefectClient) -> None:
    asked = desk.ask()
    offer_what_is_there(desk.res, client)
    end_pending(desk.res, asked.id, MitigationState.REFUSED, "no")
    assert offer_what_is_there(desk.res, client) == ["release/release"]
    only_typed = fields(client, "release/release", "ReleaseRequest")["mitigation"]
    assert "anyOf" not in only_typed and only_typed["pattern"].startswith("^MIT-")


def test_a_playbook_that_was_added_is_offered_without_a_restart_and_a_broken_file_takes_nothing_away(
    desk: Desk, client: SyncPrefectClient, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(desk.res.config.folder, tmp_path / "config"))
    desk.res = replace(desk.res, config=replace(desk.res.config, folder=folder))
    text = (folder / "playbooks" / "isolate-bad-instance.yaml").read_text()
    added = folder / "playbooks" / "added.yaml"
    added.write_text(text.replace("name: isolate-bad-instance", "name: added"))
    offer_what_is_there(desk.res, client)
    assert "added" in fields(client, "mitigate/mitigate", "MitigationRequest")["playbook"]["enum"]
    added.write_text("name: [")
    offer_what_is_there(desk.res, client)
    assert "isolate-bad-instance" in fields(client, "mitigate/mitigate", "MitigationRequest")["playbook"]["enum"]


def test_an_empty_configuration_leaves_lines_to_type_in() -> None:
    empty = choices_of(Config(folder=Path(), connections=Connections(store="sqlite://", prometheus="http://p")))
    found = mitigate_form(empty)["definitions"]["MitigationRequest"]["properties"]
    assert "enum" not in found["playbook"] and "anyOf" not in found["target"]
    assert "enum" not in release_form(empty)["definitions"]["ReleaseRequest"]["properties"]["requested_by"]


@pytest.mark.parametrize("flow", [respond, review_incident, recompute_thresholds, weekly_report])
def test_every_field_of_a_form_says_what_is_wanted(flow: Any) -> None:
    """The forms asked for "incident" and "week" and did not say in which form, or that they may stay empty."""
    fields = parameter_schema(flow).model_dump()["properties"]
    assert fields and all("e.g. " in field.get("description", "") for field in fields.values())
