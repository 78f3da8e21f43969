"""The sweep and the refresh over a real Prometheus, into a store."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections, Detection, Intervals
from quell.detection.baseline import Baseline
from quell.detection.fleet import judge_fleet
from quell.detection.passage import UPPER
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.inbox import InboxItem
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind
from tasks.baselines import load_baseline, refresh_signal, store_baseline
from tasks.detection import SWEEP, close_sweep, judge_shard, plan_shards
from tasks.resources import Resources
from tasks.sweep_report import SweepReport, sweep_markdown
from tasks.verdicts import latest_verdicts

pytestmark = pytest.mark.integration

STEP = timedelta(seconds=5)
START = datetime(2026, 11, 1, 11, 0, tzinfo=UTC)  # the shop was installed
CALM = START + timedelta(seconds=90)  # the baselines are fitted
BROKEN = CALM + timedelta(seconds=60)  # checkout-2 gets its bad configuration
MENDED = BROKEN + timedelta(seconds=120)
GONE = MENDED + timedelta(seconds=120)  # payment-1 stops reporting
END = GONE + timedelta(minutes=10)

ERRORS = Signal(
    name="instance-error-ratio",
    query="sum by (service, instance) (error_ratio)",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=STEP,
    min_effect=0.05,
    history=timedelta(days=14),
)


def history() -> str:
    """Error ratios of three instances, every 5 s from START to END."""
    rng = np.random.default_rng(7)
    lines = ["# TYPE error_ratio gauge"]
    for instance in ("checkout-1", "checkout-2", "payment-1"):
        service = instance.split("-")[0]
        moment = START
        while moment <= END:
            ratio = float(rng.uniform(0.0, 0.01))
            if instance == "checkout-2" and BROKEN <= moment < MENDED:
                ratio = 0.6
            if instance != "payment-1" or moment < GONE:
                labels = f'service="{service}",instance="{instance}"'
                lines.append(f"error_ratio{{{labels}}} {ratio:.4f} {int(moment.timestamp())}")
            moment += STEP
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def metrics(backfilled_prometheus: Callable[[str], str]) -> Iterator[PrometheusSource]:
    source = PrometheusSource(backfilled_prometheus(history()), timeout=timedelta(seconds=10))
    yield source
    source.close()


def resources_at(metrics: PrometheusSource, *signals: Signal, at: datetime = CALM) -> Resources:
    services = {
        name: Service(
            name=name,
            team="shop",
            instances=tuple(Instance(name=f"{name}-{n}", service=name) for n in (1, 2)),
            depends_on=("payment",) if name == "checkout" else (),
        )
        for name in ("checkout", "payment")
    }
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=metrics.url),
        intervals=Intervals(stale_after=timedelta(minutes=2)),
        detection=Detection(minimum_samples=12, shard_size=2000),
        catalog=Catalog(services=services),
        signals={signal.name: signal for signal in signals or (ERRORS,)},
    )
    return Resources(config=config, store=MemoryStore(), metrics=metrics, actuators={}, clock=lambda: at)


def at(res: Resources, moment: datetime) -> Resources:
    return replace(res, clock=lambda: moment)


def sweep(res: Resources, moment: datetime) -> SweepReport | None:
    """One whole sweep at a moment, without Prefect; None when a later one was there before."""
    now = at(res, moment)
    shards = plan_shards(now, moment)
    if not shards:
        return None
    return close_sweep(now, moment, [judge_shard(now, shard, moment) for shard in shards], seconds=0.1)


def verdicts(res: Resources) -> dict[str, Verdict]:
    with res.store.reading() as tx:
        return {v.labels.get("instance", "-"): v for v in latest_verdicts(tx, ERRORS.name)}


def inbox(res: Resources) -> list[InboxItem]:
    with res.store.reading() as tx:
        return tx.inbox.find()


@pytest.fixture
def res(metrics: PrometheusSource) -> Resources:
    found = resources_at(metrics)
    refreshed = refresh_signal(found, ERRORS.name)
    assert (refreshed.error, refreshed.series, refreshed.ready) == ("", 3, 3)
    return found


def test_ninety_seconds_of_calm_make_a_baseline_although_two_weeks_are_asked(res: Resources) -> None:
    with res.store.reading() as tx:
        baseline = load_baseline(tx, ERRORS.name)
    assert baseline is not None
    assert baseline.samples.tolist() == [19, 19, 19]
    assert baseline.version == "instance-error-ratio@20261101T110130Z"


def test_the_first_sweep_after_the_break_names_the_instance(res: Resources) -> None:
    sweep(res, CALM + timedelta(seconds=30))
    assert inbox(res) == []
    sweep(res, BROKEN)
    found = verdicts(res)
    assert {name: v.kind for name, v in found.items()} == {
        "checkout-1": VerdictKind.NORMAL,
        "checkout-2": VerdictKind.ANOMALOUS,
        "payment-1": VerdictKind.NORMAL,
    }
    assert found["checkout-2"].value == 0.6
    assert "short history" in found["checkout-2"].reason
    assert found["checkout-2"].baseline == "instance-error-ratio@20261101T110130Z"
    [item] = inbox(res)
    assert item.source == "sweep" and item.payload["labels"] == {
        "alertname": "Anomaly",
        "signal": "instance-error-ratio",
        "service": "checkout",
        "instance": "checkout-2",
        "severity": "major",
    }
    assert datetime.fromisoformat(item.payload["startsAt"]) == BROKEN
    assert item.payload["annotations"]["value"] == "0.6"


def test_one_episode_is_announced_once_and_resolved_after_two_normal_sweeps(res: Resources) -> None:
    for second in range(0, 180, 30):
        sweep(res, BROKEN + timedelta(seconds=second))
    statuses = [item.id.rsplit(":", 1)[1] for item in inbox(res)]
    assert statuses == ["firing", "resolved"]
    resolved = inbox(res)[1].payload
    assert datetime.fromisoformat(resolved["endsAt"]) == MENDED + timedelta(seconds=30)
    assert resolved["startsAt"] == inbox(res)[0].payload["startsAt"]


def test_one_normal_sweep_does_not_resolve(res: Resources) -> None:
    sweep(res, BROKEN + timedelta(seconds=30))
    sweep(res, MENDED + timedelta(seconds=10))
    assert len(inbox(res)) == 1


def test_a_series_that_stops_is_stale_first_and_then_no_data(res: Resources) -> None:
    sweep(res, GONE + timedelta(minutes=8))
    # Prometheus itself repeats the last sample for five minutes
    assert verdicts(res)["payment-1"].kind is VerdictKind.NO_DATA
    assert [item.payload["annotations"]["kind"] for item in inbox(res)] == ["no_data"]
    assert inbox(res)[0].payload["labels"]["severity"] == "minor"


def test_no_baseline_means_warming_up_and_no_alert(metrics: PrometheusSource) -> None:
    res = resources_at(metrics)
    sweep(res, BROKEN + timedelta(seconds=30))
    assert {v.kind for v in verdicts(res).values()} == {VerdictKind.WARMING_UP}
    assert inbox(res) == []


def test_too_few_samples_are_warming_up(metrics: PrometheusSource) -> None:
    young = resources_at(metrics, at=START + timedelta(seconds=30))
    refresh_signal(young, ERRORS.name)
    sweep(young, BROKEN + timedelta(seconds=30))
    assert {v.reason for v in verdicts(young).values()} == {"7 samples of history, 12 are needed to judge"}


def test_a_late_run_does_not_overwrite_a_newer_sweep(res: Resources) -> None:
    sweep(res, BROKEN + timedelta(seconds=30))
    before = verdicts(res)
    assert sweep(res, CALM + timedelta(seconds=30)) is None
    assert verdicts(res) == before


def test_the_last_sweep_is_kept_with_its_figures(res: Resources) -> None:
    sweep(res, BROKEN + timedelta(seconds=30))
    with res.store.reading() as tx:
        document = tx.documents.get(SWEEP)
    assert document is not None
    assert document.body["verdicts"] == {"normal": 2, "anomalous": 1}
    assert (document.body["signals"], document.body["series"], document.body["errors"]) == (1, 3, {})


def test_the_artifact_shows_the_troubled_series_with_value_band_and_reason(res: Resources) -> None:
    report = sweep(res, BROKEN + timedelta(seconds=30))
    assert report is not None
    text = sweep_markdown(report, {})
    assert "checkout-2 (service checkout)" in text
    assert "0.6" in text and "is above" in text
    assert "| instance-error-ratio | 2 | 1 |" in text


def test_a_wrong_query_fails_the_run_after_the_other_signals_are_judged(metrics: PrometheusSource) -> None:
    res = resources_at(metrics, ERRORS, replace(ERRORS, name="broken", query="sum(("))
    refresh_signal(res, ERRORS.name)
    with pytest.raises(QuellError, match=r"1 of 2 signals could not be judged; broken: query .* is refused"):
        sweep(res, BROKEN + timedelta(seconds=30))
    assert verdicts(res)["checkout-2"].kind is VerdictKind.ANOMALOUS
    assert len(inbox(res)) == 1


def test_an_unreachable_server_invents_no_verdict_and_after_three_sweeps_raises_an_alert(res: Resources) -> None:
    sweep(res, CALM + timedelta(seconds=30))
    before = verdicts(res)
    dead = PrometheusSource("http://127.0.0.1:9", timeout=timedelta(seconds=1), attempts=1)
    down = replace(res, metrics=dead)
    for n in range(1, 4):
        assert inbox(res) == []
        with pytest.raises(Unavailable, match="cannot be reached"):
            sweep(down, CALM + timedelta(seconds=30 + 5 * n))
    dead.close()
    assert verdicts(res) == before
    [item] = inbox(res)
    assert item.payload["labels"] == {"alertname": "SweepFailing", "service": "quell", "severity": "major"}
    assert "cannot be reached" in item.payload["annotations"]["summary"]
    for n in range(1, 3):
        sweep(res, CALM + timedelta(seconds=50 + 4 * n))
    assert inbox(res)[1].id == item.id.replace("firing", "resolved")


def upper_limit(baseline: Baseline) -> float:
    """Of checkout-2's next sample."""
    row = np.full((1, len(baseline.labels)), np.nan)
    columns = judge_fleet(baseline.fleet, row, baseline.limits(ERRORS)).columns
    bad = [labels["instance"] for labels in baseline.labels].index("checkout-2")
    return float(columns[0, bad, UPPER])


def test_the_hour_after_an_incident_is_fitted_as_if_it_had_not_been(res: Resources) -> None:
    """Baselines never learn from incidents: with the incident recorded, the band keeps its width."""
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.RESOLVED,
        severity=Severity.MAJOR,
        title="",
        service="checkout",
        onset_at=BROKEN,
        opened_at=BROKEN,
        updated_at=MENDED,
        resolved_at=MENDED,
        opened_because="",
        opened_by="sweep",
    )
    later = at(res, GONE)
    taught = refresh_signal(later, ERRORS.name)
    with later.store.reading() as tx:
        spoilt = load_baseline(tx, ERRORS.name)
    with later.store.writing() as tx:
        tx.incidents.put(incident)
    clean = refresh_signal(later, ERRORS.name)
    with later.store.reading() as tx:
        kept = load_baseline(tx, ERRORS.name)
    assert spoilt is not None and kept is not None
    assert (taught.excluded, clean.excluded) == (0, 1)
    assert upper_limit(spoilt) > 0.5
    assert upper_limit(kept) < 0.1


def test_a_baseline_is_kept_where_the_new_fit_would_know_too_little(res: Resources) -> None:
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title="",
        service="checkout",
        onset_at=START,
        opened_at=START,
        updated_at=START,
        opened_because="",
        opened_by="sweep",
    )
    with res.store.writing() as tx:
        tx.incidents.put(incident)
    refreshed = refresh_signal(at(res, BROKEN), ERRORS.name)
    assert refreshed.version == "instance-error-ratio@20261101T110130Z"
    assert "kept" in refreshed.note
    with res.store.reading() as tx:
        baseline = load_baseline(tx, ERRORS.name)
    assert baseline is not None and baseline.version == refreshed.version


def test_a_baseline_is_decoded_once_and_again_when_it_changed_under_the_same_version(res: Resources) -> None:
    with res.store.reading() as tx:
        first = load_baseline(tx, ERRORS.name)
        assert load_baseline(tx, ERRORS.name) is first
    assert first is not None
    wider = replace(first, presence=first.presence * 0.5)
    with res.store.writing() as tx:
        store_baseline(tx, wider, CALM)
        found = load_baseline(tx, ERRORS.name)
    assert found is not None and found.version == first.version
    assert found.presence.tolist() == wider.presence.tolist()


def test_a_baseline_of_another_version_of_quell_is_named_and_the_next_refresh_replaces_it(res: Resources) -> None:
    with res.store.writing() as tx:
        head = tx.documents.get("baseline:instance-error-ratio")
        assert head is not None
        tx.documents.put(replace(head, body=dict(head.body) | {"format": 1, "series": [{}, {}, {}]}))
    with pytest.raises(QuellError, match="has format 1, this version reads 3: refresh it"):
        sweep(res, CALM + timedelta(seconds=30))
    assert refresh_signal(res, ERRORS.name).series == 3
    sweep(res, CALM + timedelta(seconds=45))
    assert {v.kind for v in verdicts(res).values()} == {VerdictKind.NORMAL}


def test_signals_are_packed_into_shards_of_limited_size(metrics: PrometheusSource) -> None:
    names = [replace(ERRORS, name=f"signal-{n}") for n in range(5)]
    res = resources_at(metrics, *names)
    for signal in names:
        refresh_signal(res, signal.name)
    small = replace(res, config=replace(res.config, detection=Detection(minimum_samples=12, shard_size=7)))
    assert [len(shard) for shard in plan_shards(small, BROKEN)] == [2, 2, 1]
    assert [len(shard) for shard in plan_shards(res, BROKEN)] == [5]
