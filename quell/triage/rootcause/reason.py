"""The words of a suspect: what was measured, before and now, and what it means."""

import math

from quell.triage.rootcause.share import Shares
from quell.triage.rootcause.symptom import Symptoms
from quell.triage.rootcause.vocabulary import Kind


def of_symptom(symptoms: Symptoms, place: int, reference: int, shares: Shares) -> str:
    """
    What a node's own slowness or failures were, and its part of the reference's.
    """
    metric = symptoms.metrics[place]
    part = min(float(shares.own[place]), 1.0)
    whose = symptoms.nodes[reference]
    if symptoms.kind is Kind.ERRORS:
        what = (
            f"fails more: {metric} says {_share(symptoms.now[place])} failed instead of {_share(symptoms.base[place])}"
        )
    else:
        what = f"slower: {metric} {change(symptoms.base[place], symptoms.now[place])}"
    noun = "failures" if symptoms.kind is Kind.ERRORS else "extra seconds"
    if place == reference:
        return f"{what}, and its callees do not explain {part:.0%} of it"
    return f"{what}; about {part:.0%} of the {noun} of {whose} are its own"


def change(before: float, now: float) -> str:
    """
    >>> change(0.02, 0.5), change(0.0, 3.0), change(2.0, 1.0)
    ('0.5 instead of 0.02 (25 times)', '3 instead of 0', '1 instead of 2 (50 % less)')
    """
    words = f"{now:.3g} instead of {before:.3g}"
    if before <= 0 or now < 0 or not math.isfinite(now / before):
        return words
    ratio = now / before
    if ratio >= 2:
        return f"{words} ({ratio:.3g} times)"
    return f"{words} ({abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'})".replace("%", " %")


def of_clue(metric: str, kind: Kind, before: float, now: float, load: float) -> str:
    asked = (
        f", {math.expm1(load):+.0%} requests taken into account"
        if abs(load) > 0.1 and kind is not Kind.REQUESTS
        else ""
    )
    return f"its own {kind.value if kind is not Kind.OTHER else 'state'}: {metric} {change(before, now)}{asked}"


def of_way(call: str, before: float, now: float, way_share: float) -> str:
    return (
        f"calls {call} take {change(before, now)} for the caller, {way_share:.0%} of it outside the callee: the network"
    )


def of_wait(caller: str, metric: str, before: float, now: float) -> str:
    return (
        f"{caller} waits longer for calls ({metric} {change(before, now)}), "
        "its callees answer as fast as before, and the share of slow calls fits"
    )


def _share(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio > 1 else f"{ratio:.2%}"
