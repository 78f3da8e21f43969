"""A fix that waits for its owner and has no run any more gets another one, at a real Prefect server."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Suspended
from prefect.testing.utilities import prefect_test_harness

from flows.resolution import resolve
from quell.incidents.fix import Fix
from tasks.resources import Resources
from tasks.waking import start_left
from tests.integration.test_fix_approval import answer, prepared, resources_of, stored
from tests.resolution_world import World, add_incident, make_world

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(resolve), resolve.name)
        yield client


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def res(world: World, client: SyncPrefectClient, tmp_path: Path) -> Resources:
    return resources_of(world, tmp_path)


@pytest.fixture
def fix(res: Resources, world: World) -> Fix:
    """Validated; whoever made it died before its run was started."""
    made = prepared(res, add_incident(res, world))
    assert start_left(res) == [], "whoever made it may just be about to start its run"
    world.now += timedelta(seconds=30)
    return made


def run_of(res: Resources, fix: Fix) -> UUID:
    run = stored(res, fix).flow_run
    assert run is not None
    return UUID(run)


def test_one_that_was_never_given_a_run_gets_one_and_only_one(
    client: SyncPrefectClient, res: Resources, fix: Fix
) -> None:
    assert start_left(res) == [f"{fix.id} had no run that waits for its owner (missing): another is started"]
    run = client.read_flow_run(run_of(res, fix))
    assert run.parameters["incident"] == fix.incident and {fix.incident, fix.service} <= set(run.tags)
    assert start_left(res) == [], "it is on its way"
    client.set_flow_run_state(run.id, Suspended(timeout_seconds=600), force=True)
    assert start_left(res) == [], "it waits for the owner"


@pytest.mark.parametrize("end", ["crashed", "gone"])
def test_one_whose_run_ended_without_it_gets_another(
    client: SyncPrefectClient, res: Resources, fix: Fix, end: str
) -> None:
    start_left(res)
    first = run_of(res, fix)
    if end == "gone":
        client.delete_flow_run(first)
    else:
        client.set_flow_run_state(first, Crashed(), force=True)
    assert len(start_left(res)) == 1 and run_of(res, fix) != first
    assert start_left(res) == []


def test_a_run_that_a_person_cancelled_stays_so_until_another_approves_the_fix(
    client: SyncPrefectClient, res: Resources, world: World, fix: Fix
) -> None:
    start_left(res)
    first = run_of(res, fix)
    client.set_flow_run_state(first, Cancelled(), force=True)
    assert start_left(res) == []
    answer(res, fix, "alice")
    world.now += timedelta(seconds=30)
    assert len(start_left(res)) == 1 and run_of(res, fix) != first


def test_while_prefect_is_away_the_next_round_tries_again(res: Resources, fix: Fix) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        [told] = start_left(res)
    assert "waits, and its run could not be started" in told
    assert len(start_left(res)) == 1
