"""The proof of a burn-rate rule: promtool runs its alerts on made-up error ratios, and on the rule that it replaces.

The recorded ratios are given, so that the tests are about windows and factors, not about the signal's query.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quell.adapters.rules import RuleFolder, write_rules
from quell.detection.burn_rate import ERROR_BUDGET_BURN, duration_text
from quell.detection.burn_rules import RECORD, slo_rules
from quell.incidents.labels import SIGNAL
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnWindow, Slo
from tasks.rule_proof import Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    name: str
    window: BurnWindow
    long: float  # error ratios, 0..1
    short: float
    is_firing: bool
    differs: bool


def prove_burn(
    folder: RuleFolder, name: str, signal: Signal, new: Sequence[BurnWindow], old: Sequence[BurnWindow]
) -> Proof:
    """Write the tests beside the proposal and run them. Raises InvalidInput where the new rule fails one."""
    if signal.slo is None:
        return Proof(tests="", said="no slo, no test")
    cases = [case for window in new for case in _cases(signal.slo, window, old)]
    content = {
        "rule_files": [f"{name}.rules.yml"],
        "evaluation_interval": "1m",
        "tests": [_test(signal, case) for case in cases],
    }
    tests = write_rules(content)
    folder.prove(name, _alerts(signal, new), tests)
    said, differing = f"{len(cases)} cases pass on the new rule", sum(case.differs for case in cases)
    if differing:
        fails = folder.fails_on(name, _alerts(signal, old))
        said += f", and the old rule {'fails' if fails else 'passes all, though it should fail'} {differing} of them"
    return Proof(tests=tests, said=said)


def _alerts(signal: Signal, windows: Sequence[BurnWindow]) -> str:
    """The alerts without what records the ratios."""
    return write_rules({"groups": slo_rules(signal, windows)["groups"][1:]})


def _cases(slo: Slo, window: BurnWindow, old: Sequence[BurnWindow]) -> Iterator[_Case]:
    limit = window.factor(slo.period) * slo.error_budget
    twin = next((one for one in old if (one.long, one.short) == (window.long, window.short)), None)
    former = None if twin is None else twin.factor(slo.period) * slo.error_budget
    is_tighter = former is None or limit < former
    over = (limit + former) / 2 if former is not None and is_tighter and former > limit else (limit + 1.0) / 2
    when = f"{duration_text(window.long)} and {duration_text(window.short)}"

    def case(name: str, long: float, short: float, *, is_firing: bool = False, differs: bool = False) -> _Case:
        return _Case(
            name=f"{when}: {name}", window=window, long=long, short=short, is_firing=is_firing, differs=differs
        )

    yield case("both beyond the limit fire", over, over, is_firing=True, differs=is_tighter and former != limit)
    yield case("inside it stays silent", limit / 2, limit / 2)
    yield case("an error that is over stays silent", over, limit / 2)
    yield case("a short burst stays silent", limit / 2, over)
    if former is not None and former < limit:
        between = (limit + former) / 2
        yield case("between old and new limit it is silent now", between, between, differs=True)


def _test(signal: Signal, case: _Case) -> dict[str, Any]:
    long, short = duration_text(case.window.long), duration_text(case.window.short)
    chosen = f'{{{SIGNAL}="{signal.name}"}}'
    firing = f'count(ALERTS{{alertname="{ERROR_BUDGET_BURN}",window="{long}",alertstate="firing"}})'
    samples = [{"labels": "{}", "value": 1}] if case.is_firing else []
    series = [(f"{RECORD}{long}{chosen}", case.long), (f"{RECORD}{short}{chosen}", case.short)]
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value:.12g}"} for name, value in series],
        "promql_expr_test": [{"expr": firing, "eval_time": "0s", "exp_samples": samples}],
    }
