"""Anomalies from the sweep to a person's label, and what the label does to the next fit and the next limits."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from pyotp.totp import TOTP

from deployments.gateway import build_app, serving
from quell.config.config import Config, Connections, Detection, Intervals
from quell.detection.baseline import Baseline
from quell.detection.fleet import judge_fleet
from quell.detection.passage import UPPER
from quell.incidents.anomaly import Anomaly, AnomalyLabel
from quell.incidents.decision import Person
from quell.incidents.errors import InvalidInput, NotFound, Refused, Unavailable
from quell.incidents.maintenance import Maintenance
from quell.incidents.matcher import parse_matchers
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import VerdictKind
from quell.ports import MetricSource, Store
from tasks.anomalies import label, review_of
from tasks.baselines import load_baseline, refresh_signal
from tasks.detection import close_sweep, judge_shard, plan_shards
from tasks.history import past_troubles
from tasks.intake import drain_inbox
from tasks.resources import Resources

pytestmark = pytest.mark.integration

STEP = timedelta(seconds=5)
START = datetime(2026, 11, 1, 11, 0, tzinfo=UTC)
BROKEN, MENDED = START + timedelta(minutes=40), START + timedelta(minutes=44)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
ERRORS = Signal(
    name="instance-error-ratio",
    query="q",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=STEP,
    history=timedelta(hours=2),
)


class History:
    """A metric source that knows the error ratio of two instances; checkout-2 is broken for four minutes."""

    is_away = False

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        if self.is_away:
            raise Unavailable("http://metrics cannot be reached: connection refused")
        grid = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        noise = np.abs(np.sin(grid * 12.9898) * 43758.5453) % 0.02
        broken = (grid >= BROKEN.timestamp()) & (grid < MENDED.timestamp())
        values = np.column_stack([noise, np.where(broken, 0.6, noise)])
        values[grid < START.timestamp()] = np.nan
        labels = tuple({"service": "checkout", "instance": f"checkout-{n}"} for n in (1, 2))
        return SeriesMatrix(timestamps=grid, values=values, labels=labels)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert at is not None
        return self.range(query, start=at, end=at, step=STEP)


@pytest.fixture
def res(every_store: Store, tmp_path: Path) -> Resources:
    (tmp_path / "carol.totp").write_text(SECRET)
    carol = Person(
        name="carol", full_name="Carol", team="shop", roles=("analyst",), totp_secret=f"file:{tmp_path / 'carol.totp'}"
    )
    instances = tuple(Instance(name=f"checkout-{n}", service="checkout") for n in (1, 2))
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus="", public_url="https://quell.example"),
        intervals=Intervals(stale_after=timedelta(minutes=2)),
        detection=Detection(minimum_samples=12),
        catalog=Catalog(services={"checkout": Service(name="checkout", team="shop", instances=instances)}),
        signals={ERRORS.name: ERRORS},
        people={"carol": carol},
    )
    calm = Resources(
        config=config, store=every_store, metrics=cast(MetricSource, History()), actuators={}, clock=lambda: BROKEN
    )
    assert refresh_signal(calm, ERRORS.name).ready == 2
    return calm


def at(res: Resources, moment: datetime) -> Resources:
    return replace(res, clock=lambda: moment)


def sweep(res: Resources, moment: datetime) -> None:
    now = at(res, moment)
    close_sweep(now, moment, [judge_shard(now, shard, moment) for shard in plan_shards(now, moment)], seconds=0.1)


def anomalies(res: Resources) -> list[Anomaly]:
    with res.store.reading() as tx:
        return tx.anomalies.find()


def sweep_through_the_break(res: Resources, *, with_triage: bool = False) -> Anomaly:
    moment = BROKEN - timedelta(minutes=1)
    while moment < MENDED + timedelta(minutes=1):
        sweep(res, moment)
        if with_triage:
            drain_inbox(at(res, moment))
        moment += timedelta(seconds=30)
    [found] = [a for a in anomalies(res) if a.kind is VerdictKind.ANOMALOUS]
    return found


def upper_limit(baseline: Baseline) -> float:
    """Of checkout-2's next sample."""
    row = np.full((1, len(baseline.labels)), np.nan)
    return float(judge_fleet(baseline.fleet, row, baseline.limits(ERRORS)).columns[0, 1, UPPER])


def say(res: Resources, id: str, word: str, **given: str) -> Anomaly:
    usual = {"person": "carol", "why": "", "code": "", "channel": "page"}
    return label(res, anomaly=id, label=word, **usual | given)


def test_many_sweeps_of_one_episode_leave_one_anomaly(res: Resources) -> None:
    found = sweep_through_the_break(res)
    assert found.name == 'instance-error-ratio{instance="checkout-2", service="checkout"}'
    assert found.started_at == BROKEN
    assert found.last_at == MENDED - timedelta(seconds=30)
    assert found.label is None and "newly anomalous" in found.because


def test_the_label_stands_on_the_timeline_of_the_incident(res: Resources) -> None:
    found = sweep_through_the_break(res, with_triage=True)
    labelled = say(at(res, MENDED), found.id, "real", why="bad configuration")
    assert (labelled.label, labelled.labelled_by, labelled.is_proven) == (AnomalyLabel.REAL, "carol", False)
    with res.store.reading() as tx:
        last = tx.timeline.of("INC-1")[-1]
        assert tx.anomalies.get(found.id) == labelled
    assert (last.kind, last.by, last.subject) == ("anomaly real", "carol", found.id)


def test_a_real_anomaly_teaches_the_baseline_nothing(res: Resources) -> None:
    """The fit after the break equals the fit that would have been made without those minutes."""
    found = sweep_through_the_break(res)
    later = at(res, MENDED + timedelta(minutes=10))
    refresh_signal(later, ERRORS.name)
    with res.store.reading() as tx:
        polluted = load_baseline(tx, ERRORS.name)
    say(later, found.id, "real")
    refreshed = refresh_signal(later, ERRORS.name)
    with res.store.reading() as tx:
        clean = load_baseline(tx, ERRORS.name)
    assert refreshed.excluded == 1
    assert polluted is not None and clean is not None
    assert clean.samples[1] < polluted.samples[1]
    assert upper_limit(clean) < 0.1 < upper_limit(polluted)


def test_an_expected_anomaly_is_learned_from(res: Resources) -> None:
    found = sweep_through_the_break(res)
    later = at(res, MENDED + timedelta(minutes=10))
    say(later, found.id, "expected", why="load test")
    assert refresh_signal(later, ERRORS.name).excluded == 0
    assert past_troubles(later, ERRORS, later.clock()) == ()


def test_a_real_anomaly_is_trouble_for_the_recomputation_of_limits(res: Resources) -> None:
    found = sweep_through_the_break(res)
    later = at(res, MENDED + timedelta(minutes=10))
    say(later, found.id, "real")
    assert [t.incident for t in past_troubles(later, ERRORS, later.clock())] == [found.id]


def test_what_an_incident_covers_is_not_counted_twice(res: Resources) -> None:
    found = sweep_through_the_break(res, with_triage=True)
    later = at(res, MENDED + timedelta(minutes=10))
    say(later, found.id, "real")
    assert [t.incident for t in past_troubles(later, ERRORS, later.clock())] == ["INC-1"]


def test_planned_maintenance_teaches_nothing_and_asks_nobody(res: Resources) -> None:
    planned = Maintenance(
        name="upgrade", matchers=parse_matchers('{service="checkout"}'), once=(BROKEN, MENDED + timedelta(minutes=2))
    )
    quiet = replace(res, config=replace(res.config, maintenance=(planned,)))
    moment = BROKEN
    while moment < MENDED:
        sweep(quiet, moment)
        assert drain_inbox(at(quiet, moment)) == []  # the sweep's alert is muted too
        moment += timedelta(seconds=30)
    assert anomalies(quiet) == []
    later = at(quiet, MENDED + timedelta(minutes=10))
    assert refresh_signal(later, ERRORS.name).excluded == 1
    with res.store.reading() as tx:
        clean = load_baseline(tx, ERRORS.name)
    assert clean is not None and upper_limit(clean) < 0.1


def test_nobody_of_that_name_is_refused_and_the_refusal_is_kept(res: Resources) -> None:
    found = sweep_through_the_break(res)
    with pytest.raises(Refused, match=r"label by mallory is not accepted: people\.yaml knows no such person"):
        say(res, found.id, "real", person="mallory")
    with pytest.raises(NotFound, match="anomaly ANO-99 is not in the store"):
        say(res, "ANO-99", "real")
    with pytest.raises(InvalidInput, match="why is empty"):
        say(res, found.id, "expected")
    with res.store.reading() as tx:
        assert [(e.kind, e.evidence["person"]) for e in tx.timeline.entries()] == [
            ("anomaly label rejected", "mallory")
        ]
        assert tx.anomalies.get(found.id) == found


def test_a_code_proves_the_name_once(res: Resources) -> None:
    found = sweep_through_the_break(res)
    code = TOTP(SECRET).at(BROKEN)
    assert say(res, found.id, "real", code=code).is_proven
    with pytest.raises(Refused, match="one-time code of carol is wrong or was used"):
        say(res, found.id, "false", code=code)


def test_codes_cannot_be_guessed_here(res: Resources) -> None:
    found = sweep_through_the_break(res)
    for guess in range(5):
        with pytest.raises(Refused, match="is wrong or was used"):
            say(res, found.id, "real", code=f"00000{guess}")
    with pytest.raises(Refused, match="5 wrong codes of carol in 10 min"):
        say(res, found.id, "real", code=TOTP(SECRET).at(BROKEN))


def test_the_review_lists_what_waits_with_links(res: Resources) -> None:
    found = sweep_through_the_break(res)
    waiting, text = review_of(res)
    assert waiting == len(anomalies(res))
    assert f"[{found.id}](https://quell.example/anomalies/{found.id})" in text
    say(res, found.id, "false")
    waiting_after, text = review_of(res)
    assert waiting_after == waiting - 1
    assert found.id not in text.split("|---", 1)[-1]
    assert "1 false" in text


@pytest.fixture
def page(res: Resources) -> Iterator[httpx.Client]:
    sweep_through_the_break(res)
    app = build_app(at(res, MENDED))
    with serving(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


def form(page: httpx.Client, **given: str) -> dict[str, Any]:
    page.get("/anomalies")
    return {"csrf": page.cookies["quell_csrf"], "person": "carol", "label": "real", "back": "waiting"} | given


def broken_one(res: Resources) -> str:
    return next(a.id for a in anomalies(res) if a.kind is VerdictKind.ANOMALOUS)


def test_a_click_labels_and_remembers_who_clicked(res: Resources, page: httpx.Client) -> None:
    id = broken_one(res)
    answer = page.post(f"/anomalies/{id}/label", data=form(page))
    assert (answer.status_code, answer.headers["location"]) == (303, "/anomalies")
    assert page.cookies["quell_person"] == "carol"
    assert id not in page.get("/anomalies").text
    assert id in page.get("/anomalies/labelled").text


def test_a_form_from_elsewhere_labels_nothing(res: Resources, page: httpx.Client) -> None:
    id = broken_one(res)
    answer = page.post(f"/anomalies/{id}/label", data=form(page, csrf="stolen"))
    assert answer.status_code == 403 and "the form is not from this page" in answer.text
    assert all(a.waits for a in anomalies(res))


def test_a_refusal_is_shown_beside_the_anomaly(res: Resources, page: httpx.Client) -> None:
    id = broken_one(res)
    answer = page.post(f"/anomalies/{id}/label", data=form(page, person="mallory"))
    assert answer.status_code == 403 and "people.yaml knows no such person" in answer.text and id in answer.text
    answer = page.post(f"/anomalies/{id}/label", data=form(page, label="expected"))
    assert answer.status_code == 422 and "why is empty" in answer.text


def test_the_chart_shows_the_episode_and_says_why_there_is_none(res: Resources, page: httpx.Client) -> None:
    id = broken_one(res)
    chart = page.get(f"/anomalies/{id}/chart.svg")
    assert chart.headers["content-type"] == "image/svg+xml"
    assert "checkout-2" in chart.text and "began" in chart.text and "qc-band" in chart.text
    cast(History, res.metrics).is_away = True
    assert "No chart: http://metrics cannot be reached" in page.get(f"/anomalies/{id}/chart.svg").text
    assert page.get("/anomalies/ANO-99/chart.svg").status_code == 404
    assert page.get("/anomalies/ANO-99").status_code == 404
