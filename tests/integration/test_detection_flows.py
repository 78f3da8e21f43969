"""The flows of detection as Prefect runs them: names, state, and the work beneath."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.detection import anomaly_review, detection_sweep, refresh_baselines
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.signal import Direction, Signal, SignalKind
from tasks.resources import Resources, utc_now
from tasks.verdicts import latest_verdicts

pytestmark = pytest.mark.integration

SIGNAL = Signal(
    name="queue",
    query="queue_length",
    kind=SignalKind.OTHER,
    direction=Direction.BOTH,
    unit="",
    step=timedelta(seconds=5),
    min_effect=2.0,
    history=timedelta(hours=1),
)


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture
def res(backfilled_prometheus: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    """Five minutes of a queue that stays at 7, up to half a minute from now."""
    end = int(datetime.now(UTC).timestamp()) + 30
    lines = [f'queue_length{{service="checkout"}} 7 {at}' for at in range(end - 300, end, 5)]
    url = backfilled_prometheus("\n".join(["# TYPE queue_length gauge", *lines, "# EOF", ""]))
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=url),
        signals={SIGNAL.name: SIGNAL},
    )
    source = PrometheusSource(url)
    found = Resources(config=config, store=MemoryStore(), metrics=source, actuators={}, clock=utc_now)
    monkeypatch.setattr("tasks.baselines.resources", lambda: found)
    monkeypatch.setattr("tasks.detection.resources", lambda: found)
    monkeypatch.setattr("tasks.anomalies.resources", lambda: found)
    monkeypatch.setattr("tasks.spread.resources", lambda: found)
    yield found
    source.close()


def test_a_refresh_and_a_sweep_run_as_flows_and_the_sweep_says_its_moment(res: Resources) -> None:
    assert list(refresh_baselines()) == ["queue"]
    state = detection_sweep(return_state=True)
    assert state.is_completed()
    assert state.result() == {"normal": 1}
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.expected_start_time is not None
    assert run.name == f"sweep {run.expected_start_time:%H:%M:%S}"
    with res.store.reading() as tx:
        [verdict] = latest_verdicts(tx, "queue")
        last = tx.documents.get("sweep:last")
    assert last is not None and datetime.fromisoformat(last.body["at"]) == verdict.at
    assert verdict.reason == "7 is between 5 and 9 (expected 7)"


def test_the_review_leaves_an_artifact_even_when_nothing_waits(res: Resources) -> None:
    assert anomaly_review() == "0 anomalies wait for review"
    artifact = Artifact.get("anomaly-review")
    assert artifact is not None and "0 anomalies wait for review" in str(artifact.data)


def test_a_sweep_that_cannot_ask_fails_and_says_where_it_asked(res: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = PrometheusSource("http://127.0.0.1:9", timeout=timedelta(seconds=1), attempts=1)
    down = replace(res, metrics=dead)
    monkeypatch.setattr("tasks.detection.resources", lambda: down)
    state = detection_sweep(return_state=True)
    dead.close()
    assert state.is_failed()
    assert state.message is not None and "prometheus at http://127.0.0.1:9 cannot be reached" in state.message
