"""Rule files, through the real promtool and a real Prometheus."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from quell.adapters.rules import RuleFolder, check_rules, write_rules
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.limits import Limits
from quell.prevention.rule import rule_group

pytestmark = pytest.mark.integration

SIGNAL = Signal(
    name="shop-error-ratio",
    query='sum(rate(x_total{code="5xx"}[10s]))\n  / sum(rate(x_total[10s]))\n',
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=timedelta(seconds=5),
    service="storefront",
    is_user_facing=True,
)


def rules(upper: float = 0.05) -> str:
    evidence = {"new limit": "false alarms 0.1 per week {{ not a template }}"}
    hold = timedelta(seconds=10)
    return write_rules(rule_group(SIGNAL, threshold="THR-1", limits=Limits(upper=upper), hold=hold, evidence=evidence))


@pytest.fixture
def prometheus(rule_prometheus: RuleFolder) -> RuleFolder:
    return rule_prometheus


def loaded(source: RuleFolder) -> list[str]:
    groups = httpx.get(f"{source.prometheus}/api/v1/rules").json()["data"]["groups"]
    return [rule["query"] for group in groups for rule in group["rules"]]


def test_a_generated_rule_file_is_accepted_and_carries_its_evidence(tmp_path: Path) -> None:
    path = tmp_path / "THR-1.yml"
    path.write_text(rules())
    assert "SUCCESS" in check_rules(path)
    (rule,) = yaml.safe_load(path.read_text())["groups"][0]["rules"]
    assert rule["alert"] == "QuellShopErrorRatioHigh" and rule["for"] == "10s"
    assert rule["labels"]["service"] == "storefront" and rule["labels"]["quell_threshold"] == "THR-1"
    assert "false alarms 0.1 per week" in rule["annotations"]["evidence_new_limit"]


def test_a_proposal_that_promtool_refuses_leaves_no_file(tmp_path: Path) -> None:
    folder = RuleFolder(folder=tmp_path / "rules", prometheus="http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="promtool refuses"):
        folder.propose("bad.yml", rules().replace("sum(rate", "sun(rate"))
    assert list(folder.proposed.iterdir()) == []
    assert folder.propose("good.yml", rules()).exists()


def test_a_rule_file_is_in_force_when_put_has_returned_and_gone_when_taken_away(prometheus: RuleFolder) -> None:
    assert prometheus.put("quell-shop.yml", rules(0.05)) is None
    assert loaded(prometheus)[0].endswith("> 0.05")
    assert prometheus.put("quell-shop.yml", rules(0.07)) == rules(0.05)
    assert loaded(prometheus)[0].endswith("> 0.07")
    prometheus.put("quell-shop.yml", None)
    assert loaded(prometheus) == []


def test_what_prometheus_does_not_load_is_taken_back(prometheus: RuleFolder) -> None:
    prometheus.put("quell-shop.yml", rules(0.05))
    with pytest.raises(Unavailable, match="reload answered 500"):
        prometheus.put("quell-shop.yml", "groups: [{name: x, rules: [{alert: A, expr: 'sun('}]}]\n")
    assert (prometheus.folder / "quell-shop.yml").read_text() == rules(0.05)
    assert loaded(prometheus)[0].endswith("> 0.05")
    assert sorted(path.name for path in prometheus.folder.iterdir()) == ["quell-shop.yml"]


def test_a_prometheus_that_is_away_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = RuleFolder(folder=tmp_path / "rules", prometheus="http://127.0.0.1:1", timeout=timedelta(seconds=1))
    with pytest.raises(Unavailable, match="cannot be reached"):
        folder.put("quell-shop.yml", rules())
    assert list(folder.folder.iterdir()) == []
