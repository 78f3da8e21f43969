"""Standing limits from history: what each client needed without trouble, proposed as the limiter's map."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from math import ceil

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.standing import NEW, OTHERS, in_words, span_in_words, write_limits
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import Event, event_of
from quell.prevention.history import mask_periods
from quell.prevention.refusal_words import count_in_words
from quell.prevention.refusals import Refusals, extend_shadow
from quell.prevention.standing_limit import Learned, StandingPolicy, StandingProposal, propose_standing
from tasks.history import fetch_history, past_troubles
from tasks.lease import hold
from tasks.limiter import SUBJECT
from tasks.maintenance import planned_periods
from tasks.record import QUELL
from tasks.refusals import policy_of
from tasks.resources import Resources, resources
from tasks.runs import log
from tasks.standing_watch import measured_signal
from tasks.study_report import WAITING

SMALLEST_CHANGE = 0.2  # of a client's limit; less is no reason to ask anybody
_MOST_ROWS = 45_000
_TOLD = 12  # clients in the evidence; the map has all


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStudy:
    """What history gives, and what these limits would have refused in it (outside of incidents and maintenance)."""

    policy: StandingPolicy
    found: StandingProposal
    refused: Refusals
    old: ThresholdVersion | None


def study_standing(res: Resources) -> StandingStudy:
    """Learn from the history of the signal that measures traffic by client."""
    policy, now = policy_of(res), res.clock()
    signal = measured_signal(res, policy)
    history = _peaks(res, signal, now)
    spans = [trouble.period for trouble in past_troubles(res, signal, now)]
    masked = mask_periods(history, [*spans, *planned_periods(res, signal, history.labels, now)])
    found = propose_standing(masked, policy)
    began = datetime.fromtimestamp(float(history.timestamps[0]), UTC) - signal.step if len(history.timestamps) else now
    refused = Refusals(since=began, until=began)
    if found.limits:
        refused = extend_shadow(refused, masked, found.limits, window=policy.window, unnamed=policy.unnamed)
    with res.store.reading() as tx:
        old = next(iter(tx.thresholds.find({"signal": SUBJECT, "state": ThresholdState.ACTIVE})), None)
    return StandingStudy(policy=policy, found=found, refused=refused, old=old)


def _peaks(res: Resources, signal: Signal, now: datetime) -> SeriesMatrix:
    """The signal; of a history too long to be read at its own step, the highest value of each longer step."""
    step = timedelta(seconds=ceil(signal.history.total_seconds() / _MOST_ROWS))
    if step <= signal.step:
        return fetch_history(res, signal, now)
    inner, outer = signal.step.total_seconds(), step.total_seconds()
    query = f"max_over_time(({signal.query})[{outer:.0f}s:{inner:.0f}s])"
    return fetch_history(res, replace(signal, query=query, step=step), now)


def propose_of(res: Resources, study: StandingStudy, incident: str | None = None) -> str | None:
    """A proposal where the limits differ from those in force; a newer one takes the place of one that still waits."""
    limits = study.found.limits
    if not limits or (study.old is not None and not _differs(study.old.clients or {}, limits)):
        return None
    with hold(res, f"threshold {SUBJECT}"), res.store.writing() as tx:
        now = res.clock()
        waiting = tx.thresholds.find({"signal": SUBJECT, "state": WAITING})
        if any(not _differs(version.clients or {}, limits) for version in waiting):
            return None
        version = _version(study, f"THR-{tx.next_number('THR')}", incident, now)
        tx.thresholds.add(version)
        for older in waiting:
            why = f"{version.id} is a newer proposal for {SUBJECT}"
            moved, step = move_threshold(older, ThresholdState.REVERTED, now=now, by=QUELL, why=why)
            tx.thresholds.put(moved)
            tx.timeline.append(event_of(step))
        tx.timeline.append(
            Event(
                incident=incident,
                at=now,
                kind="threshold proposed",
                by=QUELL,
                text=f"standing limits for {len(limits) - 2} clients; {version.evidence['backtest']}",
                subject=version.id,
                evidence=version.evidence,
            )
        )
        return version.id


def _differs(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    if old.keys() != new.keys():
        return True
    return any(abs(limit - old[name]) > SMALLEST_CHANGE * old[name] for name, limit in new.items())


def _version(study: StandingStudy, id: str, incident: str | None, now: datetime) -> ThresholdVersion:
    limits, window = study.found.limits, study.policy.window
    text = write_limits(limits, version=id, window=window)
    return ThresholdVersion(
        id=id,
        signal=SUBJECT,
        state=ThresholdState.PROPOSED,
        upper=None,
        lower=None,
        clients=limits,
        window=window,
        created_at=now,
        updated_at=now,
        incident=incident,
        replaces=study.old.id if study.old else None,
        evidence=evidence_of(study, text),
        rule=text,
        predicted={"offered": study.refused.offered, "refused": study.refused.refused},
    )


def evidence_of(study: StandingStudy, text: str) -> dict[str, str]:
    """What the version and its page say for it."""
    policy, found = study.policy, study.found
    by_name = {one.name: one for one in found.learned}
    own = sorted((one for one in found.learned if one.name not in (NEW, OTHERS)), key=lambda one: -one.limit)
    more = f"; and {len(own) - _TOLD} more in the map" if len(own) > _TOLD else ""
    return {
        "history": f"{found.blocks} blocks of {span_in_words(policy.block)} of {policy.signal}, without incidents "
        "and maintenance",
        "rule": f"{policy.headroom:g} times the highest use in {span_in_words(policy.window)} that came back in a "
        "second block, its count at the upper 95 % Poisson bound",
        "clients": "; ".join(learned_in_words(one, policy) for one in own[:_TOLD]) + more
        or "none is known long enough",
        "new clients": learned_in_words(by_name[NEW], policy),
        "others together": learned_in_words(by_name[OTHERS], policy),
        "without a limit of their own": "; ".join(
            f"{name}: {why}" for name, why in list(found.left_out.items())[:_TOLD]
        )
        or "nobody",
        "backtest": backtest_in_words(study.refused),
        "change": _change(study.old, text),
    }


def learned_in_words(one: Learned, policy: StandingPolicy) -> str:
    """The limit, what it rests on, and how far the history can vouch for it."""
    seen = f"{one.name} {in_words(one.limit, policy.window)} (peak {one.usual:.3g} a second, {one.basis}"
    noun = "clients" if one.name == NEW else "blocks"
    if one.above:
        seen += f"; {one.above} of {one.blocks} {noun} went above, {one.highest:.3g} a second at most"
    return f"{seen}; 95 %: at most {one.most_above:.0%} of {noun} go above)"


def backtest_in_words(refused: Refusals) -> str:
    """Who would have been refused in the history, at most."""
    said = count_in_words(refused.refused, refused.offered, "requests ")
    worst = [
        f"{name} {one.refused:,.0f}, {one.worst:,.0f} of them in the minute {one.worst_at:%Y-%m-%d %H:%M}"
        for name, one in refused.worst_first()[:5]
        if one.worst_at
    ]
    return f"{said}: {'; '.join(worst)}" if worst else said


def _change(old: ThresholdVersion | None, text: str) -> str:
    before, after = ([line for line in one.splitlines() if line[:1] != "#"] for one in (old.rule if old else "", text))
    lines = list(unified_diff(before, after, lineterm="", n=0))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@")) or "none"


@task(name="propose-standing-limits", cache_policy=NO_CACHE)
def propose_standing_limits(incident: str | None = None) -> str | None:
    """Learns standing limits of clients from measured traffic, where quell.toml asks for them. The proposal's id."""
    res = resources()
    if res.config.standing is None:
        return None
    study = study_standing(res)
    if study.found.reason:
        log().info("no standing limits are proposed: %s", study.found.reason)
    return propose_of(res, study, incident)
