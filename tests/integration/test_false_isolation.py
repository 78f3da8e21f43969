"""A false isolation on a real HAProxy: a healthy server comes back by itself at once, a sick one stays out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.probe import HttpProber
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Service
from quell.incidents.timeline import verify_chain
from quell.response.playbook import ApprovalPolicy, Limits
from tasks.doubts import past_of
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_manual
from tasks.reconciliation import reconcile_all
from tasks.record import get_mitigation
from tasks.recovery import judge_once, judge_recovery
from tasks.resources import Resources
from tests.shop_levers import shop_config

pytestmark = pytest.mark.integration
SERVER = "be_checkout/checkout-2"
START = datetime(2026, 11, 23, 8, tzinfo=UTC)
_ALONE = Service(name="newsletter", team="mail", is_user_facing=True)


@dataclass
class Users:
    """The error ratio of each service as a function of time."""

    at: dict[str, Callable[[float], float]] = field(default_factory=lambda: {"checkout": lambda _: 0.0})

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.array([[self.at[name](t) for name in self.at] for t in times], dtype=float)
        return SeriesMatrix(timestamps=times, values=values, labels=tuple({"service": name} for name in self.at))


@dataclass
class World:
    res: Resources
    proxy: TrialProxy
    users: Users
    now: datetime = START

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def isolated(self) -> Mitigation:
        id = plan_manual(self.res, "isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test").id
        applied = apply_mitigation(self.res, id)
        assert applied.state is MitigationState.APPLIED and self.is_out
        return applied

    def judged(self, id: str) -> Mitigation:
        return judge_recovery(self.res, id, sleep=self.sleep)

    def mitigation(self, id: str) -> Mitigation:
        with self.res.store.reading() as tx:
            return get_mitigation(tx, id)

    @property
    def is_out(self) -> bool:
        return RuntimeClient(self.proxy.socket, timedelta(seconds=5)).servers()[SERVER].admin != 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store, users = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}"), Users()
    with TrialProxy(tmp_path / "proxy") as proxy:
        levers = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        res = Resources(
            config=_config(proxy),
            store=store,
            metrics=users,  # type: ignore[arg-type] - it answers what is asked here
            actuators={"haproxy": levers},
            clock=lambda: world.now,
            prober=HttpProber(),
        )
        world = World(res=res, proxy=proxy, users=users)
        yield world
        with store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []
    store.close()


def _config(proxy: TrialProxy) -> Config:
    """The shop, with checkout's instances at the addresses of the trial backends, and a service that stands alone."""
    config = shop_config()
    book = replace(
        config.playbooks["isolate-bad-instance"],
        approval=ApprovalPolicy(above_capacity_share=1.0),
        limits=Limits(capacity_floor=0.0),
    )
    checkout = config.catalog.services["checkout"]
    checkout = replace(checkout, instances=tuple(replace(i, url=proxy.urls[i.name]) for i in checkout.instances))
    services = {**config.catalog.services, "checkout": checkout, _ALONE.name: _ALONE}
    return replace(config, playbooks={book.name: book}, catalog=Catalog(services=services))


def _bad_until(end: datetime, level: float = 0.3) -> Callable[[float], float]:
    return lambda t: level if t <= end.timestamp() else 0.0


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_healthy_server_is_recognised_long_before_the_deadline_and_returned(world: World, level: float) -> None:
    """Users were well all the time, or are as badly off as before: the isolation was not what they needed."""
    world.users.at["checkout"] = lambda _: level
    applied = world.isolated()
    judged = world.judged(applied.id)
    assert judged.state is MitigationState.INEFFECTIVE and judged.recovery is Recovery.INEFFECTIVE
    assert judged.applied_at is not None and world.now - judged.applied_at < timedelta(seconds=20)
    assert judged.recovery_reason.startswith("false isolation: users were ")
    assert "checkout-2 answers its probe well: 3 of 3" in judged.recovery_reason
    assert "it cost 33 % of checkout's capacity for 16 s" in judged.recovery_reason
    assert undo_mitigation(world.res, applied.id, "quell", "it was ineffective").state is MitigationState.UNDONE
    assert not world.is_out
    with world.res.store.reading() as tx:  # what the autonomy ladder looks at
        [past] = past_of(tx, "isolate-bad-instance", "")
    assert past.recovery is Recovery.INEFFECTIVE


def test_reconciliation_returns_it_when_the_judging_process_died(world: World) -> None:
    applied = world.isolated()
    world.sleep(25)
    assert reconcile_all(world.res)
    assert world.mitigation(applied.id).recovery_reason.startswith("false isolation")
    world.sleep(21)
    reconcile_all(world.res)
    assert world.mitigation(applied.id).state is MitigationState.UNDONE and not world.is_out


def test_a_server_that_fails_its_probe_stays_out_until_the_normal_judgement(world: World) -> None:
    world.proxy.failing.add("checkout-2")
    applied = world.isolated()
    for _ in range(10):
        world.sleep(10)
        assert judge_once(world.res, applied.id, sleep=world.sleep).state is MitigationState.APPLIED
    assert world.is_out
    world.sleep(21)
    judged = judge_once(world.res, applied.id, sleep=world.sleep)
    assert judged.state is MitigationState.INCONCLUSIVE and "proves nothing" in judged.recovery_reason


def test_a_server_that_falls_silent_between_two_probes_stays_out(world: World) -> None:
    applied = world.isolated()

    def sleep(seconds: float) -> None:
        world.proxy.failing.add("checkout-2")
        world.sleep(seconds)

    world.sleep(16)
    assert judge_once(world.res, applied.id, sleep=sleep).state is MitigationState.APPLIED


def test_an_isolation_that_helped_is_effective_though_the_server_answers_well(world: World) -> None:
    """A health check that lies, or an instance that recovered when its load was gone: users decide."""
    applied = world.isolated()
    world.users.at["checkout"] = _bad_until(world.now + timedelta(seconds=4))
    assert world.judged(applied.id).state is MitigationState.EFFECTIVE and world.is_out


def test_what_cannot_be_asked_is_judged_as_ever(world: World) -> None:
    config = world.res.config
    checkout = config.catalog.services["checkout"]
    blind = replace(checkout, instances=tuple(replace(i, url=None) for i in checkout.instances))
    catalog = Catalog(services={**config.catalog.services, "checkout": blind})
    world.res = replace(world.res, config=replace(config, catalog=catalog))
    judged = world.judged(world.isolated().id)
    assert judged.state is MitigationState.INCONCLUSIVE and "false isolation" not in judged.recovery_reason


def test_a_recovery_that_an_untouched_service_shows_alike_is_inconclusive(world: World) -> None:
    applied = world.isolated()
    world.proxy.failing.add("checkout-2")
    end = world.now + timedelta(seconds=4)
    world.users.at |= {"checkout": _bad_until(end), "newsletter": _bad_until(end, 0.25)}
    judged = world.judged(applied.id)
    assert judged.state is MitigationState.INCONCLUSIVE
    assert "peers recovered alike" in judged.recovery_reason and "newsletter) by 0.25" in judged.recovery_reason


def test_an_untouched_service_in_trouble_of_its_own_does_not_count_against_us(world: World) -> None:
    applied = world.isolated()
    end = world.now + timedelta(seconds=4)
    world.users.at |= {"checkout": _bad_until(end), "newsletter": lambda _: 0.4}
    assert world.judged(applied.id).state is MitigationState.EFFECTIVE


def counters(until: datetime, failing: bool = False) -> str:
    """HAProxy's counters of a front end that nobody asks for anything, or where somebody just fails, up to a moment."""
    lines = ["# TYPE haproxy_frontend_http_responses counter"]
    for code in ("2xx", "5xx"):
        for second in range(-300, int((until - START).total_seconds()) + 1, 5):
            value = 100 + max(second, 0) * (failing and code == "5xx")
            name = f'haproxy_frontend_http_responses_total{{proxy="fe_shop",code="{code}"}}'
            lines.append(f"{name} {value} {int(START.timestamp()) + second}")
    return "\n".join([*lines, "# EOF", ""])


@pytest.mark.parametrize(
    ("seconds", "failing", "is_mistaken"),
    [
        pytest.param(180, False, True, id="nobody asks for anything"),
        pytest.param(0, False, False, id="its metrics are gone since"),
        pytest.param(180, True, False, id="users come and fail"),
    ],
)
def test_a_healthy_server_of_an_idle_service_is_given_back_and_missing_metrics_are_not_idle(
    world: World, backfilled_prometheus: Callable[[str], str], seconds: int, *, failing: bool, is_mistaken: bool
) -> None:
    """Its error ratio is 0/0 with a real Prometheus: NaN at every moment, which a series that is gone is not."""
    source = PrometheusSource(backfilled_prometheus(counters(START + timedelta(seconds=seconds), failing)))
    world.res = replace(world.res, metrics=source)
    judged = world.judged(world.isolated().id)
    assert judged.applied_at is not None
    assert judged.recovery_reason.startswith("false isolation: users were never outside") is is_mistaken
    if is_mistaken:
        assert "without traffic now" in judged.recovery_reason
        assert world.now - judged.applied_at < timedelta(seconds=20)
    source.close()


def test_users_of_a_signal_that_looks_back_are_not_called_unhelped_before_it_can_have_fallen(world: World) -> None:
    """The deadline decides then, as for every isolation; nothing is said of the server that is not known."""
    name = world.res.config.playbooks["isolate-bad-instance"].recovery.signal
    slow = replace(world.res.config.signals[name], query="sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))")
    signals = {**world.res.config.signals, name: slow}
    world.res = replace(world.res, config=replace(world.res.config, signals=signals))
    world.users.at["checkout"] = lambda _: 0.3
    judged = world.judged(world.isolated().id)
    assert judged.recovery_reason.startswith("still outside")
