"""The weekly report's sections against figures computed by hand."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from quell.incidents.alert import AlertOutcome
from quell.incidents.change import Change, ChangeKind
from quell.incidents.decision import Answer, Decision
from quell.incidents.errors import InvalidInput
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentState
from quell.incidents.mitigation import MitigationState, Recovery
from quell.incidents.outcome import FALSE_ISOLATION
from quell.incidents.review import ActionItem, Review, SignOff
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.guard_standing import GuardStanding
from quell.prevention.weekly.approvals import approvals_section
from quell.prevention.weekly.cause import cause_section
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.isolation import isolation_section
from quell.prevention.weekly.lessons import lessons_section
from quell.prevention.weekly.noise import NoisyRule, noise_section, noisy_rules_section
from quell.prevention.weekly.overdue import find_overdue, overdue_section
from quell.prevention.weekly.runs import FlowHealth, RunHealth, runs_section
from quell.prevention.weekly.section import Section, beside
from quell.prevention.weekly.strip import MOST_DOTS, strip_chart
from quell.prevention.weekly.times import times_section
from quell.prevention.weekly.trend import trend_chart, trend_section
from quell.prevention.weekly.week import parse_week, week_of
from quell.prevention.weekly.words import before_in_words, figure_in_words
from tests.weekly_records import MONDAY, NOW, RUN, alert, facts, incident, minutes, mitigation

pytestmark = pytest.mark.unit
S = IncidentState


def figures(section: Section) -> dict[str, Figure]:
    return {figure.key.split("/", 1)[1]: figure for figure in section.figures}


def test_a_week_begins_on_monday_in_utc_whatever_the_zone_of_the_moment() -> None:
    sunday_night = datetime.fromisoformat("2026-11-22T23:30:00-03:00")  # Monday 02:30 UTC
    assert week_of(sunday_night).name == "2026-W48"
    assert week_of(datetime(2027, 1, 3, 23, 59, tzinfo=UTC)).name == "2026-W53"
    assert parse_week("2026-w47") == parse_week("2026W47")
    for wrong in ("2026-W54", "2025-W53", "2026-W00", "0001-W01", "9999-W52", "٢٠٢٦-W01", "47", "2026-47", ""):
        with pytest.raises(InvalidInput, match="as in 2026-W47"):
            parse_week(wrong)


def test_times_are_means_with_median_and_ninth_decile_by_hand() -> None:
    """MTTR of 10, 20 and 90 minutes: mean 40, median 20, 90 % at 20 + 0.8 x 70 = 76."""
    given = [
        incident(1, detect=1, acknowledge=2, contain=5, resolve=10),
        incident(2, detect=3, acknowledge=6, contain=9, resolve=20),
        incident(3, detect=8, contain=40, resolve=90),
        incident(4, S.CONTAINED, detect=4, contain=6),
        incident(5, S.DISMISSED, detect=500, resolve=500),
    ]
    found = figures(times_section(facts(incidents=tuple(given))))
    assert (found["mttd"].value, found["mttd"].n) == (4 * 60, 4)
    assert (found["mtta"].value, found["mtta"].n, found["mtta"].waiting) == (4 * 60, 2, 2)
    assert (found["mttc"].value, found["mttc"].median) == (15 * 60, 7.5 * 60)
    mttr = found["mttr"]
    assert (mttr.value, mttr.median, mttr.n, mttr.waiting) == (40 * 60, 20 * 60, 3, 1)
    assert mttr.p90 == pytest.approx(76 * 60)
    assert [(one.incident, one.value) for one in mttr.behind] == [("INC-1", 600), ("INC-2", 1200), ("INC-3", 5400)]
    assert mttr.behind[0].runs == (RUN,)  # what ran in process is no run of Prefect's


def test_a_week_without_incidents_has_no_times_and_never_a_zero() -> None:
    section = times_section(facts())
    assert section.rows == () and "n = 0" in section.empty
    only_open = figures(times_section(facts(incidents=(incident(1, S.OPEN),))))
    assert only_open["mttr"].value is None and figure_in_words(only_open["mttr"]) == "no data (n = 0), 1 not there yet"


def test_each_figure_stands_beside_the_week_before() -> None:
    now = times_section(facts(incidents=(incident(1, resolve=10),)))
    then = times_section(facts(incidents=(incident(2, resolve=30), incident(3, resolve=10))))
    mttr = figures(beside(now, then))["mttr"]
    assert (mttr.before, mttr.n_before) == (20 * 60, 2)
    assert before_in_words(mttr) == "▼ 50 % from 20 min 0 s (n = 2)"
    nothing = figures(beside(now, times_section(facts(incidents=(incident(2, S.OPEN),)))))["mttr"]
    assert before_in_words(nothing) == "no data (n = 0)"


def test_the_trend_has_a_row_for_each_week_and_breaks_where_there_were_none() -> None:
    weeks = [facts(week=parse_week(f"2026-W{n}")) for n in (44, 45, 46, 47)]
    weeks[0] = replace(weeks[0], incidents=(incident(1, resolve=10), incident(2, resolve=30)))
    weeks[2] = replace(weeks[2], incidents=(incident(3, resolve=40),))
    weeks[3] = replace(weeks[3], incidents=(incident(4, resolve=20),))
    section = trend_section(weeks)
    found = figures(section)
    assert [found[f"2026-w{n}.mttr"].value for n in (44, 46, 47)] == [1200, 2400, 1200]
    assert "2026-w45.mttr" not in found and found["2026-w45.incidents"].value is None
    chart = trend_chart(section)
    path = re.search(r'qt-mttr" d="([^"]+)"', chart)
    assert path is not None and (path[1].count("M"), path[1].count("L")) == (2, 1)
    assert trend_chart(trend_section(weeks[:2])) == "", "one week is no trend"


def test_every_time_is_a_dot_that_leads_to_its_incident_and_many_are_thinned() -> None:
    few = times_section(facts(incidents=(incident(1, resolve=10), incident(2, resolve=90))))
    drawn = strip_chart(few.figures)
    assert drawn.count('href="/incidents/INC-1"') == 2  # detected and resolved
    assert "MTTR of INC-2: 1 h 30 min" in drawn
    many = times_section(facts(incidents=tuple(incident(n, resolve=n) for n in range(1, 1001))))
    assert strip_chart(many.figures).count("MTTR of") == MOST_DOTS
    assert "MTTR of INC-1:" in strip_chart(many.figures) and "MTTR of INC-1000:" in strip_chart(many.figures)
    assert strip_chart(()) == ""


def promoted_fix(incident: str, **changes: Any) -> Fix:
    made = Fix(
        id="FIX-1",
        state=FixState.PROMOTED,
        incident=incident,
        service="checkout",
        instance="checkout-2",
        repository="shop",
        file="checkout-2.yaml",
        bad_commit="b" * 40,
        diff="",
        created_at=MONDAY,
        updated_at=MONDAY,
    )
    return replace(made, **changes)


def test_how_long_fixes_wait_for_their_owner_is_told_and_those_that_nobody_was_asked_about_are_left_out() -> None:
    deadline = MONDAY + timedelta(hours=4)
    answered = promoted_fix("INC-1", approval_deadline=deadline)
    open_one = promoted_fix("INC-2", id="FIX-2", state=FixState.VALIDATED, approval_deadline=deadline)
    automatic = promoted_fix("INC-3", id="FIX-3")
    said = Decision(
        id="FIX-1/1",
        subject="FIX-1",
        plan_hash="h",
        person="alice",
        answer=Answer.APPROVE,
        channel="page",
        at=MONDAY + timedelta(seconds=90),
    )
    section = approvals_section(facts(fixes=(answered, open_one, automatic), decisions=(said,)))
    figure = figures(section)["fixes"]
    assert figure.value == 90 and figure.waiting == 1 and [one.id for one in figure.behind] == ["FIX-1"]


def test_a_cause_is_the_accused_change_and_else_what_the_suspect_is() -> None:
    shop = Service(name="checkout", team="shop", instances=(Instance(name="checkout-2", service="checkout"),))
    deploy = Change(
        id="c1", kind=ChangeKind.DEPLOY, service="checkout", at=MONDAY, summary="v2", received_at=MONDAY
    )  # fmt: skip
    given = (
        incident(1, suspect="checkout-2", change="c1", resolve=10),
        incident(2, suspect="checkout-2", resolve=20),
        incident(3, suspect="checkout", resolve=40),
        incident(4, suspect="payment"),
        incident(5, suspect="client-7"),
        incident(6),
        incident(7, suspect="checkout-2"),
        incident(8, S.DISMISSED, suspect="checkout-2"),
    )
    section = cause_section(
        facts(
            incidents=given,
            changes={"c1": deploy},
            fixes=(promoted_fix("INC-7"),),
            catalog=Catalog(services={"checkout": shop, "payment": Service(name="payment", team="pay")}),
        )
    )
    found = {row.name: [one.incident for one in row.figures[0].behind] for row in section.rows}
    assert found == {
        "a deploy": ["INC-1"],
        "one instance, no change known": ["INC-2"],
        "the service, no change known": ["INC-3"],
        "a dependency, no change known": ["INC-4"],
        "a client or its traffic": ["INC-5"],
        "not known": ["INC-6"],
        "a change of configuration": ["INC-7"],
    }
    assert {row.figures[0].n for row in section.rows} == {7}


def test_noise_counts_alerts_by_what_became_of_them() -> None:
    alerts = (
        *(alert(n) for n in range(1, 7)),
        alert(7, outcome=AlertOutcome.MUTED, incident=None),
        alert(8, outcome=AlertOutcome.MUTED, incident=None),
        alert(9, outcome=AlertOutcome.DUPLICATE),
        alert(10, outcome=AlertOutcome.WAITING, incident=None),
    )
    incidents = (incident(1, alerts=6), incident(2, alerts=1), incident(3, S.DISMISSED, alerts=2), incident(4))
    found = figures(noise_section(facts(alerts=alerts, incidents=incidents)))
    assert found["alerts"].value == 10
    assert (found["alerts-per-incident"].value, found["alerts-per-incident"].n) == (3.0, 3)
    assert (found["muted"].value, found["muted"].n) == (0.2, 10)
    assert found["duplicates"].value == 0.1
    assert found["dismissed"].value == 0.25
    assert [one.id for one in found["muted"].behind] == ["a7", "a8"]


def test_of_no_alerts_at_all_there_is_no_count_and_of_some_a_zero_is_one() -> None:
    none = figures(noise_section(facts(incidents=(incident(1),))))
    assert none["alerts"].value is None and none["muted"].value is None
    assert (none["dismissed"].value, none["dismissed"].n) == (0.0, 1)


def test_noisy_rules_keep_their_cure_and_their_incidents() -> None:
    rule = NoisyRule(name="DiskFull", service="db", alerts=(alert(1), alert(2, incident="INC-2")), cure="delete it")
    (row,) = noisy_rules_section([rule]).rows
    assert row.cells[1:] == ("db", "delete it")
    assert [one.incident for one in row.figures[0].behind] == ["INC-1", "INC-2"]


def test_the_cost_of_false_isolations_is_capacity_over_time() -> None:
    """A quarter for 10 minutes is 2.5 minutes of the whole service; half of it until now counts as well."""
    given = (
        mitigation(1),
        mitigation(2, recovery=Recovery.INEFFECTIVE, reason=f"{FALSE_ISOLATION}users were never outside"),
        mitigation(
            3, MitigationState.EFFECTIVE, created=NOW - minutes(21), ended=None, share=0.5
        ),
        mitigation(4, MitigationState.REFUSED, None, applied=None, judged=None),
        mitigation(5, share=0.0),
    )  # fmt: skip
    found = figures(isolation_section(facts(mitigations=given, wrongly_refused={"MIT-5": 12})))
    assert (found["false"].value, found["false"].n) == (1 / 3, 3)
    assert found["false-cost"].value == 150
    assert found["cost"].value == 150 + 150 + 600
    assert (found["refused"].value, found["refused"].n) == (12, 1)
    assert [one.id for one in found["false-cost"].behind] == ["MIT-2"]


def test_nothing_isolated_is_said_and_not_a_cost_of_zero() -> None:
    section = isolation_section(facts(mitigations=(mitigation(1, share=0.0),)))
    assert section.rows == () and "Nothing was isolated" in section.empty


def test_approvals_and_their_delays() -> None:
    """Answers after 2 and 6 minutes; one expired, one waits."""
    wait = MitigationState.AWAITING_APPROVAL
    given = (
        mitigation(1, asks=True, approved=2),
        mitigation(2, MitigationState.REFUSED, None, asks=True, applied=None, judged=None),
        mitigation(3, MitigationState.EXPIRED, None, asks=True, applied=None, judged=None),
        mitigation(4, wait, None, asks=True, applied=None, judged=None, ended=None),
        mitigation(5),
    )
    refusal = Decision(
        id="d2", subject="MIT-2", plan_hash="h", person="bob", answer=Answer.REFUSE, channel="page",
        at=given[1].created_at + minutes(6),
    )  # fmt: skip
    agreed = replace(
        refusal, id="d1", subject="MIT-1", answer=Answer.APPROVE, channel="prefect", at=given[0].created_at + minutes(2)
    )
    section = approvals_section(facts(mitigations=given, decisions=(refusal, agreed)))
    found = figures(section)
    assert (found["asked"].value, found["asked"].n) == (4, 5)
    delay = found["delay"]
    assert (delay.value, delay.median, delay.n, delay.waiting) == (240, 240, 2, 2)
    assert {key: found[key].value for key in ("approved", "refused", "expired", "waiting")} == dict.fromkeys(
        ("approved", "refused", "expired", "waiting"), 0.25
    )
    assert {one.id for one in delay.behind} == {"MIT-1", "MIT-2"} and delay.behind[0].runs == (RUN,)
    assert "1 by page" in section.notes[0] and "1 by prefect" in section.notes[0]


def test_limits_wait_for_an_answer_apart_from_mitigations() -> None:
    """One was answered after two days, one waits, one gave way to a newer one."""
    state = ThresholdState
    proposals = tuple(
        ThresholdVersion(
            id=f"THR-{n}", signal="errors", state=one, upper=0.1, lower=None, created_at=MONDAY, updated_at=MONDAY
        )
        for n, one in enumerate((state.ACTIVE, state.SHADOW, state.REVERTED), start=1)
    )
    agreed = Decision(
        id="d", subject="THR-1", plan_hash="h", person="bob", answer=Answer.APPROVE, channel="cli",
        at=MONDAY + timedelta(days=2),
    )  # fmt: skip
    found = figures(approvals_section(facts(proposals=proposals, decisions=(agreed,))))
    limits = found["limits"]
    assert (limits.value, limits.n, limits.waiting) == (2 * 86_400, 1, 1)
    assert found["asked"].value is None and found["delay"].value is None


def test_what_works_is_told_by_playbook_and_kind_of_alert() -> None:
    given = [
        mitigation(1, judged=2),
        mitigation(2, judged=4),
        mitigation(3, recovery=Recovery.INEFFECTIVE),
        mitigation(4, recovery=Recovery.INCONCLUSIVE, ended=5),
        mitigation(5, answers=""),
    ]
    by_hand, errors = lessons_section(given, NOW, {"MIT-1": 9}).rows
    assert by_hand.cells[0] == "asked for by a person"
    used, success, effect = errors.figures
    assert (errors.cells[0], used.value) == ("InstanceErrors", 4)
    assert (success.value, success.n) == (2 / 3, 3)
    assert (effect.value, effect.median, effect.n) == (120, 120, 2)
    # a quarter for 10 min and for 4 min that helped nobody: 3.5 min
    assert errors.cells[-1] == "210 s of capacity without use, 9 requests wrongly refused"


def test_run_health_is_counted_by_state_and_says_when_prefect_is_away() -> None:
    sweep = FlowHealth(
        flow="detection-sweep", states={"completed": 7, "failed": 2, "running": 1}, seconds={"r1": 2.0, "r2": 4.0},
        bad=("r3",),
    )  # fmt: skip
    section = runs_section(RunHealth(flows=(FlowHealth(flow="reconcile", states={"completed": 3}), sweep)))
    found = figures(section)
    assert [row.name for row in section.rows] == ["detection-sweep", "reconcile"]  # trouble first
    assert found["detection-sweep.all"].value == 10 and found["detection-sweep.failed"].value == 2
    assert found["detection-sweep.others"].value == 1 and found["detection-sweep.duration"].value == 3.0
    assert found["detection-sweep.failed"].behind[0].runs == ("r3",)
    assert found["reconcile.duration"].value is None
    away = runs_section(RunHealth(unavailable="the Prefect server does not answer"))
    assert away.rows == () and away.empty == "Not known: the Prefect server does not answer"


def test_what_is_overdue_after_a_post_mortem_is_named_the_longest_first() -> None:
    due = date(2026, 11, 20)
    review = Review(
        id="INC-1",
        markdown="",
        written_at=MONDAY,
        sign_offs=(
            SignOff(team="shop", due=due),
            SignOff(team="pay", due=due, person="bob", at=NOW),
            SignOff(team="later", due=date(2026, 11, 23)),
        ),
        action_items=(
            ActionItem(id="a", text="write a guard", owner="alice", due=date(2026, 11, 1)),
            ActionItem(id="b", text="done", owner="alice", due=date(2026, 11, 1), done_at=NOW),
        ),
    )
    today = date(2026, 11, 23)
    rows = overdue_section(find_overdue([review], today), today).rows
    assert [(row.name, *row.cells[:2], row.figures[0].value) for row in rows] == [
        ("INC-1", "alice", "write a guard", 22),
        ("INC-1", "shop", "sign-off", 3),
    ]
    rows = overdue_section(find_overdue([review], date(2026, 11, 26), {"INC-1": GuardStanding()}), today).rows
    assert "write a guard, or waive it with a reason" in [row.cells[1] for row in rows]


def test_a_longer_time_than_a_day_stays_readable() -> None:
    figure = figures(times_section(facts(incidents=(incident(1, resolve=60 * 50),))))["mttr"]
    assert figure_in_words(figure) == "2 d 2 h"
    assert timedelta(seconds=figure.value or 0) == timedelta(hours=50)
