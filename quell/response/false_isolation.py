"""False isolation: a server that was taken out although nothing was wrong with it, recognised and given back.

Two things must come together: users are no better off without it, and it is well when it is asked directly. One alone
proves nothing: users may need longer to recover, and a bad server may answer its health check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quell.incidents.mitigation import BlastRadius
from quell.incidents.series import FloatArray

NAME = "false isolation"
FEWEST_PROBES = 3
_NO_BETTER = 0.8  # of what it was before the effect: less improvement than a fifth is none
_SLOWER = 5.0  # times its siblings
_SLOWER_SECONDS = 0.25  # and by at least so much


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One direct request: how long it took, and what was wrong; empty when nothing was."""

    seconds: float
    trouble: str = ""


def users_gained_nothing(
    times: FloatArray, worst: FloatArray, *, applied_at: float, limit: float, may_still_improve: bool
) -> str:
    """Why the effect did not help users, in words; empty when it did, or when too little is seen to tell.

    `worst` is the users' signal, shape (T,), from before the effect until now; NaN where there is no sample. While it
    may still improve (rates look back over a window) only users who never suffered speak against the effect.
    """
    known = np.isfinite(worst)
    before, after = worst[known & (times <= applied_at)], worst[known & (times > applied_at)]
    if not len(before) or not len(after):
        return ""
    if float(np.max(worst[known])) <= limit:
        return f"users were never outside the limit (at worst {np.max(worst[known]):.4g}, limit {limit:.4g})"
    was, now = float(np.max(before)), float(after[-1])
    if not may_still_improve and was > limit and now > limit and now >= _NO_BETTER * was:
        return f"users are no better off: {was:.4g} before, {now:.4g} now, limit {limit:.4g}"
    return ""


def trouble_of_probes(own: Mapping[str, Sequence[Probe]], siblings: Sequence[Probe]) -> str:
    """What is wrong with the instances that were taken out, asked directly; empty when all of them are well."""
    usual = float(np.median([p.seconds for p in siblings if not p.trouble])) if _any_well(siblings) else None
    for name, probes in own.items():
        if len(probes) < FEWEST_PROBES:
            return f"{name} was asked {len(probes)} times, {FEWEST_PROBES} are needed"
        bad = [probe.trouble for probe in probes if probe.trouble]
        if bad:
            return f"{name} fails {len(bad)} of {len(probes)} direct requests: {bad[-1]}"
        took = float(np.median([probe.seconds for probe in probes]))
        if usual is not None and took > _SLOWER * usual and took > usual + _SLOWER_SECONDS:
            return f"{name} takes {took:.2f} s, its siblings {usual:.2f} s"
    return "" if own else "no instance can be asked directly"


def accusation(names: Sequence[str], why: str, radius: BlastRadius, seconds: float) -> str:
    """The sentence of the judgement, with what it cost."""
    cost = f"it cost {radius.capacity_share:.0%} of {radius.service}'s capacity for {seconds:.0f} s"
    return f"{NAME}: {', '.join(names)} is well when asked directly and for its load balancer, and {why}; {cost}"


def _any_well(probes: Sequence[Probe]) -> bool:
    return any(not probe.trouble for probe in probes)
