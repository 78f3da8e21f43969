"""Precision and recall of detection, and whether predictions held, against figures computed by hand."""

from datetime import timedelta

import pytest

from quell.incidents.alert import REPORTS_ALERT, AlertOutcome
from quell.incidents.anomaly import AnomalyLabel
from quell.incidents.incident import IncidentState
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.incidents.verdict import VerdictKind
from quell.prevention.weekly.figure import Figure
from quell.prevention.weekly.limits import LimitChange, limits_section, predicted_per_week, verdict_of
from quell.prevention.weekly.section import Section
from quell.prevention.weekly.signals import Evidence, signals_section
from tests.weekly_records import MONDAY, alert, anomaly, incident

pytestmark = pytest.mark.unit
S, L = IncidentState, AnomalyLabel


def figures(section: Section) -> dict[str, Figure]:
    return {figure.key.split("/", 1)[1]: figure for figure in section.figures}


def test_precision_and_recall_from_incidents_that_are_over() -> None:
    """errors alerts in 4 incidents: 2 real, 1 dismissed, 1 not over. It missed 1 that only users reported."""
    given = Evidence(
        incidents=(
            *(incident(1), incident(2), incident(3, S.DISMISSED), incident(4, S.OPEN)),
            *(incident(5, by="report"), incident(6, S.OPEN, by="report")),
        ),
        alerts=(
            *(alert(n, incident=f"INC-{n}") for n in (1, 2, 3, 4)),
            alert(9, incident="INC-1"),  # a second alert of the same signal is the same detection
            alert(5, incident="INC-5", source="report", name=REPORTS_ALERT, signal=""),
        ),
        signals={"errors": "checkout", "latency": None, "stock": "warehouse"},
    )
    found = figures(signals_section(given))
    assert (found["errors.precision"].value, found["errors.precision"].n) == (2 / 3, 3)
    assert (found["errors.recall"].value, found["errors.recall"].n) == (2 / 3, 3)
    assert (found["latency.precision"].value, found["latency.recall"].value) == (None, 0.0)
    assert "stock.recall" not in found  # nothing of its service happened
    assert (found["all.recall"].value, found["all.recall"].n) == (2 / 3, 3)
    assert {one.incident: one.value for one in found["errors.recall"].behind} == {"INC-1": 1, "INC-2": 1, "INC-5": 0}


def test_what_only_other_sources_saw_was_missed_by_the_signals_and_not_by_all() -> None:
    given = Evidence(
        incidents=(incident(1, by="alertmanager"),),
        alerts=(alert(1, source="alertmanager", name="HighErrors", signal=""),),
        signals={"errors": "checkout"},
    )
    found = figures(signals_section(given))
    assert found["errors.recall"].value == 0.0
    assert found["higherrors.rule.precision"].value == 1.0
    assert "higherrors.rule.recall" not in found
    assert found["all.recall"].value == 1.0


def test_of_all_detection_an_incident_counts_once_however_many_told_of_it() -> None:
    given = Evidence(
        incidents=(incident(1), incident(2, S.DISMISSED)),
        alerts=(
            *(alert(1), alert(2, signal="latency"), alert(3, name="HighErrors", source="alertmanager", signal="")),
            alert(4, incident="INC-2"),
        ),
    )
    found = figures(signals_section(given))["all.precision"]
    assert (found.value, found.n) == (0.5, 2)


def test_a_label_says_more_than_what_became_of_the_incident() -> None:
    given = Evidence(
        incidents=(incident(1), incident(2), incident(3)),
        alerts=(alert(1), alert(2, incident="INC-2"), alert(3, incident="INC-3")),
        anomalies=(
            anomaly(1, L.FALSE, fingerprint="f1"),
            anomaly(2, L.EXPECTED, fingerprint="f2"),
            anomaly(3, L.FALSE, fingerprint="f3", at=MONDAY + timedelta(days=5)),  # another time of the same series
        ),
        signals={"errors": "checkout"},
    )
    precision = figures(signals_section(given))["errors.precision"]
    assert {one.id: one.value for one in precision.behind} == {"INC-1": 0, "INC-3": 1, "ANO-3": 0}


def test_an_anomaly_inside_the_limit_that_was_real_is_a_miss() -> None:
    given = Evidence(
        anomalies=(
            anomaly(1, L.REAL),
            anomaly(2, L.REAL, kind=VerdictKind.NORMAL),
            anomaly(3, L.FALSE, kind=VerdictKind.NORMAL),  # rightly judged normal
        )
    )
    found = figures(signals_section(given))
    assert (found["errors.precision"].value, found["errors.precision"].n) == (1.0, 1)
    assert (found["errors.recall"].value, found["errors.recall"].n) == (0.5, 2)


def test_muted_alerts_say_nothing_and_without_anything_judged_nothing_is_claimed() -> None:
    section = signals_section(Evidence(incidents=(incident(1, S.OPEN),), alerts=(alert(1),)))
    assert section.rows == () and "n = 0" in section.empty
    muted = Evidence(incidents=(incident(1),), alerts=(alert(1, outcome=AlertOutcome.MUTED),))
    found = figures(signals_section(muted))
    assert found["all.precision"].value is None and found["all.recall"].value == 0.0


def version(state: ThresholdState = ThresholdState.ACTIVE, **predicted: float) -> ThresholdVersion:
    return ThresholdVersion(
        id="THR-1", signal="errors", state=state, upper=0.05, lower=None, created_at=MONDAY, updated_at=MONDAY,
        predicted=predicted,
    )  # fmt: skip


def test_only_what_was_told_as_a_prediction_counts_as_one() -> None:
    assert predicted_per_week(version(per_week=3.5, is_told=1.0)) == 3.5
    assert predicted_per_week(version(per_week=3.5)) == 3.5
    assert predicted_per_week(version(per_week=3.5, is_told=0.0)) is None
    assert predicted_per_week(version()) is None


@pytest.mark.parametrize(
    ("predicted", "count", "weeks", "said"),
    [
        (10.0, 24, 2, "held: within 25 %"),
        (10.0, 26, 2, "held, as far as 26 alerts can tell"),
        (10.0, 60, 2, "did not hold: more alerts"),
        (10.0, 2, 2, "did not hold: fewer alerts"),
        (0.5, 0, 2, "held, as far as 0 alerts can tell"),
        (None, 3, 2, "nothing was predicted"),
        (10.0, 1, 1 / 7, "too early to say: 24 h"),
        (10.0, 0, 0, "was never in force"),
    ],
)
def test_a_prediction_holds_within_a_quarter_or_within_chance(
    predicted: float | None, count: int, weeks: float, said: str
) -> None:
    assert verdict_of(predicted, count, timedelta(weeks=weeks)).startswith(said)


def test_a_threshold_change_shows_what_was_predicted_and_what_came() -> None:
    alerts = tuple(alert(n, source="alertmanager", quell_threshold="THR-1") for n in range(3))
    change = LimitChange(version=version(per_week=2.0), since=MONDAY, until=MONDAY + timedelta(weeks=1), alerts=alerts)
    (row,) = limits_section([change]).rows
    predicted, came = row.figures
    assert (row.name, row.cells[:2]) == ("THR-1 errors", ("active", "above 0.05"))
    assert (predicted.value, came.value, came.n) == (2.0, 3.0, 7)
    assert row.cells[-1] == "held, as far as 3 alerts can tell (0.62 to 8.8 per week)"


def test_a_version_that_was_never_in_force_has_no_rate() -> None:
    declined = LimitChange(version=version(ThresholdState.REVERTED), since=None, until=MONDAY)
    (row,) = limits_section([declined]).rows
    assert row.figures[1].value is None and row.cells[-1] == "was never in force"
