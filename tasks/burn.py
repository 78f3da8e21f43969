"""Burn-rate alerts recomputed: windows and factors from the history of a signal's error budget, proposed like limits.

A version for the signal `shop-errors` has the signal `shop-errors:burn`. In force, the sweep judges the error budget by
it, and Prometheus has it as a rule file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.rules import write_rules
from quell.config.burn_windows import burn_windows
from quell.detection.burn_rate import reachable
from quell.detection.burn_rules import slo_rules
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnWindow, Slo, windows_in_words
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.prevention.burn_history import BurnHistory
from quell.prevention.burn_search import BurnSearch, scaled, search_burns
from quell.prevention.catches import catches_in_words
from quell.prevention.limits import budget_in_words
from quell.prevention.rule import THRESHOLD_LABEL
from tasks.burn_fetch import fetch_burns
from tasks.burn_proof import prove_burn
from tasks.history import past_troubles
from tasks.lease import hold
from tasks.limit_effect import proposed_file, rule_folder
from tasks.resources import Resources, resources
from tasks.runs import log
from tasks.slo import burn_subject, windows_in_force
from tasks.study_report import WAITING
from tasks.thresholds import keep_proof

BY = "quell"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnStudy:
    """One signal's history of its error budget, and what was found in it."""

    signal: Signal
    slo: Slo
    old: tuple[BurnWindow, ...]
    history: BurnHistory
    found: BurnSearch


def recompute_burns(res: Resources, incident: str | None = None, signals: Iterable[str] = ()) -> list[str]:
    """Propose other windows or factors for each signal with an slo, where they serve better; the ids.

    A signal whose history cannot be had is left, and said so in the log.
    """
    chosen = [res.config.signals[name] for name in signals] or list(res.config.signals.values())
    proposed: list[str] = []
    for signal in chosen:
        try:
            study = study_burns(res, signal)
            id = propose_burns(res, study, incident) if study is not None else None
        except QuellError as error:
            log().warning("burn rates of %s could not be recomputed: %s", signal.name, error)
            continue
        proposed += [id] if id is not None else []
    return proposed


def study_burns(res: Resources, signal: Signal) -> BurnStudy | None:
    """What windows and factors the signal's history gives; None without an slo, or without history."""
    if signal.slo is None or not reachable(signal.slo, burn_windows()):
        return None
    now, slo = res.clock(), signal.slo
    standard, old = reachable(slo, burn_windows()), reachable(slo, windows_in_force(res, signal))
    history = fetch_burns(res, signal, slo, (*scaled(standard, signal.step, slo.period), *old), now)
    if history is None:
        return None
    budget, troubles = res.config.detection.false_alarms_per_week, past_troubles(res, signal, now)
    found = search_burns(history, standard, old, budget=budget, troubles=troubles)
    return BurnStudy(signal=signal, slo=slo, old=old, history=history, found=found)


def propose_burns(res: Resources, study: BurnStudy, incident: str | None) -> str | None:
    """A version with its evidence, rule and proof, where windows or factors differ from those in force."""
    subject = burn_subject(study.signal.name)
    with hold(res, f"threshold {subject}"):
        with res.store.writing() as tx:
            now = res.clock()
            waiting = tx.thresholds.find({"signal": subject, "state": WAITING})
            if study.found.windows == study.old or any(v.burn == study.found.windows for v in waiting):
                return None
            version = _version(res, tx, study, incident, now)
            tx.thresholds.add(version)
            for older in waiting:
                _revert(tx, older, now, f"{version.id} is a newer proposal for {subject}")
            tx.timeline.append(_proposed(version, study, now))
        folder = rule_folder(res)
        for older in waiting:
            folder.forget(proposed_file(older))
        try:
            folder.propose(proposed_file(version), version.rule)
            proof = prove_burn(folder, proposed_file(version), study.signal, study.found.windows, study.old)
            keep_proof(res, version, proof)
        except InvalidInput as error:
            folder.forget(proposed_file(version))
            with res.store.writing() as tx:
                _revert(tx, version, res.clock(), str(error))
            return None
        return version.id


def _version(
    res: Resources, tx: Transaction, study: BurnStudy, incident: str | None, now: datetime
) -> ThresholdVersion:
    subject, found = burn_subject(study.signal.name), study.found
    active = next(iter(tx.thresholds.find({"signal": subject, "state": ThresholdState.ACTIVE})), None)
    id = f"THR-{tx.next_number('THR')}"
    known = {"per_week": found.prediction.per_week, "low": found.prediction.low, "high": found.prediction.high}
    return ThresholdVersion(
        id=id,
        signal=subject,
        state=ThresholdState.PROPOSED,
        upper=None,
        lower=None,
        burn=found.windows,
        created_at=now,
        updated_at=now,
        incident=incident,
        replaces=active.id if active else None,
        evidence={
            "budget": budget_in_words(res.config.detection.false_alarms_per_week),
            "basis": "; ".join(found.reasons),
            "old limit": f"{windows_in_words(study.old, study.slo)}: {found.old}",
            "new limit": f"{windows_in_words(found.windows, study.slo)}: {found.new}",
            "prediction": str(found.prediction),
            "catches": catches_in_words(found.new, found.old),
        },
        rule=write_rules(slo_rules(study.signal, found.windows, {THRESHOLD_LABEL: id})),
        predicted={name: value for name, value in known.items() if isfinite(value)}
        | {"is_told": float(found.prediction.is_told)},
    )


def _proposed(version: ThresholdVersion, study: BurnStudy, now: datetime) -> Event:
    return Event(
        incident=version.incident,
        at=now,
        kind="threshold proposed",
        by=BY,
        text=f"{version.signal}: {windows_in_words(study.found.windows, study.slo)}",
        subject=version.id,
        evidence=version.evidence,
    )


def _revert(tx: Transaction, version: ThresholdVersion, now: datetime, why: str) -> None:
    moved, step = move_threshold(version, ThresholdState.REVERTED, now=now, by=BY, why=why)
    tx.thresholds.put(moved)
    tx.timeline.append(event_of(step))


@task(name="recompute-burn-rates", cache_policy=NO_CACHE)
def recompute_burn_rates(incident: str | None = None) -> list[str]:
    """Recomputes windows and factors of burn-rate alerts from the history of error budgets. The proposals' ids."""
    return recompute_burns(resources(), incident)
