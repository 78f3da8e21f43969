"""The weekly report read from real stores and from a real Prefect server, as command, flow and artifact."""

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pyarrow import parquet
from typer.testing import CliRunner, Result

import quell.adapters.store.records as sql_records
import tasks.weekly
from deployments.cli.main import app
from deployments.gateway import build_app, serving
from flows.prevention import weekly_report as weekly_flow
from quell.adapters.store.memory import MemoryStore
from quell.adapters.store.sql import SqlStore
from quell.adapters.weekly_file import write_csv, write_parquet
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.drill import DRILL, Drill, Mark, Part, Strike
from quell.incidents.errors import InvalidInput
from quell.ports import Document, Store
from quell.prevention.weekly.export import COLUMNS, export_rows
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.section import WeeklyReport
from quell.prevention.weekly.week import week_of
from tasks.resources import Resources
from tasks.run_health import ask_prefect, keep_run_health, run_health
from tasks.weekly import chosen_week, report_on, weekly_report
from tests.shop_levers import EXAMPLE, Levers, UsersSignal, shop_config
from tests.weekly_records import MONDAY, NOW, WEEK, alert, incident
from tests.weekly_shop import fill

pytestmark = pytest.mark.integration


def shop(store: Store, now: datetime = NOW) -> Resources:
    return Resources(
        config=shop_config(), store=store, metrics=UsersSignal(), actuators={"haproxy": Levers()}, clock=lambda: now
    )  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody's own server may answer, and none is started for want of one."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        yield


def figure(report: WeeklyReport, key: str) -> Figure:
    found = report.find(key)
    assert found is not None, sorted(figure.key for _, figure in report.figures)
    return found[1]


def test_every_store_gives_the_figures_that_a_hand_computes(every_store: Store) -> None:
    fill(every_store)
    report = weekly_report(shop(every_store), WEEK)
    mttr = figure(report, "times/mttr")
    minutes = [9, 25, 95, 4, 180, 6]
    assert (mttr.value, mttr.n, mttr.waiting) == (sum(minutes) / 6 * 60, 6, 2)
    assert (mttr.before, mttr.n_before) == (60 * 60, 5)  # 20, 40, 60, 80, 100
    assert [one.incident for one in figure(report, "causes/a-change-of-configuration").behind] == ["INC-1", "INC-2"]
    assert (figure(report, "noise/muted").value, figure(report, "noise/dismissed").value) == (5 / 66, 1 / 9)
    assert [one.id for one in figure(report, "isolations/false").behind] == ["MIT-8"]
    assert figure(report, "isolations/false-cost").value == pytest.approx(0.6 * 60 / 3)
    assert figure(report, "isolations/refused").value == 12
    delay = figure(report, "approvals/delay")
    assert (delay.value, delay.median, delay.before) == (280, 240, 300)  # 2, 8 and 4 minutes; 5 in the week before
    assert figure(report, "thresholds/thr-2.predicted").value == 6
    assert figure(report, "thresholds/thr-2.came").value == pytest.approx(5 / 5 * 7)  # five alerts in five days
    noisy = figure(report, "noisy/diskfull.checkout")
    assert noisy.value == 6 and report.find("noisy/instanceerrors.checkout") is None
    recall = figure(report, "signals/all.recall")
    assert {one.incident for one in recall.behind if one.value == 0} == {
        "INC-7",
        "INC-11",
        "INC-12",
        "INC-13",
        "INC-14",
        "INC-15",
    }
    assert figure(report, "overdue/inc-3.shop.sign-off").value == 3


def test_what_is_older_than_it_needs_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of records must cost what a few weeks of them cost."""
    store = SqlStore(f"sqlite:///{tmp_path}/record.db")
    fill(store)
    with store.writing() as tx:
        for n in range(300):
            opened = MONDAY - timedelta(days=40 + n)
            tx.incidents.put(incident(1000 + n, opened=opened, resolve=10))
            tx.alerts.put(alert(1000 + n, incident=f"INC-{1000 + n}", at=opened))
    read: Counter[str] = Counter()
    decode = sql_records.decode_record

    def counting(kind: str, *row: Any) -> Any:
        read[kind] += 1
        return decode(kind, *row)

    monkeypatch.setattr(sql_records, "decode_record", counting)
    report = weekly_report(shop(store), WEEK)
    store.close()
    assert figure(report, "times/mttr").n == 6
    assert read["incidents"] < 60 and read["alerts"] <= 70, read


def test_the_week_is_the_last_that_is_over_unless_nothing_is_older(every_store: Store) -> None:
    res = shop(every_store)
    assert chosen_week(res) == week_of(NOW)
    with every_store.writing() as tx:
        tx.incidents.add(incident(1, opened=NOW - timedelta(minutes=30)))
    assert chosen_week(res) == week_of(NOW)
    fill(every_store)
    assert chosen_week(res) == WEEK
    assert chosen_week(res, "2026-W02").name == "2026-W02"
    with pytest.raises(InvalidInput):
        report_on(res, "last")


def test_a_week_that_is_not_over_says_so_and_an_absent_prefect_is_said() -> None:
    store = MemoryStore()
    fill(store)
    report = weekly_report(shop(store, MONDAY + timedelta(days=3)), WEEK)
    assert "The week is not over" in report.notes[0]
    runs = next(section for section in report.sections if section.key == "runs")
    assert runs.rows == () and runs.empty.startswith("Not known: the Prefect server does not answer")


def test_the_files_hold_every_figure_and_missing_numbers_stay_missing(tmp_path: Path) -> None:
    store = MemoryStore()
    fill(store)
    report = weekly_report(shop(store), WEEK)
    text = write_csv(export_rows(report))
    (tmp_path / "week.parquet").write_bytes(write_parquet(export_rows(report)))
    table = parquet.read_table(tmp_path / "week.parquet")
    rows = {row["figure"]: row for row in csv.DictReader(text.splitlines())}
    typed = {row["figure"]: row for row in table.to_pylist()}
    assert tuple(table.column_names) == COLUMNS and rows.keys() == typed.keys()
    effect = "upkeep/page-only.success"
    assert rows[effect]["value"] == "" and typed[effect]["value"] is None and rows[effect]["n"] == "0"
    assert typed["times/mttd"]["incidents"] == rows["times/mttd"]["incidents"].split()


def test_a_name_that_a_spreadsheet_would_run_is_only_text() -> None:
    store = MemoryStore()
    with store.writing() as tx:
        tx.alerts.put_all(alert(n, name='=HYPERLINK("http://x")', incident=None, signal="") for n in range(3))
        tx.incidents.add(incident(1))
    text = write_csv(export_rows(weekly_report(shop(store), WEEK)))
    assert "HYPERLINK" in text
    assert not any(cell.startswith("=") for row in csv.reader(text.splitlines()) for cell in row)


def test_the_command_prints_the_week_and_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUELL_CONFIG", "PREFECT_API_URL", "PREFECT_UI_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/api")  # commands set these; monkeypatch puts them back
    monkeypatch.setenv("COLUMNS", "200")
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    toml = folder / "quell.toml"
    toml.write_text(toml.read_text().replace(".quell/sandbox", str(tmp_path)))
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    fill(store)
    store.close()

    def quell(*words: str) -> Result:
        return CliRunner().invoke(app, ["weekly", "--week", "2026-W47", *words, "--config", str(folder)])

    shown = quell()
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "MTTR, onset to resolution │ 53 min 10 s, 2 not there yet" in said
    assert "Not known: the Prefect server does not answer" in said
    files = {kind: tmp_path / f"week.{kind}" for kind in ("csv", "parquet", "md")}
    assert quell("--csv", str(files["csv"]), "--parquet", str(files["parquet"])).exit_code == 0
    assert quell("--markdown", str(files["md"])).exit_code == 0
    assert files["md"].read_text().startswith("# Week 2026-W47")
    assert len(files["csv"].read_text().splitlines()) == parquet.read_table(files["parquet"]).num_rows + 1
    assert CliRunner().invoke(app, ["weekly", "--week", "47", "--config", str(folder)]).exit_code == 1


def test_the_report_and_its_files_are_only_for_those_who_may_read() -> None:
    store = MemoryStore()
    fill(store)
    res = shop(store)
    res = replace(res, config=replace(res.config, pages="signed-in"))
    with serving(build_app(res)) as url:
        for path in ("/weekly", "/weekly/2026-W47", "/weekly/2026-W47.csv", "/weekly/2026-W47/times/mttr"):
            answer = httpx.get(url + path, headers={"Accept": "text/html"})
            assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in"), path


def hold_drills(store: Store) -> None:
    """Two of one fault in the week, the second one not resolved; a third in the week before."""
    with store.writing() as tx:
        for number, (began, resolved) in enumerate(
            ((MONDAY, Mark.YES), (MONDAY + timedelta(days=1), Mark.NO), (MONDAY - timedelta(days=3), Mark.YES)), 1
        ):
            drill = Drill(
                id=f"DRILL-{number}",
                strike=Strike(fault="errors", kind="instance", target="checkout-2"),
                began_at=began,
                ended_at=began + timedelta(minutes=2),
                by="dana",
                incident="INC-1",
                aborted="",
                parts={
                    "detected": Part(mark=Mark.YES, seconds=10.0 * number, words="INC-1 <b>"),
                    "resolved": Part(mark=resolved, seconds=90.0),
                },
            )
            body = msgspec.to_builtins(asdict(drill))
            tx.documents.put(Document(id=drill.id, kind=DRILL, updated_at=drill.ended_at, body=body))


def test_every_number_leads_to_a_page_that_is_there(every_store: Store) -> None:
    """Thresholds, post-mortems and drills have pages of their own; a link to nothing is worse than none."""
    fill(every_store)
    hold_drills(every_store)
    res = shop(every_store)
    report = weekly_report(res, WEEK)
    passed, detected = figure(report, "drills/errors.passed"), figure(report, "drills/errors.detected")
    assert (passed.value, passed.n, detected.value) == (0.5, 2, 15.0)
    (row,) = next(section for section in report.sections if section.key == "drills").rows
    assert row.cells[-1] == "DRILL-2, errors on checkout-2: not resolved"
    overdue = next(section for section in report.sections if section.key == "overdue").figures[0].key
    wanted = {"thresholds/": False, "/postmortem": False, "drills/DRILL-": False}
    with serving(build_app(res)) as url:
        for key in ("thresholds/thr-2.predicted", "drills/errors.detected", overdue):
            page = httpx.get(f"{url}/weekly/2026-W47/{key}")
            assert page.status_code == 200, key
            links = re.findall(r'class="id" href="(/[^"]+)"', page.text)
            wanted |= {part: True for part in wanted if any(part in link for link in links)}
            assert {httpx.get(url + link).status_code for link in links} == {200}, (key, links)
        listed, card = httpx.get(f"{url}/drills").text, httpx.get(f"{url}/drills/drill-2").text
        assert httpx.get(f"{url}/drills/DRILL-9").status_code == 404
    assert all(wanted.values()), wanted
    assert listed.index("DRILL-2") < listed.index("DRILL-1") < listed.index("DRILL-3"), "the newest first"
    assert "INC-1 &lt;b&gt;" in card and "failed" in card


def test_the_page_computes_a_report_once_for_many_readers() -> None:
    store = MemoryStore()
    fill(store)
    res, made = shop(store), list[str]()

    def counting(week: str) -> WeeklyReport:
        made.append(week)
        return report_on(res, week)

    deps = GatewayDeps(
        store=store, config=res.config, clock=res.clock, decide=None, run_url=str, weekly=counting  # type: ignore[arg-type]
    )  # fmt: skip
    with serving(create_app(deps)) as url, ThreadPoolExecutor(8) as readers:
        answers = list(readers.map(lambda _: httpx.get(f"{url}/weekly/2026-W47", timeout=30).status_code, range(8)))
    assert answers == [200] * 8 and made == ["2026-W47"]


@flow(name="made-up-flow")
def made_up(number: int) -> int:
    if number == 2:
        raise ValueError("the second one fails")
    return number


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """A Prefect server with a flow that Quell deployed, one that it did not, and four runs."""
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        other = made_up.with_options(name="somebody-elses")
        client.create_deployment(client.create_flow(made_up), "made-up", tags=["quell"])
        client.create_deployment(client.create_flow(other), "other", tags=["theirs"])
        for number in (1, 2, 3):
            made_up(number, return_state=True)
        other(1)
        yield client


def test_run_health_is_what_prefect_counted_of_quells_flows(client: SyncPrefectClient) -> None:
    now = datetime.now(UTC)
    with temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        (found,) = ask_prefect(week_of(now), now + timedelta(seconds=1)).flows
        assert found.flow == "made-up-flow"
        assert found.states == {"completed": 2, "failed": 1}
        assert len(found.seconds) == 2 and all(0 <= seconds < 60 for seconds in found.seconds.values())
        assert len(found.bad) == 1 and found.bad[0] not in found.seconds
        assert ask_prefect(week_of(now).before.before, now).flows == ()


def test_run_health_of_a_week_that_is_over_is_kept(client: SyncPrefectClient, every_store: Store) -> None:
    """Prefect forgets its runs; the report of an old week must not."""
    this = week_of(datetime.now(UTC))
    during, after = shop(every_store, datetime.now(UTC) + timedelta(seconds=1)), shop(every_store, this.end)
    with temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        keep_run_health(during, this)
        with every_store.reading() as tx:
            assert tx.documents.count({"kind": "weekly runs"}) == 0
        kept = keep_run_health(after, this)
    assert kept.flows and run_health(after, this) == kept  # without a server
    assert run_health(during, this.before).unavailable


def test_without_a_server_none_is_started_for_the_report() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert "no Prefect server is configured" in run_health(shop(MemoryStore()), WEEK).unavailable


def test_the_flow_leaves_the_report_as_an_artifact_with_links(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    fill(store)
    monkeypatch.setattr(tasks.weekly, "resources", lambda: shop(store))
    with temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        state = weekly_flow(return_state=True)
        artifact = Artifact.get("weekly-report")
    assert state.is_completed() and state.message.startswith("2026-W47: 14 sections")
    assert artifact is not None
    text = artifact.data if isinstance(artifact.data, str) else json.dumps(artifact.data)
    url = shop_config().gateway_url
    assert f"[53 min 10 s, 2 not there yet]({url}/weekly/2026-W47/times/mttr)" in text
    with store.reading() as tx:
        assert tx.documents.count({"kind": "playbook"}) == len(shop_config().playbooks)
        assert tx.documents.count({"kind": "weekly runs"}) == 2


def test_a_report_after_the_fact_uses_what_the_record_says_now() -> None:
    store = MemoryStore()
    fill(store)
    res = shop(store)
    before = figure(weekly_report(res, WEEK), "noise/dismissed").value
    with store.writing() as tx:
        open_one = tx.incidents.get("INC-9")
        assert open_one is not None
        tx.incidents.put(replace(open_one, state="dismissed"))  # type: ignore[arg-type]
    assert (before, figure(weekly_report(res, WEEK), "noise/dismissed").value) == (1 / 9, 2 / 9)
