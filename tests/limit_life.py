"""What the lives of limits share: one signal of one service, past incidents, an approver, and rules in force."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx

from quell.adapters.rules import RuleFolder
from quell.config.config import Config, Connections, Detection
from quell.incidents.decision import Answer, Decision
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.service import Catalog, Service
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdVersion
from quell.ports import MetricSource, Store
from tasks.question import text_hash
from tasks.resources import Resources


def resources_of(
    store: Store,
    signal: Signal,
    metrics: object,
    *,
    now: datetime,
    rules: RuleFolder | None,
    samples: int | None = None,
) -> Resources:
    """One service with one signal, one false alarm a week allowed; without `rules` only Quell's own limits are kept."""
    detection = Detection(false_alarms_per_week=1.0)
    where = Connections(store="", prometheus="")
    config = Config(
        folder=Path(),
        connections=replace(where, prometheus=rules.prometheus, prometheus_rules=rules.folder) if rules else where,
        detection=replace(detection, minimum_samples=samples) if samples else detection,
        catalog=Catalog(services={signal.service: Service(name=signal.service, team="shop", instances=())}),
        signals={signal.name: signal},
    )
    return Resources(config=config, store=store, metrics=cast(MetricSource, metrics), actuators={}, clock=lambda: now)


def later(res: Resources, **after: float) -> Resources:
    """The same with a clock that is `after` ahead, in the words of timedelta."""
    now = res.clock() + timedelta(**after)
    return replace(res, clock=lambda: now)


def remember(res: Resources, onsets: Sequence[datetime], *, lasting: timedelta) -> None:
    """An incident that was resolved, at each of `onsets`: INC-1 and so on."""
    [service] = res.config.catalog.services
    with res.store.writing() as tx:
        for number, onset in enumerate(onsets, 1):
            tx.incidents.add(
                Incident(
                    id=IncidentId(f"INC-{number}"), state=IncidentState.RESOLVED, severity=Severity.MAJOR,
                    title=f"{service} suffers", service=service, onset_at=onset, opened_at=onset, updated_at=onset,
                    resolved_at=onset + lasting, opened_because="a report", opened_by="reports",
                )
            )  # fmt: skip


def version(res: Resources, id: str) -> ThresholdVersion:
    with res.store.reading() as tx:
        found = tx.thresholds.get(id)
    assert found is not None
    return found


def approve(res: Resources, id: str) -> None:
    answer = Decision(
        id=f"DEC-{id}", subject=id, plan_hash=text_hash(version(res, id).rule), person="carol", answer=Answer.APPROVE,
        channel="page", at=res.clock(),
    )  # fmt: skip
    with res.store.writing() as tx:
        tx.decisions.add(answer)


def rules_in_force(res: Resources) -> list[dict[str, Any]]:
    """As Prometheus tells them: `type`, `query` and more."""
    groups = httpx.get(f"{res.config.connections.prometheus}/api/v1/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]
