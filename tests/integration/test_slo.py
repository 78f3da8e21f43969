"""Error budgets on a real Prometheus: Quell's own verdicts, and the rules that say the same there."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deployments.cli.main import app
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.rules import check_rules, write_rules
from quell.adapters.store.memory import MemoryStore
from quell.config.burn_windows import burn_windows
from quell.config.config import Config, Connections
from quell.config.load import load_config
from quell.detection.burn_rules import slo_rules
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.slo import Slo
from quell.incidents.verdict import VerdictKind
from tasks.detection import close_sweep, judge_shard, plan_shards
from tasks.resources import Resources
from tasks.sweep_report import SweepReport, sweep_markdown

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
START = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
BROKEN = START + timedelta(hours=7)
MENDED = BROKEN + timedelta(minutes=20)
END = START + timedelta(hours=9)
SIGNAL = Signal(
    name="shop-error-ratio",
    query='sum by (service) (rate(requests_total{code="500"}[1m])) / sum by (service) (rate(requests_total[1m]))',
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=timedelta(seconds=30),
    is_user_facing=True,
    slo=Slo(objective=0.999, period=timedelta(days=30)),
)


def history() -> str:
    """Counters every 30 s: 10 requests a second, of which 5 % fail while it is broken."""
    good, bad, moment = 0, 0, START
    samples: dict[str, list[str]] = {"200": [], "500": []}
    while moment <= END:
        failed = 15 if BROKEN <= moment < MENDED else 0
        good, bad = good + 300 - failed, bad + failed
        for code, value in (("200", good), ("500", bad)):
            samples[code].append(f'requests_total{{service="shop",code="{code}"}} {value} {int(moment.timestamp())}')
        moment += timedelta(seconds=30)
    return "\n".join(["# TYPE requests counter", *samples["200"], *samples["500"], "# EOF", ""])


class Counting:
    """The real source, counting instant queries."""

    def __init__(self, source: PrometheusSource) -> None:
        self._source = source
        self.asked: list[str] = []

    def range(self, query: str, **given: Any) -> Any:
        return self._source.range(query, **given)

    def instant(self, query: str, *, at: datetime | None = None) -> Any:
        self.asked.append(query)
        return self._source.instant(query, at=at)


@pytest.fixture(scope="module")
def prometheus(backfilled_prometheus: Callable[[str], str]) -> Iterator[PrometheusSource]:
    source = PrometheusSource(backfilled_prometheus(history()), timeout=timedelta(seconds=10))
    yield source
    source.close()


@pytest.fixture
def res(prometheus: PrometheusSource) -> Resources:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=prometheus.url),
        signals={SIGNAL.name: SIGNAL},
    )
    return Resources(
        config=config, store=MemoryStore(), metrics=Counting(prometheus), actuators={}, clock=lambda: START
    )


def sweep(res: Resources, moment: datetime) -> SweepReport:
    now = replace(res, clock=lambda: moment)
    return close_sweep(now, moment, [judge_shard(now, s, moment) for s in plan_shards(now, moment)], seconds=0.1)


def told(res: Resources) -> list[str]:
    with res.store.reading() as tx:
        return [f"{i.payload['labels']['alertname']} {i.id.rsplit(':', 1)[1]}" for i in tx.inbox.find()]


def test_the_sweep_raises_the_burn_and_ends_it_soon_after_the_errors_do(res: Resources) -> None:
    assert sweep(res, BROKEN).budgets[0].kind is VerdictKind.NORMAL
    assert sweep(res, BROKEN + timedelta(minutes=10)).budgets[0].kind is VerdictKind.NORMAL  # 0.8 % of the hour
    report = sweep(res, MENDED)
    [verdict] = report.budgets
    assert verdict.kind is VerdictKind.ANOMALOUS
    assert verdict.value == pytest.approx(0.05 * 20 / 60, rel=0.02)  # every request weighs the same
    assert "the limit is 14.4" in verdict.reason
    assert "### Error budgets" in sweep_markdown(report, {})
    assert told(res) == ["ErrorBudgetBurn firing"]

    for minutes in (6, 7, 8):  # the 5 minutes hold no error any more, the hour still does
        sweep(res, MENDED + timedelta(minutes=minutes))
    assert told(res) == ["ErrorBudgetBurn firing", "ErrorBudgetBurn resolved"]


def test_long_windows_are_asked_rarely(res: Resources) -> None:
    counting = res.metrics
    assert isinstance(counting, Counting)
    sweep(res, BROKEN)
    assert len(counting.asked) == 5
    for second in (30, 60, 90):
        sweep(res, BROKEN + timedelta(seconds=second))
    spans = [query.split("[", 1)[1].split("]")[0] for query in counting.asked[5:]]
    assert spans == ["5m", "30m", "5m", "30m", "1h", "5m", "30m"]  # never 6h or 3d


def test_promtool_accepts_the_rules_and_they_fire_as_the_sweep_does(tmp_path: Path) -> None:
    path = tmp_path / "slo.yml"
    path.write_text(write_rules(slo_rules(SIGNAL, burn_windows())))
    assert "8 rules found" in check_rules(path)
    alert = {
        "exp_labels": {
            "service": "shop",
            "signal": "shop-error-ratio",
            "severity": "critical",
            "window": "1h",
        },
        "exp_annotations": {
            "summary": "shop-error-ratio burns its error budget more than 14.4 times as fast as allowed",
            "description": "over 1h and still over 5m; objective 0.999 in 30d; 2% of the budget is gone in 1h at this "
            "rate",
            "value": "1.667%",
        },
    }
    # four days of health, 20 min in which 5 % fail, then health again; one sample a minute, 600 requests each
    good = f"0+600x5760 {5760 * 600 + 570}+570x19 {5760 * 600 + 20 * 570 + 600}+600x100"
    # At 96h22m the hour's ratio is that of the minute before: promtool evaluates the two groups in any order, so that
    # an alert may see the records of the evaluation before.
    firing_at = "96h22m"
    times = ("95h50m", "96h10m", firing_at, "96h30m")
    checks = [
        {"eval_time": at, "alertname": "ErrorBudgetBurn", "exp_alerts": [alert] if at == firing_at else []}
        for at in times
    ]
    series = [
        {"series": 'requests_total{service="shop",code="200"}', "values": good},
        {"series": 'requests_total{service="shop",code="500"}', "values": "0+0x5760 30+30x19 600+0x100"},
    ]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": checks}
    test = {"rule_files": [path.name], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "300")
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    signals = copy / "signals.yaml"
    head, tail = signals.read_text().split("  shop-error-ratio:\n")
    signals.write_text(f"{head}  shop-error-ratio:\n    slo: {{objective: 0.999, period: 30d}}\n{tail}")
    return copy


def test_the_command_prints_rules_or_writes_a_file_that_promtool_accepts(folder: Path) -> None:
    def quell(*words: str) -> Any:
        return CliRunner().invoke(app, ["slo", "rules", *words, "--config", str(folder)])

    assert load_config(folder).signals["shop-error-ratio"].slo == SIGNAL.slo
    recording, alerting = yaml.safe_load(quell().output)["groups"]
    assert '{proxy="fe_shop", code="5xx"}[1h]' in recording["rules"][2]["expr"]
    assert len(alerting["rules"]) == 3
    target = folder.parent / "slo.yml"
    assert "SUCCESS: 8 rules found" in quell("--output", str(target)).output
    wrong = quell("--signal", "shop-traffic")
    assert wrong.exit_code == 1 and "signal shop-traffic has no slo" in wrong.stderr
    assert "signal nowhere is not in signals.yaml" in quell("--signal", "nowhere").stderr
