"""A rule's tests: what the limits of a proposal must and must not alert on, as `promtool test rules` reads it.

The signal's query is replaced by a stand-in series: no test can make up the series of any query, and what changes is
the limit and how long it must be broken. A case marked `differs` is the point of the change: it fails on the old rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from quell.incidents.signal import Signal
from quell.prevention.limits import Limits
from quell.prevention.rule import alert_name

STAND_IN = "quell_signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`values` come one per step; `is_firing` says whether the alert of this side fires at the last one."""

    name: str
    side: str  # high or low
    values: tuple[float, ...]
    is_firing: bool
    differs: bool


def stand_in(signal: Signal) -> Signal:
    """The signal with the stand-in series for its query."""
    return replace(signal, query=STAND_IN)


def rule_cases(signal: Signal, new: Limits, old: Limits | None, hold: timedelta) -> tuple[Case, ...]:
    """Both sides' cases; none where neither rule has a limit."""
    before = old or Limits()
    inside = _inside(new, before)
    samples = round(hold / signal.step) + 1  # an alert fires with the last of these
    cases: list[Case] = []
    for side, limit, former in (("high", new.upper, before.upper), ("low", new.lower, before.lower)):
        sign = 1.0 if side == "high" else -1.0
        cases += _cases_of_side(side, sign, limit, former, inside, samples, is_change=old is not None)
    return tuple(cases)


def rule_tests(signal: Signal, cases: Sequence[Case], rule_file: str) -> dict[str, Any]:
    """The file for promtool; `rule_file` holds the rule group with the stand-in."""
    step = _milliseconds(signal.step)
    return {
        "rule_files": [rule_file],
        "evaluation_interval": step,
        "tests": [_test(signal, case, step) for case in cases],
    }


def firing_test(signal: Signal, case: Case, at: timedelta) -> dict[str, Any]:
    """The alert of the case's side fires at this time, or not."""
    firing = f'count(ALERTS{{alertname="{alert_name(signal.name, case.side)}",alertstate="firing"}})'
    samples = [{"labels": "{}", "value": 1}] if case.is_firing else []
    return {"expr": firing, "eval_time": _milliseconds(at), "exp_samples": samples}


def _test(signal: Signal, case: Case, step: str) -> dict[str, Any]:
    return {
        "name": case.name,
        "interval": step,
        "input_series": [{"series": STAND_IN, "values": " ".join(f"{value:.12g}" for value in case.values)}],
        "promql_expr_test": [firing_test(signal, case, (len(case.values) - 1) * signal.step)],
    }


def _cases_of_side(
    side: str, sign: float, limit: float | None, former: float | None, inside: float, samples: int, *, is_change: bool
) -> list[Case]:
    def case(name: str, *values: float, is_firing: bool = False, differs: bool = False) -> Case:
        return Case(name=f"{side}: {name}", side=side, values=values, is_firing=is_firing, differs=differs)

    if limit is None:
        if former is None:
            return []
        return [case("the old limit is gone", *[beyond(former, sign)] * samples, differs=True)]
    is_tighter = former is None or sign * limit < sign * former
    over = (limit + former) / 2 if former is not None and is_tighter and limit != former else beyond(limit, sign)
    cases = [
        case(
            "beyond the new limit it fires",
            *[over] * samples,
            is_firing=True,
            differs=is_change and is_tighter,
        ),
        case("inside it stays silent", *[inside] * samples),
    ]
    if samples > 1:
        cases.append(case("a shorter breach stays silent", *[over] * (samples - 1)))
    if former is not None and sign * former < sign * limit:
        cases.append(
            case("between old and new limit it is silent now", *[(limit + former) / 2] * samples, differs=True)
        )
    return cases


def beyond(limit: float, sign: float) -> float:
    """A value well past the limit: above it with sign 1, below it with -1."""
    return limit + sign * (abs(limit) / 2 or 1.0)


def _inside(new: Limits, old: Limits) -> float:
    """A value that none of the limits minds; the new ones decide where they exclude each other."""
    uppers = [limit for limit in (new.upper, old.upper) if limit is not None]
    lowers = [limit for limit in (new.lower, old.lower) if limit is not None]
    if uppers and lowers and max(lowers) >= min(uppers):
        uppers, lowers = uppers[:1], lowers[:1]
    if uppers and lowers:
        return (min(uppers) + max(lowers)) / 2
    return beyond(min(uppers), -1.0) if uppers else beyond(max(lowers, default=0.0), 1.0)


def _milliseconds(span: timedelta) -> str:
    return f"{round(span / timedelta(milliseconds=1))}ms"
