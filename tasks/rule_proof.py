"""The proof of a proposed rule: promtool runs its tests on it, and on the rule that it replaces."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from quell.adapters.rules import RuleFolder, write_rules
from quell.incidents.signal import Signal
from quell.prevention.hour_cases import hour_cases, hour_tests
from quell.prevention.limits import Limits, limits_of
from quell.prevention.rule import rule_group
from quell.prevention.rule_cases import Case, rule_cases, rule_tests, stand_in
from tasks.study import Study, hold_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The file of tests, and what came of them, in words."""

    tests: str
    said: str


def prove_rule(folder: RuleFolder, name: str, study: Study) -> Proof:
    """Write the tests beside the proposal and run them. Raises InvalidInput where the new rule fails one.

    Where the change has a point that can be tested, the old rule must fail; the proof says so when it does not.
    """
    old = limits_of(study.old) if study.old else None
    cases, content = proof_cases(study.signal, study.found.limits, old, hold_of(study.signal), f"{name}.rules.yml")
    tests = write_rules(content)
    folder.prove(name, _rules(study, study.found.limits), tests)
    said = f"{len(cases)} cases pass on the new rule"
    differing = sum(case.differs for case in cases)
    if old is not None and differing:
        fails = folder.fails_on(name, _rules(study, old))
        said += f", and the old rule {'fails' if fails else 'passes all, though it should fail'} {differing} of them"
    return Proof(tests=tests, said=said)


def proof_cases(
    signal: Signal, new: Limits, old: Limits | None, hold: timedelta, rule_file: str
) -> tuple[tuple[Case, ...], dict[str, Any]]:
    """The cases, and the file of them for promtool; over a week where a limit depends on its hours."""
    if new.is_by_hour or (old is not None and old.is_by_hour):
        cases = hour_cases(signal, new, old, hold)
        return tuple(one.case for one in cases), hour_tests(signal, cases, rule_file)
    plain = rule_cases(signal, new, old, hold)
    return plain, rule_tests(signal, plain, rule_file)


def _rules(study: Study, limits: Limits) -> str:
    group = rule_group(
        stand_in(study.signal),
        threshold="stand-in",
        limits=limits,
        hold=hold_of(study.signal),
        evidence={},
    )
    return write_rules(group)
