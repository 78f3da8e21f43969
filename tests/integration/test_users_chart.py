"""The users' signal beside a question: drawn from a real Prometheus, and never waited for."""

import base64
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import BlastRadius, Plan, Step
from quell.incidents.service import Service
from quell.ports import MetricSource
from tasks.resources import HASTY, Resources
from tasks.users_chart import draw_users, users_signal
from tests.shop_levers import shop_config

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ONSET = NOW - timedelta(minutes=4)
PLAN = Plan(
    playbook="isolate-bad-instance",
    incident="INC-1",
    target="instance:checkout-2",
    steps=(Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-2"),),
    undo=("put be_checkout/checkout-2 back",),
    blast_radius=BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=1 / 3, capacity_left=2 / 3),
    evidence=(),
    needs_approval=True,
    approval_reason="it takes 33%, more than 25%",
    expires_after=timedelta(hours=1),
)


def samples() -> Iterator[str]:
    """An hour and a half of checkout, in trouble since the onset, and of a service that has nothing to do with it."""
    yield "# TYPE users_errors gauge"
    for service in ("checkout", "newsletter"):
        for seconds in range(-5400, 1, 15):
            at = int(NOW.timestamp()) + seconds
            level = 0.9 if service == "newsletter" else 0.3 if at >= ONSET.timestamp() else 0.004
            yield f'users_errors{{service="{service}"}} {level} {at}'
    yield "# EOF\n"


@pytest.fixture(scope="module")
def prometheus(backfilled_prometheus: Callable[[str], str]) -> Iterator[PrometheusSource]:
    source = PrometheusSource(backfilled_prometheus("\n".join(samples())))
    yield source
    source.close()


@pytest.fixture
def silent() -> Iterator[PrometheusSource]:
    """A server that takes the question and never answers, as one that is stopped or behind a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = PrometheusSource(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=HASTY, attempts=1)
        yield source
        source.close()


def open_resources(metrics: MetricSource, *, below: float | None = 0.02) -> Resources:
    store, config = MemoryStore(), shop_config()
    book = config.playbooks[PLAN.playbook]
    book = replace(book, recovery=replace(book.recovery, below=below))
    signal = replace(config.signals[book.recovery.signal], query="users_errors", step=timedelta(seconds=15))
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.MITIGATING,
        severity=Severity.MAJOR,
        title="checkout fails",
        service="checkout",
        onset_at=ONSET,
        opened_at=NOW,
        updated_at=NOW,
        opened_because="test",
        opened_by="test",
    )
    with store.writing() as tx:
        tx.incidents.add(incident)
    config = replace(config, playbooks={book.name: book}, signals={**config.signals, signal.name: signal})
    return Resources(config=_with_newsletter(config), store=store, metrics=metrics, actuators={}, clock=lambda: NOW)


def _with_newsletter(config: Config) -> Config:
    services = {**config.catalog.services, "newsletter": Service(name="newsletter", team="mail", is_user_facing=True)}
    return replace(config, catalog=replace(config.catalog, services=services))


def drawn(markdown: str) -> str:
    found = re.fullmatch(r"!\[users: shop-error-ratio[^]]*\]\(data:image/svg\+xml;base64,([^)]+)\)", markdown)
    assert found is not None, markdown
    return base64.b64decode(found[1]).decode()


def test_the_chart_shows_the_signal_its_limit_and_the_onset(prometheus: PrometheusSource) -> None:
    svg = drawn(draw_users(open_resources(prometheus), PLAN))
    assert "users: shop-error-ratio, limit 2 %" in svg and ">onset<" in svg
    assert 'class="qc-value"' in svg and 'class="qc-band"' in svg
    assert len(svg) < 12_000  # Prefect keeps it with the form


def test_it_is_half_an_hour_that_ends_now_and_of_the_own_service_alone(prometheus: PrometheusSource) -> None:
    """The newsletter fails all the time, and isolating an instance of checkout is not about it."""
    res = open_resources(prometheus)
    with res.store.reading() as tx:
        assert tx.incidents.get("INC-1") is not None
    data = users_signal(res, PLAN)
    assert data is not None
    assert (data.timestamps[-1], data.timestamps[-1] - data.timestamps[0]) == (NOW.timestamp(), 1800.0)
    assert np.nanmax(data.values) == 0.3
    assert np.all(data.values[data.timestamps < ONSET.timestamp()] == 0.004)


def test_without_a_limit_of_its_own_it_is_what_the_hour_before_stayed_below(prometheus: PrometheusSource) -> None:
    svg = drawn(draw_users(open_resources(prometheus, below=None), PLAN))
    assert "limit 2.4 %" in svg


@pytest.mark.parametrize("is_refused", [True, False])
def test_metrics_that_are_away_cost_the_question_its_chart_and_no_time(
    silent: PrometheusSource, *, is_refused: bool
) -> None:
    """Two charts are drawn before a person is asked: both together may take a couple of seconds."""
    away = PrometheusSource("http://127.0.0.1:9", timeout=HASTY, attempts=1)
    res = replace(open_resources(silent), hasty_metrics=away if is_refused else silent)
    started = time.monotonic()
    assert draw_users(res, PLAN) == ""
    assert time.monotonic() - started < 1.5
    away.close()


def test_a_plan_without_samples_or_a_known_playbook_has_no_chart(prometheus: PrometheusSource) -> None:
    res = open_resources(prometheus)
    assert draw_users(replace(res, clock=lambda: NOW - timedelta(days=9)), PLAN) == ""
    assert draw_users(res, replace(PLAN, playbook="gone")) == ""
