"""Verdicts in every store: what the last sweep said of each series comes back, whatever kind it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quell.config.config import Config, Connections
from quell.detection.baseline import Baseline, fit
from quell.detection.judge import judge_with_onset
from quell.detection.judged import Judged
from quell.detection.verdict_table import decode_table, encode_labels, encode_table, table_id
from quell.incidents.errors import InvalidInput
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import Store
from tasks.resources import Resources
from tasks.verdicts import keep_verdicts, latest_verdicts

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
STEP = timedelta(seconds=5)
STALE = timedelta(seconds=30)
NAN = float("nan")
LATENCY = Signal(
    name="latency", query="q", kind=SignalKind.LATENCY, direction=Direction.HIGH, unit="seconds", step=STEP,
    min_effect=0.05,
)  # fmt: skip
CALM, TROUBLE, GONE, QUIET, NEW = range(5)  # the series, by what becomes of them


def matrix(values: object, end: datetime) -> SeriesMatrix:
    table = np.asarray(values, dtype=np.float64)
    timestamps = end.timestamp() - np.arange(len(table))[::-1] * STEP.total_seconds()
    labels = tuple({"instance": f"i-{n}", "é": '"'} for n in range(table.shape[1]))
    return SeriesMatrix(timestamps=timestamps, values=table, labels=labels)


def baseline() -> Baseline:
    history = np.random.default_rng(1).uniform(0.1, 0.11, size=(40, 4))
    return fit(matrix(history, NOW - STEP), LATENCY, now=NOW - STEP, minimum_samples=12)


def judged(trouble: float, *, minutes: int = 0) -> Judged:
    now = NOW + timedelta(minutes=minutes)
    window = np.full((10, 5), 0.105)
    window[-1, TROUBLE] = trouble
    window[:, GONE] = NAN
    window[2:, QUIET] = NAN
    return judge_with_onset(baseline(), None, matrix(window, now), LATENCY, now=now, stale_after=STALE)[0]


@pytest.fixture
def res(every_store: Store) -> Resources:
    config = Config(
        folder=Path(), connections=Connections(store="", prometheus=""),
    )  # fmt: skip
    return Resources(config=config, store=every_store, metrics=None, actuators={}, clock=lambda: NOW)  # type: ignore[arg-type]


def records(res: Resources) -> dict[str, VerdictKind]:
    with res.store.reading() as tx:
        return {v.labels["instance"]: v.kind for v in tx.verdicts.find()}


def latest(res: Resources) -> list[Verdict]:
    with res.store.reading() as tx:
        return latest_verdicts(tx, "latency")


def test_every_verdict_comes_back_with_its_numbers_and_its_reason(res: Resources) -> None:
    found = judged(9.0)
    keep_verdicts(res, found, LATENCY)
    assert latest(res) == [verdict for verdict, _ in found]
    kinds = [verdict.kind for verdict in latest(res)]
    assert kinds == [
        VerdictKind.NORMAL, VerdictKind.ANOMALOUS, VerdictKind.NO_DATA, VerdictKind.STALE, VerdictKind.WARMING_UP,
    ]  # fmt: skip
    assert latest(res)[NEW].reason.startswith("the series is not in baseline latency@")


def test_only_series_in_trouble_have_a_record_and_it_says_when_they_are_well_again(res: Resources) -> None:
    keep_verdicts(res, judged(9.0), LATENCY)
    gone = {"i-2": VerdictKind.NO_DATA, "i-3": VerdictKind.STALE}
    assert records(res) == gone | {"i-1": VerdictKind.ANOMALOUS}
    for minutes in (1, 2):
        keep_verdicts(res, judged(0.105, minutes=minutes), LATENCY)
        assert records(res) == gone | {"i-1": VerdictKind.NORMAL}
        assert latest(res) == [verdict for verdict, _ in judged(0.105, minutes=minutes)]
    with res.store.reading() as tx:
        [verdict] = tx.verdicts.find({"kind": VerdictKind.NORMAL})
    assert verdict.at == NOW + timedelta(minutes=1)  # written once when it changed


def test_a_verdict_on_the_error_budget_of_the_same_signal_is_left_alone(res: Resources) -> None:
    keep_verdicts(res, judged(9.0), LATENCY)
    budget = replace(latest(res)[TROUBLE], id=f"{latest(res)[TROUBLE].id}:slo")
    with res.store.writing() as tx:
        tx.verdicts.put(budget)
    keep_verdicts(res, judged(0.105, minutes=1), LATENCY)
    with res.store.reading() as tx:
        assert tx.verdicts.get(budget.id) == budget


def test_labels_are_stored_again_only_when_the_series_change(res: Resources) -> None:
    def stored_at() -> datetime:
        with res.store.reading() as tx:
            [document] = tx.documents.find({"kind": "verdict-labels"})
        return document.updated_at

    for minutes in (0, 1):
        keep_verdicts(res, judged(9.0, minutes=minutes), LATENCY)
        assert stored_at() == NOW
    now = NOW + timedelta(minutes=2)
    window = matrix(np.full((3, 7), 0.105), now)
    more, _ = judge_with_onset(baseline(), None, window, LATENCY, now=now, stale_after=STALE)
    keep_verdicts(res, more, LATENCY)
    assert stored_at() == now
    assert len(latest(res)) == 7


def test_a_signal_that_was_never_judged_has_no_verdicts(res: Resources) -> None:
    assert latest(res) == []


def test_a_table_of_an_unknown_format_says_what_to_do() -> None:
    found = judged(9.0)
    body, blob = encode_table(found, "seconds")
    assert table_id("latency") == "verdicts:latency"
    with pytest.raises(InvalidInput, match="have format 9, this version reads 1: the next sweep writes them anew"):
        decode_table(body | {"format": 9}, blob, encode_labels(found.labels))
