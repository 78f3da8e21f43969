"""Attacks by whoever reaches Prefect's REST interface, on a real Prefect server and a real HAProxy.

Prefect has no users: whoever reaches it may start, resume and change runs. None of that is an approval.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import anyio
import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from prefect.workers.process import ProcessJobConfiguration

import tasks.mitigation
from deployments.prefect_server import create_pools
from deployments.run_forms import choices_of, offer
from deployments.work_pool import POOL, restore_template
from flows.resolution import resolve
from flows.response import mitigate, release
from quell.incidents.mitigation import Mitigation, MitigationState
from tests.approval_desk import PLAYBOOK, Desk, open_desk

pytestmark = pytest.mark.integration
GIVEN = {"playbook": PLAYBOOK, "service": "checkout", "target": "checkout-2", "incident": "INC-1", "reason": "test"}
ASKED = {**GIVEN, "requested_by": "carol", "dry_run": False}


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """A Prefect server with the pool and the deployments as `quell up` registers them."""
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        create_pools({"PREFECT_API_URL": api(), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())})
        for flow in (mitigate, release, resolve):
            client.create_deployment(client.create_flow(flow), flow.name, work_pool_name=POOL)
        yield client


@pytest.fixture
def desk(tmp_path: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk(tmp_path) as opened:
        offer(client, choices_of(opened.res.config))
        monkeypatch.setattr(tasks.mitigation, "resources", lambda: opened.res)
        yield opened


def api() -> str:
    return str(PREFECT_API_URL.value())


def post(path: str, body: Any, method: str = "POST") -> httpx.Response:
    """Prefect on SQLite answers 503 while another of its own writers holds the database: asked again, as clients do."""
    answers = (httpx.request(method, f"{api()}{path}", json=body, timeout=30) for _ in range(20))
    return next(answer for answer in answers if answer.status_code != 503)


def start(client: SyncPrefectClient, request: dict[str, Any], **more: Any) -> httpx.Response:
    id = client.read_deployment_by_name("mitigate/mitigate").id
    return post(f"/deployments/{id}/create_flow_run", {"parameters": {"request": request}, **more})


class Run:
    """A run of the deployment, executed here as a worker would."""

    def __init__(self, client: SyncPrefectClient, request: dict[str, Any], **more: Any) -> None:
        answer = start(client, request, **more)
        assert answer.status_code == 201, answer.text
        self.id, self._client, self._request = UUID(answer.json()["id"]), client, request

    def go(self) -> State[Any]:
        run = self._client.read_flow_run(self.id)
        try:
            return cast(State[Any], run_flow(mitigate, run, {"request": self._request}, return_type="state"))
        except Pause:
            return self.state

    @property
    def state(self) -> State[Any]:
        state = self._client.read_flow_run(self.id).state
        assert state is not None
        return state

    def resume(self, body: Any) -> str:
        answer = post(f"/flow_runs/{self.id}/resume", body)
        return str(answer.json().get("status", answer.status_code))


def only(desk: Desk) -> Mitigation:
    with desk.res.store.reading() as tx:
        (found,) = tx.mitigations.find()
    return found


def still_waits(desk: Desk) -> None:
    assert only(desk).state is MitigationState.AWAITING_APPROVAL and not desk.is_drained


BAD_INPUTS = [
    {},
    {"run_input": {}},
    {"run_input": None},
    {"run_input": {"answer": "approve"}},
    {"run_input": {"answer": "approve", "person": "alice"}},
    {"run_input": {"answer": "yes", "person": "alice", "one_time_code": "000000"}},
    {"run_input": {"answer": ["approve"], "person": {"name": "alice"}, "one_time_code": 1}},
    {"run_input": {"answer": True, "person": None, "one_time_code": None}},
    {"run_input": [1]},
]


@pytest.mark.parametrize("body", BAD_INPUTS)
def test_a_resume_without_or_with_bad_input_leaves_the_run_waiting(
    desk: Desk, client: SyncPrefectClient, body: dict[str, Any]
) -> None:
    run = Run(client, ASKED)
    assert run.go().is_paused()
    assert run.resume(body) in ("REJECT", "422")
    assert run.state.is_paused()
    still_waits(desk)


@pytest.mark.parametrize(
    ("person", "code"), [("alice", ""), ("alice", "000000"), ("quell", ""), ("", ""), ("carol", "123456"), ("*", "*")]
)
def test_a_resume_that_prefect_accepts_is_no_approval(
    desk: Desk, client: SyncPrefectClient, person: str, code: str
) -> None:
    """The form's types are right, so Prefect goes on; Quell checks who it was and asks again."""
    run = Run(client, ASKED)
    run.go()
    form = {"answer": "approve", "person": person, "one_time_code": code, "comment": "<script>"}
    assert run.resume({"run_input": form}) == "ACCEPT"
    assert run.go().is_paused()
    still_waits(desk)


@pytest.mark.parametrize("state", ["SCHEDULED", "PENDING"])
def test_a_state_that_is_forced_through_rest_is_no_approval(desk: Desk, client: SyncPrefectClient, state: str) -> None:
    run = Run(client, ASKED)
    run.go()
    forced = post(f"/flow_runs/{run.id}/set_state", {"state": {"type": state, "name": "Resuming"}, "force": True})
    assert forced.is_success
    run.go()
    still_waits(desk)


def test_an_input_that_is_written_past_the_form_is_no_approval(desk: Desk, client: SyncPrefectClient) -> None:
    run = Run(client, ASKED)
    run.go()
    form = '{"answer": "approve", "person": "alice", "one_time_code": "", "comment": ""}'
    post(f"/flow_runs/{run.id}/input", {"key": "suspended-ask-1-response", "value": form, "sender": "alice"})
    post(f"/flow_runs/{run.id}/set_state", {"state": {"type": "SCHEDULED"}, "force": True})
    run.go()
    still_waits(desk)


def test_a_run_of_ones_own_for_a_plan_that_waits_is_no_approval(desk: Desk, client: SyncPrefectClient) -> None:
    Run(client, ASKED).go()
    assert Run(client, {"mitigation": "MIT-1", "dry_run": False}).go().is_paused()
    still_waits(desk)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"target": "checkout-9"}, "no instance of checkout"),
        ({"target": "../../checkout-2"}, "no instance of checkout"),
        ({"service": "nope"}, "is not configured"),
        ({"playbook": "nope"}, "nope"),
        ({"incident": "INC-99"}, "INC-99 is not in the store"),
        ({"requested_by": "quell"}, "requested_by is 'quell'"),
        ({"requested_by": " "}, "requested_by is ' '"),
        ({"mitigation": "MIT-99"}, "MIT-99 is not in the store"),
        ({"playbook": "throttle-noisy-client", "target": "a;disable server be_checkout/checkout-1"}, "HAProxy command"),
    ],
)
def test_with_prefects_own_check_switched_off_the_flow_still_refuses_what_is_not_configured(
    desk: Desk, client: SyncPrefectClient, request_: dict[str, Any], said: str
) -> None:
    """Whoever starts a run may say `enforce_parameter_schema: false`."""
    asked = {**ASKED, **request_}
    state = Run(client, asked, enforce_parameter_schema=False).go()
    assert state.is_failed() and said in str(state.message)
    assert not desk.is_drained
    with desk.res.store.reading() as tx:
        assert tx.mitigations.find() == []


def test_what_needs_no_approval_by_its_playbook_needs_one_when_anybody_may_have_asked(
    desk: Desk, client: SyncPrefectClient
) -> None:
    """Throttling takes no capacity and so asks nobody; but in Prefect a name is only what somebody typed."""
    noisy = {"playbook": "throttle-noisy-client", "service": "checkout", "target": "batch", "requested_by": "alice"}
    run = Run(client, {**noisy, "dry_run": False, "reason": "let me"})
    assert run.go().is_paused()
    assert "that alice asks is not proven" in only(desk).plan.approval_reason
    assert only(desk).state is MitigationState.AWAITING_APPROVAL


JOB_VARIABLES = [
    {"command": "touch /tmp/pwned"},
    {"env": {"PYTHONPATH": "/tmp/evil"}},
    {"env": {"QUELL_CONFIG": "/tmp/evil"}},
    {"env.LD_PRELOAD": "/tmp/evil.so"},
    {"working_dir": "/tmp"},
    {"name": "x", "labels": {"a": "b"}},
]


@pytest.mark.parametrize("variables", JOB_VARIABLES)
def test_job_variables_are_refused_wherever_they_are_given(
    desk: Desk, client: SyncPrefectClient, variables: dict[str, Any]
) -> None:
    answer = start(client, ASKED, job_variables=variables)
    assert answer.status_code == 422 and "Additional properties are not allowed" in answer.text, answer.text
    run = Run(client, ASKED)
    changed = post(f"/flow_runs/{run.id}", {"job_variables": variables}, "PATCH")
    assert changed.status_code == 422, changed.text


def test_job_variables_that_a_deployment_is_given_start_no_run_and_are_taken_away_again(
    desk: Desk, client: SyncPrefectClient
) -> None:
    """Prefect takes these; no run is made with them, and the responder's next round sets the deployment right."""
    deployment = client.read_deployment_by_name("mitigate/mitigate").id
    changed = {"job_variables": {"command": "touch /tmp/pwned"}}
    assert post(f"/deployments/{deployment}", changed, "PATCH").is_success
    assert start(client, ASKED).status_code == 422
    assert "mitigate/mitigate" in offer(client, choices_of(desk.res.config))
    assert start(client, ASKED).status_code == 201


def test_a_pool_that_was_given_variables_loses_them_again(desk: Desk, client: SyncPrefectClient) -> None:
    """Whoever may write pools may run programs; that way is at least not left open."""
    template = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
    }
    assert not restore_template(client)
    assert post(f"/work_pools/{POOL}", {"base_job_template": template}, "PATCH").is_success
    assert start(client, ASKED, job_variables={"command": "id"}).status_code == 201
    assert restore_template(client)
    assert start(client, ASKED, job_variables={"command": "id"}).status_code == 422


@pytest.mark.parametrize("variables", JOB_VARIABLES)
def test_a_worker_finds_no_place_for_job_variables_that_a_run_has_nevertheless(
    desk: Desk, client: SyncPrefectClient, variables: dict[str, Any]
) -> None:
    """As if the server had not refused them: what the worker makes of them is a run as any other."""
    run = client.read_flow_run(Run(client, ASKED).id)
    plain, tried = _configured(run), _configured(run.model_copy(update={"job_variables": variables}))
    assert tried.command == plain.command and "prefect.engine" in str(plain.command)
    assert tried.working_dir is None and tried.env == plain.env
    assert "/tmp/evil" not in str(tried.env.values())


def _configured(run: Any) -> ProcessJobConfiguration:
    async def resolve() -> ProcessJobConfiguration:
        async with get_client() as client:
            pool = await client.read_work_pool(POOL)
            return await ProcessJobConfiguration.resolve_for_flow_run(
                run, client=client, work_pool=pool, worker_name="test"
            )

    return anyio.run(resolve)
