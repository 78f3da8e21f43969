"""The proof of a proposed rule: promtool runs its tests on it, and on the rule that it replaces."""

from dataclasses import dataclass

from quell.adapters.rules import RuleFolder, write_rules
from quell.prevention.recomputation import Limits
from quell.prevention.rule import rule_group
from quell.prevention.rule_cases import rule_cases, rule_tests, stand_in
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
    old = Limits(lower=study.old.lower, upper=study.old.upper) if study.old else None
    cases = rule_cases(study.signal, study.found.limits, old, hold_of(study.signal))
    tests = write_rules(rule_tests(study.signal, cases, f"{name}.rules.yml"))
    folder.prove(name, _rules(study, study.found.limits), tests)
    said = f"{len(cases)} cases pass on the new rule"
    differing = sum(case.differs for case in cases)
    if old is not None and differing:
        fails = folder.fails_on(name, _rules(study, old))
        said += f", and the old rule {'fails' if fails else 'passes all, though it should fail'} {differing} of them"
    return Proof(tests=tests, said=said)


def _rules(study: Study, limits: Limits) -> str:
    group = rule_group(
        stand_in(study.signal),
        threshold="stand-in",
        upper=limits.upper,
        lower=limits.lower,
        hold=hold_of(study.signal),
        evidence={},
    )
    return write_rules(group)
