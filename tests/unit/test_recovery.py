"""Recovery is what users see: held inside the limit, with every sample present, after having been outside."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.incidents.mitigation import Recovery
from quell.incidents.series import SeriesMatrix
from quell.response.playbook import RecoveryRule
from quell.response.recovery import Judgement, judge, worst_series

pytestmark = pytest.mark.unit
APPLIED = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
STEP = timedelta(seconds=5)
RULE = RecoveryRule(signal="errors", below=0.02, hold=timedelta(seconds=15), deadline=timedelta(seconds=120))
NAN = float("nan")


def _judge(before: list[float], after: list[float], rule: RecoveryRule = RULE, limit: float | None = 0.02) -> Judgement:
    """`before` ends at the moment of the effect, `after` ends now."""
    values = np.array([*before, *after])
    first = APPLIED.timestamp() - 5 * (len(before) - 1)
    matrix = SeriesMatrix(
        timestamps=first + 5 * np.arange(len(values)), values=values.reshape(-1, 1), labels=({"service": "shop"},)
    )
    return judge(rule, matrix, limit=limit, step=STEP, applied_at=APPLIED, now=APPLIED + len(after) * STEP)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param([0.3] * 4, [0.0] * 3, Recovery.EFFECTIVE, id="held inside after having been outside"),
        pytest.param([0.3] * 4, [0.3, 0.1, 0.0, 0.0, 0.0], Recovery.EFFECTIVE, id="the windows ran out slowly"),
        pytest.param([0.3] * 4, [0.0] * 2, None, id="too early"),
        pytest.param([0.3] * 4, [0.3] * 5, None, id="outside, but there is time"),
        pytest.param([0.3] * 4, [0.3] * 24, Recovery.INEFFECTIVE, id="outside at the deadline"),
        pytest.param([0.3] * 4, [0.0, NAN, 0.0], None, id="a gap in the hold proves nothing"),
        pytest.param([0.3] * 4, [NAN] * 24, Recovery.INCONCLUSIVE, id="no data is never healthy"),
        pytest.param([0.3] * 4, [0.3] * 22 + [0.0] * 2, Recovery.INCONCLUSIVE, id="inside too late to hold"),
        pytest.param([0.0] * 4, [0.0] * 5, None, id="was never outside"),
        pytest.param([0.0] * 4, [0.0] * 24, Recovery.INCONCLUSIVE, id="was never outside, at the deadline"),
    ],
)
def test_the_judgement_follows_the_users_signal(
    before: list[float], after: list[float], expected: Recovery | None
) -> None:
    judgement = _judge(before, after)
    assert judgement.recovery is expected, judgement.reason
    assert "limit 0.02" in judgement.reason


def test_a_preventive_rule_is_content_when_users_stay_inside() -> None:
    rule = RecoveryRule(signal="errors", below=0.02, preventive=True)
    assert _judge([0.0] * 4, [0.0] * 3, rule).recovery is Recovery.EFFECTIVE


def test_without_a_limit_nothing_can_be_judged() -> None:
    assert _judge([0.3], [0.0] * 24, limit=None).recovery is Recovery.INCONCLUSIVE


def test_an_empty_answer_is_inconclusive_at_the_deadline() -> None:
    empty = SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
    at = APPLIED + RULE.deadline
    verdict = judge(RULE, empty, limit=0.02, step=STEP, applied_at=APPLIED, now=at)
    assert verdict.recovery is Recovery.INCONCLUSIVE and "no data" in verdict.reason


def test_of_several_series_the_worst_counts() -> None:
    matrix = SeriesMatrix(
        timestamps=np.array([0.0, 5.0, 10.0]),
        values=np.array([[0.1, 0.2], [NAN, 0.3], [NAN, NAN]]),
        labels=({"a": "1"}, {"a": "2"}),
    )
    np.testing.assert_array_equal(worst_series(matrix), [0.2, 0.3, NAN])


def test_the_reason_tells_values_in_the_signals_unit() -> None:
    """A share of requests was told as 0.3352, beside charts and titles in percent."""
    matrix = SeriesMatrix(timestamps=np.array([0.0]), values=np.array([[0.3352]]), labels=({},))
    at = APPLIED + RULE.deadline
    verdict = judge(RULE, matrix, limit=0.02, unit="ratio", step=STEP, applied_at=APPLIED, now=at)
    assert "33.52 % at worst before" in verdict.reason and "limit 2 %" in verdict.reason
