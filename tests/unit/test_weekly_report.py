"""The weekly report as a whole: every number leads to what is behind it, in markdown and in the export."""

import re
from datetime import timedelta

import pytest

from quell.incidents.incident import IncidentState
from quell.prevention.weekly.export import COLUMNS, export_rows
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.markdown import write_markdown
from quell.prevention.weekly.noise import NoisyRule
from quell.prevention.weekly.report import NOT_OVER, Background, make_report
from quell.prevention.weekly.runs import FlowHealth, RunHealth
from quell.prevention.weekly.section import WeeklyReport
from tests.weekly_records import MONDAY, NOW, RUN, alert, facts, incident, mitigation

pytestmark = pytest.mark.unit


def report() -> WeeklyReport:
    week = facts(
        incidents=(incident(1, resolve=10, alerts=2), incident(2, IncidentState.DISMISSED)),
        alerts=(alert(1), alert(2)),
        mitigations=(mitigation(1, asks=True, approved=3),),
    )
    background = Background(
        noisy=(
            NoisyRule(name="Disk|Full", service="", alerts=(alert(1),), cure="delete it"),
            NoisyRule(name="disk-full", service="", alerts=(alert(2),), cure="delete it"),
        ),
        mitigations=(mitigation(1),),
        runs=RunHealth(flows=(FlowHealth(flow="sweep", states={"completed": 1}, seconds={RUN: 2.0}),)),
        record_since=MONDAY - timedelta(days=30),
    )
    return make_report(week, facts(), background)


def link(figure: Figure) -> str:
    return f"https://quell/{figure.key}" if figure.behind else ""


def test_every_number_with_records_behind_it_is_a_link() -> None:
    made = report()
    markdown = write_markdown(made, link)
    linked = set(re.findall(r"\(https://quell/([^)]+)\)", markdown))
    assert linked == {figure.key for _, figure in made.figures if figure.behind}
    assert {"times/mttr", "noise/alerts", "approvals/delay", "runs/sweep.all"} <= linked
    assert "Disk\\|Full" in markdown


def test_keys_are_unique_even_where_names_look_alike() -> None:
    keys = [figure.key for _, figure in report().figures]
    assert len(keys) == len(set(keys))


def test_the_export_has_a_row_for_each_figure_with_its_records() -> None:
    rows = {str(row["figure"]): row for row in export_rows(report())}
    assert all(tuple(row) == COLUMNS for row in rows.values())
    mttr = rows["times/mttr"]
    assert (mttr["week"], mttr["value"], mttr["n"], mttr["incidents"]) == ("2026-W47", 600.0, 1, ["INC-1"])
    assert mttr["flow_runs"] == [RUN]
    assert rows["times/mtta"]["value"] is None and rows["times/mtta"]["n"] == 0


def test_what_the_report_lacks_is_said_at_its_head() -> None:
    running = make_report(facts(now=MONDAY + timedelta(days=3)), facts(), Background())
    assert running.notes[0] == NOT_OVER and "No incident is on record" in running.notes[1]
    young = make_report(facts(), facts(), Background(record_since=MONDAY + timedelta(days=2)))
    assert "The record begins on 2026-11-18" in young.notes[0]
    assert make_report(facts(now=NOW), facts(), Background(record_since=MONDAY)).notes == ()
