"""Thresholds: recompute limits from history, prove them, propose rule files; promote and revert after approval."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from math import isfinite

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.rules import write_rules
from quell.incidents.decision import Answer, Decision
from quell.incidents.errors import InvalidInput, NotFound, QuellError, Refused
from quell.incidents.threshold import ThresholdState, ThresholdVersion, chart_id, move_threshold
from quell.incidents.timeline import Event, event_of
from quell.ports import Document, Transaction
from quell.prevention.limits import limits_in_words, limits_of
from quell.prevention.rule import rule_group
from quell.prevention.rule_file import rule_file
from quell.response.fix_approval import text_hash
from tasks.artifacts import publish
from tasks.automation import automation_enabled
from tasks.lease import hold
from tasks.limit_effect import (
    begin_effect,
    check_effect,
    done_in_words,
    end_effect,
    forget_proposal,
    proposed_file,
    put_effect,
    rule_folder,
    tell_waiting,
)
from tasks.resources import Resources, resources
from tasks.rule_proof import Proof, prove_rule
from tasks.shadow import seen_in_words
from tasks.study import Study, hold_of, study_of
from tasks.study_report import WAITING, draw_study, evidence_of, report_of

BY = "quell"
SHARD = 25  # signals that one task studies


def recompute_of(res: Resources, incident: str | None = None) -> list[Study]:
    """Propose a limit for every signal whose history allows one; returns what was found, proposals or not.

    Proposed twice for the same incident is proposed once. A newer proposal takes the place of one that still waits.
    """
    studies = [study_of(res, signal) for signal in res.config.signals.values()]
    propose_studied(res, studies, incident)
    return studies


def propose_studied(res: Resources, studies: Iterable[Study], incident: str | None) -> None:
    """A proposal for each study that found limits other than those in force."""
    for study in studies:
        if study.proposal.upper or study.proposal.lower:
            with hold(res, f"threshold {study.signal.name}"):  # one at a time: promtool takes its time
                _propose(res, study, incident)


def promote_threshold(res: Resources, threshold_id: str, by: str) -> ThresholdVersion:
    """Put an approved proposal in force, and supersede the one before it; Prometheus confirms that it loaded it.

    Raises Refused without a matching approval or with automation off, Unavailable when Prometheus does not load it
    (the rules before are in force then).
    """
    version = _get(res, threshold_id)
    with hold(res, f"threshold {version.signal}"):
        version = _get(res, threshold_id)
        if version.state is ThresholdState.ACTIVE:
            return version
        _check_approved(res, version)
        old = _in_force(res, version.signal)
        check_effect(res, version, old)
        text = f"put {rule_file(version)} in force; undo: the one before it"
        _announce(res, version, by, text, "approved", is_revert=False)
        put_effect(res, version, version, old)
        with res.store.writing() as tx:
            now = res.clock()
            if old is not None:
                _move(tx, old, ThresholdState.SUPERSEDED, now, by, f"{version.id} takes its place")
                version = replace(version, replaces=old.id)
            why = f"approved, {done_in_words(version)}; {seen_in_words(tx, version)}"
            version = _move(tx, version, ThresholdState.ACTIVE, now, by, why)
            end_effect(tx, version)
        forget_proposal(res, version)
        return version


def revert_threshold(res: Resources, threshold_id: str, by: str, why: str) -> ThresholdVersion:
    """Take a limit out of force and put the one before it back; one that was only proposed is declined."""
    version = _get(res, threshold_id)
    with hold(res, f"threshold {version.signal}"):
        version = _get(res, threshold_id)
        if version.state is ThresholdState.REVERTED:
            return version
        if version.state in WAITING:
            forget_proposal(res, version)
            with res.store.writing() as tx:
                return _move(tx, version, ThresholdState.REVERTED, res.clock(), by, why)
        with res.store.reading() as tx:
            before = tx.thresholds.get(version.replaces) if version.replaces else None
        back = before if before and before.state is ThresholdState.SUPERSEDED else None
        text = f"{back.id if back else 'no limit'} comes back: {why}"
        _announce(res, version, by, text, why, is_revert=True)
        put_effect(res, version, back, version)
        with res.store.writing() as tx:
            now = res.clock()
            reverted = _move(tx, version, ThresholdState.REVERTED, now, by, why)
            if back is not None:
                _move(tx, back, ThresholdState.ACTIVE, now, by, f"{version.id} was reverted: {why}")
            end_effect(tx, version)
            return reverted


def promote_decided(res: Resources) -> list[str]:
    """Promote every waiting proposal that a person has approved, and decline every refused one."""
    with res.store.reading() as tx:
        answered = [
            (version, decision)
            for version in tx.thresholds.find({"state": WAITING})
            for decision in tx.decisions.find({"subject": version.id})
            if decision.plan_hash == text_hash(version.rule)
        ]
    return [version.id for version, decision in answered if _carry_out(res, version, decision)]


def _carry_out(res: Resources, version: ThresholdVersion, decision: Decision) -> bool:
    """Whether it is done. Standing limits that cannot be put in force now wait, and the timeline says once for what."""
    if decision.answer is not Answer.APPROVE:
        revert_threshold(res, version.id, decision.person, decision.comment or "declined")
        return True
    try:
        promote_threshold(res, version.id, decision.person)
    except QuellError as error:
        if version.clients is None:
            raise
        tell_waiting(res, version, str(error))
        return False
    return True


def _propose(res: Resources, study: Study, incident: str | None) -> None:
    signal, limits = study.signal, study.found.limits
    if study.old is not None and limits_of(study.old) == limits:
        return
    with res.store.writing() as tx:
        now = res.clock()
        waiting = tx.thresholds.find({"signal": signal.name, "state": WAITING})
        if any(v.incident == incident and limits_of(v) == limits for v in waiting):
            return
        version = _version(study, f"THR-{tx.next_number('THR')}", evidence_of(res, study), incident, now)
        tx.thresholds.add(version)
        picture = draw_study(study).encode()
        tx.documents.put(
            Document(id=chart_id(version.id), kind="threshold-chart", updated_at=now, body={}, blob=picture)
        )
        for older in waiting:
            _move(tx, older, ThresholdState.REVERTED, now, BY, f"{version.id} is a newer proposal for {signal.name}")
        text = f"{signal.name}: {limits_in_words(signal.unit, limits)}; {version.evidence['new limit']}"
        tx.timeline.append(
            Event(
                incident=incident,
                at=now,
                kind="threshold proposed",
                by=BY,
                text=text,
                subject=version.id,
                evidence=version.evidence,
            )
        )
    for older in waiting:
        rule_folder(res).forget(proposed_file(older))
    try:
        rule_folder(res).propose(proposed_file(version), version.rule)
        keep_proof(res, version, prove_rule(rule_folder(res), proposed_file(version), study))
    except InvalidInput as error:
        rule_folder(res).forget(proposed_file(version))
        with res.store.writing() as tx:
            _move(tx, version, ThresholdState.REVERTED, res.clock(), BY, str(error))


def _version(study: Study, id: str, evidence: dict[str, str], incident: str | None, now: datetime) -> ThresholdVersion:
    signal, prediction = study.signal, study.found.prediction
    group = rule_group(signal, threshold=id, limits=study.found.limits, hold=hold_of(signal), evidence=evidence)
    known = {"per_week": prediction.per_week, "low": prediction.low, "high": prediction.high}
    known["is_told"] = float(prediction.is_told)
    return ThresholdVersion(
        id=id,
        signal=signal.name,
        state=ThresholdState.PROPOSED,
        upper=study.upper,
        lower=study.lower,
        created_at=now,
        updated_at=now,
        incident=incident,
        replaces=study.old.id if study.old else None,
        evidence=evidence,
        rule=write_rules(group),
        predicted={name: value for name, value in known.items() if isfinite(value)},
        upper_by_hour=study.found.limits.upper_by_hour,
        lower_by_hour=study.found.limits.lower_by_hour,
    )


def keep_proof(res: Resources, version: ThresholdVersion, proof: Proof) -> None:
    with res.store.writing() as tx:
        evidence = {**version.evidence, "rule tests": proof.said}
        tx.thresholds.put(replace(version, evidence=evidence, rule_tests=proof.tests))


def _check_approved(res: Resources, version: ThresholdVersion) -> None:
    with res.store.reading() as tx:
        decisions = tx.decisions.find({"subject": version.id})
        is_on = automation_enabled(tx)
    if not is_on:
        raise Refused("automation is switched off; `quell automation on` lets limits change")
    wanted = text_hash(version.rule)
    if not any(d.plan_hash == wanted and d.answer is Answer.APPROVE for d in decisions):
        raise Refused(
            f"threshold {version.id} is not approved: a decision on rule {wanted[:12]} is needed, there is none"
        )


def _get(res: Resources, id: str) -> ThresholdVersion:
    with res.store.reading() as tx:
        version = tx.thresholds.get(id)
    if version is None:
        raise NotFound(f"threshold {id} is not in the store")
    return version


def _move(
    tx: Transaction, version: ThresholdVersion, to: ThresholdState, now: datetime, by: str, why: str
) -> ThresholdVersion:
    moved, step = move_threshold(version, to, now=now, by=by, why=why)
    tx.thresholds.put(moved)
    tx.timeline.append(event_of(step))
    return moved


def _in_force(res: Resources, signal: str) -> ThresholdVersion | None:
    with res.store.reading() as tx:
        return next(iter(tx.thresholds.find({"signal": signal, "state": ThresholdState.ACTIVE})), None)


def _announce(res: Resources, version: ThresholdVersion, by: str, text: str, why: str, *, is_revert: bool) -> None:
    """What is about to happen outside, with the intent, before it does."""
    kind = "threshold reverting" if is_revert else "threshold promoting"
    with res.store.writing() as tx:
        now = res.clock()
        begin_effect(tx, version, now, by, why, is_revert=is_revert)
        tx.timeline.append(Event(incident=version.incident, at=now, kind=kind, by=by, text=text, subject=version.id))


@task(name="plan-studies")
def plan_studies() -> list[list[str]]:
    """The signals in shards: one task each, on whichever worker is free."""
    names = list(resources().config.signals)
    return [names[at : at + SHARD] for at in range(0, len(names), SHARD)]


@task(name="propose-limits", persist_result=False, cache_policy=NO_CACHE)
def propose_limits(studies: list[Study], incident: str | None = None, note: str = "") -> list[str]:
    """Propose what differs from what is in force. The ids of the proposals that wait for a person."""
    res = resources()
    propose_studied(res, studies, incident)
    publish("thresholds", report_of(res, studies, incident, note), "Old and new limits with their backtests")
    with res.store.reading() as tx:
        return [version.id for version in tx.thresholds.find({"state": WAITING})]
