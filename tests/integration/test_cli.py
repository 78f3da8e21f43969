"""The commands on a real SQLite record: what they print, what they write, and how they end."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments.cli.main import app
from quell.adapters.store.sql import SqlStore
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import fingerprint
from quell.incidents.suspect import Suspect
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.incidents.timeline import Event

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
LABELS = {"alertname": "InstanceErrors", "service": "checkout", "instance": "checkout-2", "severity": "critical"}
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables must not be folded, and nobody's own settings may leak in."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("QUELL_GATEWAY", raising=False)
    for name in ("QUELL_CONFIG", "PREFECT_API_URL", "PREFECT_UI_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/api")  # commands set these; monkeypatch puts them back


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    settings = copy / "quell.toml"
    settings.write_text(settings.read_text().replace(".quell/sandbox", str(tmp_path)))
    return copy


@pytest.fixture
def store(folder: Path) -> Iterator[SqlStore]:
    opened = SqlStore(f"sqlite:///{folder.parent}/quell.db")
    yield opened
    opened.close()


@pytest.fixture
def incident(store: SqlStore) -> Incident:
    """One incident of checkout, with its alert, a suspect and a timeline."""
    made = Incident(
        id=IncidentId("INC-1"), state=IncidentState.TRIAGED, severity=Severity.CRITICAL,
        title="checkout answers errors", service="checkout", onset_at=NOW - timedelta(seconds=20), opened_at=NOW,
        updated_at=NOW, opened_because="no incident of checkout was active", opened_by="alertmanager",
        suspects=(Suspect(node="checkout-2", metric="error ratio", score=0.93, reason="61 % against 0 % elsewhere"),),
    )  # fmt: skip
    mark = fingerprint(LABELS)
    alert = Alert(
        id=alert_id(mark, NOW), fingerprint=mark, status=AlertStatus.FIRING, labels=LABELS, annotations={},
        starts_at=NOW, source="alertmanager", received_at=NOW, updated_at=NOW, outcome=AlertOutcome.OPENED,
        outcome_reason="no incident of checkout was active", incident="INC-1",
    )  # fmt: skip
    with store.writing() as tx:
        tx.next_number("INC")
        tx.incidents.add(made)
        tx.alerts.add(alert)
        for text in ("first alert", "suspects ranked"):
            tx.timeline.append(Event(incident="INC-1", at=NOW, kind="note", by="quell", text=text, subject="INC-1"))
    return made


def quell(folder: Path, *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(folder)], input=stdin)


def fails(result: Result, text: str) -> None:
    """Exit 1 with one clear message on standard error, and no traceback."""
    assert result.exit_code == 1, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output and "Traceback" not in result.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = "('prefect', 'sqlalchemy', 'numpy', 'httpx', 'pydantic', 'yaml')"
    program = f"import sys, deployments.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_within_half_a_second() -> None:
    """Counted in processor time: what is measured is what gets imported, not how busy the machine is."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "deployments.cli.main", "--help"], check=True, capture_output=True)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    assert spent < 0.5


def test_check_says_what_a_good_folder_holds(folder: Path) -> None:
    result = quell(folder, "check")
    assert result.exit_code == 0
    count = len(list((folder / "playbooks").glob("*.yaml")))
    assert f"4 services with 8 instances, 6 signals, {count} playbooks, 3 people: in order" in result.stdout


def test_check_ends_with_1_and_names_file_line_and_key(folder: Path) -> None:
    text = (folder / "services.yaml").read_text().replace("depends_on: [payment]", "depends_on: [paymnt]")
    (folder / "services.yaml").write_text(text)
    line = text[: text.index("paymnt")].count("\n") + 1
    result = quell(folder, "check")
    where = f"{folder}/services.yaml:{line}: services.checkout.depends_on[0]"
    fails(result, f'{where}: service "paymnt" is not defined; did you mean "payment"?')


def test_the_folder_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUELL_CONFIG", str(folder))
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_a_missing_folder_is_one_message(tmp_path: Path) -> None:
    fails(quell(tmp_path / "nowhere", "incident", "list"), "does not exist; copy deployments/config.example")


def test_incidents_are_listed(folder: Path, incident: Incident) -> None:
    result = quell(folder, "incident", "list")
    assert result.exit_code == 0
    assert re.search(r"INC-1[ │]+triaged[ │]+critical[ │]+checkout[ │]+checkout answers errors", result.stdout)


def test_an_incident_is_shown_with_suspects_alerts_and_timeline(folder: Path, incident: Incident) -> None:
    out = quell(folder, "incident", "show", "inc-1").stdout
    assert "detected in 20.0s" in out and "61 % against 0 % elsewhere" in out and "suspects ranked" in out


def test_an_unknown_incident_names_the_newest(folder: Path, incident: Incident) -> None:
    fails(quell(folder, "incident", "show", "INC-9"), 'incident "INC-9" does not exist; the newest are INC-1')


def test_acknowledging_twice_keeps_the_first_time(folder: Path, store: SqlStore, incident: Incident) -> None:
    assert quell(folder, "incident", "ack", "INC-1", "--by", "alice").exit_code == 0
    with store.reading() as tx:
        first = tx.incidents.get("INC-1")
    assert quell(folder, "incident", "ack", "INC-1", "--by", "bob").exit_code == 0
    with store.reading() as tx:
        assert tx.incidents.get("INC-1") == first
        assert [e.by for e in tx.timeline.of("INC-1") if e.kind == "incident acknowledged"] == ["alice"]
    assert first is not None and first.acknowledged_at is not None


def test_dismissing_needs_an_active_incident_and_goes_on_the_timeline(
    folder: Path, store: SqlStore, incident: Incident
) -> None:
    assert quell(folder, "incident", "dismiss", "INC-1", "--why", "a load test", "--by", "alice").exit_code == 0
    with store.reading() as tx:
        last = tx.timeline.of("INC-1")[-1]
    assert (last.kind, last.by, last.text) == ("incident dismissed", "alice", "a load test")
    fails(quell(folder, "incident", "dismiss", "INC-1", "--why", "again"), "is dismissed and cannot become dismissed")


def test_why_tells_the_outcome_of_an_alert_and_its_reason(folder: Path, incident: Incident) -> None:
    by_id = quell(folder, "why", "alert", alert_id(fingerprint(LABELS), NOW))
    by_fingerprint = quell(folder, "why", "alert", fingerprint(LABELS))
    for result in (by_id, by_fingerprint):
        assert result.exit_code == 0
        assert "opened (INC-1): no incident of checkout was active" in result.stdout
        assert 'instance="checkout-2"' in result.stdout


def test_why_tells_the_evidence_against_each_suspect(folder: Path, incident: Incident) -> None:
    out = quell(folder, "why", "incident", "INC-1").stdout
    assert re.search(r"1\.[ │]+checkout-2[ │]+0\.93[ │]+error ratio[ │]+61 % against 0 % elsewhere", out)


def test_why_of_an_unknown_alert_says_where_to_look(folder: Path, incident: Incident) -> None:
    fails(quell(folder, "why", "alert", "feedfeedfeedfeed"), 'alert "feedfeedfeedfeed" does not exist')


def test_the_kill_switch_is_stored_and_its_state_is_the_exit_code(folder: Path, store: SqlStore) -> None:
    assert quell(folder, "automation", "status").exit_code == 0
    assert quell(folder, "automation", "off", "--by", "alice", "--why", "a drill").exit_code == 0
    result = quell(folder, "automation", "status")
    assert (
        result.exit_code == 1 and "automation is OFF, since" in result.stdout and "by alice: a drill" in result.stdout
    )
    assert quell(folder, "automation", "on").exit_code == 0
    assert quell(folder, "automation", "status").exit_code == 0


def test_a_whole_timeline_is_proved(folder: Path, incident: Incident) -> None:
    result = quell(folder, "audit", "verify")
    assert result.exit_code == 0 and "the timeline is whole: 2 entries" in result.stdout


def test_a_changed_timeline_is_told(folder: Path, incident: Incident) -> None:
    """The database itself refuses to change an entry, so an intruder first takes that away."""
    with sqlite3.connect(folder.parent / "quell.db") as database:
        triggers = [row[0] for row in database.execute("select name from sqlite_master where type = 'trigger'")]
        for trigger in triggers:
            database.execute(f'drop trigger "{trigger}"')
        database.execute("update timeline set text = 'nothing happened' where id = 1")
    database.close()
    fails(quell(folder, "audit", "verify"), "entry 1: its content was changed after it was written")


def test_simulate_tells_outcome_and_playbook_and_stores_nothing(folder: Path, store: SqlStore, tmp_path: Path) -> None:
    payload = {"version": "4", "alerts": [{"status": "firing", "labels": LABELS, "startsAt": NOW.isoformat()}]}
    (tmp_path / "alert.json").write_text(json.dumps(payload))
    result = quell(folder, "simulate", str(tmp_path / "alert.json"))
    assert result.exit_code == 0, result.output
    assert re.search(r"opened[ │]+INC-1", result.stdout)
    assert "suspect checkout-2" in result.stdout
    assert "playbook isolate-bad-instance would be planned on instance:checkout-2" in result.stdout
    with store.reading() as tx:
        assert tx.incidents.count() == 0 and tx.alerts.count() == 0 and tx.inbox.count() == 0


def test_a_silence_is_added_listed_seen_by_simulate_and_expired(folder: Path, store: SqlStore, tmp_path: Path) -> None:
    added = quell(folder, "silence", "add", 'service=~"check.*"', "--comment", "disk", "--for", "2h", "--by", "dora")
    assert added.exit_code == 0 and "SIL-1 mutes until" in added.stdout
    assert re.search(r'SIL-1[ │]+active[ │]+\{service=~"check', quell(folder, "silence", "list").stdout)
    alert = {"labels": LABELS, "startsAt": NOW.isoformat()}
    assert re.search(r"muted[ │]+silence SIL-1 by dora", quell(folder, "simulate", "-", stdin=json.dumps(alert)).stdout)
    assert quell(folder, "silence", "expire", "sil-1").exit_code == 0
    assert "no silence in force" in quell(folder, "silence", "list").stdout
    assert re.search(r"opened[ │]+INC-1", quell(folder, "simulate", "-", stdin=json.dumps(alert)).stdout)
    fails(quell(folder, "silence", "expire", "SIL-7"), 'silence "SIL-7" does not exist')
    fails(quell(folder, "silence", "add", 'a=~".*"', "--comment", "x"), "would mute everything")


def test_simulate_joins_an_incident_that_is_open(folder: Path, store: SqlStore, incident: Incident) -> None:
    alert = {"labels": {**LABELS, "alertname": "Slow"}, "startsAt": NOW.isoformat()}
    result = quell(folder, "simulate", "-", stdin=json.dumps(alert))
    assert re.search(r"joined[ │]+INC-1", result.stdout), result.stdout


def test_simulate_numbers_go_on_after_the_record(folder: Path, store: SqlStore, incident: Incident) -> None:
    alert = {"labels": {**LABELS, "service": "elsewhere", "instance": "x-1"}, "startsAt": NOW.isoformat()}
    result = quell(folder, "simulate", "-", stdin=json.dumps(alert))
    assert result.exit_code == 0 and re.search(r"opened[ │]+INC-2", result.stdout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"alerts": []}', "version is missing"),
        ('{"labels": {}}', "no alert in it would be taken"),
    ],
)
def test_simulate_says_what_is_wrong_with_the_file(folder: Path, text: str, message: str) -> None:
    fails(quell(folder, "simulate", "-", stdin=text), message)


def test_approving_what_does_not_exist_is_one_message(folder: Path, store: SqlStore) -> None:
    fails(quell(folder, "approve", "MIT-9", "--person", "alice", "--code", "123456"), "MIT-9 is no mitigation")


def test_releasing_what_does_not_exist_is_one_message(folder: Path, store: SqlStore) -> None:
    fails(quell(folder, "release", "MIT-9"), 'mitigation "MIT-9" does not exist')


def test_mitigating_without_haproxy_is_one_message(folder: Path, store: SqlStore) -> None:
    words = ("--playbook", "isolate-bad-instance", "--service", "checkout", "--target", "checkout-2")
    fails(quell(folder, "mitigate", *words), "does not answer")


def test_an_unknown_playbook_names_the_nearest(folder: Path, store: SqlStore) -> None:
    words = ("--playbook", "isolate-bad-instanc", "--service", "checkout", "--target", "checkout-2")
    fails(quell(folder, "mitigate", *words), "did you mean 'isolate-bad-instance'?")


def test_without_thresholds_the_list_says_how_to_get_some(folder: Path, store: SqlStore) -> None:
    result = quell(folder, "threshold", "list")
    assert result.exit_code == 0 and "no threshold version" in result.stdout


@pytest.fixture
def proposal(store: SqlStore) -> ThresholdVersion:
    made = ThresholdVersion(
        id="THR-1", signal="shop-error-ratio", state=ThresholdState.PROPOSED, upper=0.02, lower=None, created_at=NOW,
        updated_at=NOW, evidence={"backtest": "2 false alarms fewer"}, rule="groups: []",
    )  # fmt: skip
    with store.writing() as tx:
        tx.thresholds.add(made)
    return made


def test_thresholds_are_listed_with_their_evidence(folder: Path, proposal: ThresholdVersion) -> None:
    out = quell(folder, "threshold", "list", "--signal", "shop-error-ratio").stdout
    assert "THR-1" in out and "0.02" in out and "backtest: 2 false alarms fewer" in out


def test_a_threshold_is_shown_with_its_evidence_and_the_change_of_its_rule(
    folder: Path, proposal: ThresholdVersion
) -> None:
    out = quell(folder, "threshold", "show", "thr-1").stdout
    assert all(text in out for text in proposal.evidence.values())
    assert "+++ b/quell-shop-error-ratio.yml" in out and f"+{proposal.rule.splitlines()[0]}" in out
    fails(quell(folder, "threshold", "show", "THR-9"), "threshold THR-9 is not in the store")


def test_a_threshold_that_nobody_approved_is_not_promoted(folder: Path, proposal: ThresholdVersion) -> None:
    fails(quell(folder, "threshold", "promote", "thr-1"), "threshold THR-1 is not approved")


def test_a_proposal_is_declined(folder: Path, store: SqlStore, proposal: ThresholdVersion) -> None:
    result = quell(folder, "threshold", "revert", "THR-1", "--why", "too tight", "--by", "alice")
    assert result.exit_code == 0, result.output
    with store.reading() as tx:
        version = tx.thresholds.get("THR-1")
    assert version is not None and version.state is ThresholdState.REVERTED


def test_a_proposal_is_put_into_shadow(folder: Path, store: SqlStore, proposal: ThresholdVersion) -> None:
    result = quell(folder, "threshold", "shadow", "thr-1", "--by", "alice")
    assert result.exit_code == 0 and "THR-1 only records" in result.stdout, result.output
    with store.reading() as tx:
        version = tx.thresholds.get("THR-1")
    assert version is not None and version.state is ThresholdState.SHADOW and version.changed_by == "alice"
    assert "not watched yet" in quell(folder, "threshold", "list").stdout
    fails(quell(folder, "threshold", "shadow", "THR-9"), "threshold THR-9 is not in the store")


def test_limits_are_recomputed_by_hand_and_nothing_is_proposed_without_history(folder: Path, store: SqlStore) -> None:
    result = quell(folder, "threshold", "recompute", "--signal", "shop-error-ratio")
    assert result.exit_code == 0 and "no prediction: 0 alerts" in result.stdout, result.output
    fails(quell(folder, "threshold", "recompute", "--signal", "shop"), "signal shop is not in signals.yaml")
    with store.reading() as tx:
        assert tx.thresholds.find() == []


def test_learning_without_incidents_says_what_is_missing(folder: Path, store: SqlStore) -> None:
    result = quell(folder, "threshold", "learn")
    assert result.exit_code == 0 and "hold 0 incidents, learning needs 5" in result.stdout, result.output


class Door(BaseHTTPRequestHandler):
    """A gateway that remembers what it got and answers as it is told."""

    status = 202
    got: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.path, json.loads(body)))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"error": "try later"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def door() -> Iterator[str]:
    Door.got, Door.status = [], 202
    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_change_is_posted_without_needing_a_configuration(door: str, tmp_path: Path) -> None:
    """A pipeline has no configuration folder; the gateway's address is enough."""
    words = ("--service", "checkout", "--summary", "payment timeout", "--instance", "checkout-2", "--commit", "abc")
    result = quell(tmp_path / "nowhere", "change", *words, "--author", "ann", "--gateway", door)
    assert result.exit_code == 0, result.output
    expected = {
        "kind": "config", "service": "checkout", "instance": "checkout-2", "summary": "payment timeout",
        "author": "ann", "commit": "abc",
    }  # fmt: skip
    assert Door.got == [("/api/v1/changes", expected)]


def test_a_report_is_posted(door: str, tmp_path: Path) -> None:
    result = quell(tmp_path, "report", "cannot pay", "--service", "checkout", "--reporter", "zoe", "--gateway", door)
    assert result.exit_code == 0
    assert Door.got == [("/api/v1/reports", {"text": "cannot pay", "service": "checkout", "reporter": "zoe"})]


def test_a_gateway_that_does_not_take_it_is_an_error(door: str, tmp_path: Path) -> None:
    Door.status = 503
    result = quell(tmp_path, "report", "cannot pay", "--gateway", door)
    fails(result, "answered 503")


def test_a_gateway_that_is_away_is_an_error(folder: Path) -> None:
    fails(quell(folder, "report", "cannot pay", "--gateway", "http://127.0.0.1:1"), "does not answer")


def test_an_interrupt_ends_with_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quell.config.load.read_config", interrupted)
    assert quell(folder, "check").exit_code == 130
