"""Thresholds: recompute limits from history, prove them, propose rule files; promote and revert after approval."""

from dataclasses import replace
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.rules import RuleFolder, place_file, write_rules
from quell.incidents.decision import Answer
from quell.incidents.errors import InvalidInput, NotFound, Refused
from quell.incidents.threshold import ThresholdState, ThresholdVersion, move_threshold
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.prevention.rule import rule_group
from tasks.artifacts import publish
from tasks.automation import automation_enabled
from tasks.lease import hold
from tasks.question import text_hash
from tasks.resources import Resources, resources
from tasks.study import WAITING, Study, evidence_of, hold_of, limits_in_words, report_of, study_of

BY = "quell"


def recompute_of(res: Resources, incident: str | None = None) -> list[Study]:
    """Propose a limit for every signal whose history allows one; returns what was found, proposals or not.

    Proposed twice for the same incident is proposed once. A newer proposal takes the place of one that still waits.
    """
    with hold(res, "thresholds"):
        studies = [study_of(res, signal) for signal in res.config.signals.values()]
        for study in studies:
            if study.proposal.upper or study.proposal.lower:
                _propose(res, study, incident)
    return studies


def rule_folder(res: Resources) -> RuleFolder:
    """Raises NotFound where the configuration names no folder of rules."""
    connections = res.config.connections
    if connections.prometheus_rules is None:
        raise NotFound("connections.prometheus_rules is not set in quell.toml: rule files have nowhere to go")
    return RuleFolder(
        folder=connections.prometheus_rules, prometheus=connections.prometheus, timeout=connections.timeout
    )


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
        _note(res, version, "threshold promoting", by, f"put {_file(version)} in force; undo: the rule before it")
        rule_folder(res).put(_file(version), version.rule)
        with res.store.writing() as tx:
            now = res.clock()
            for old in tx.thresholds.find({"signal": version.signal, "state": ThresholdState.ACTIVE}):
                _move(tx, old, ThresholdState.SUPERSEDED, now, by, f"{version.id} takes its place")
                version = replace(version, replaces=old.id)
            version = _move(tx, version, ThresholdState.ACTIVE, now, by, "approved, loaded by Prometheus and confirmed")
        place_file(rule_folder(res).proposed / _proposed_file(version), None)
        return version


def revert_threshold(res: Resources, threshold_id: str, by: str, why: str) -> ThresholdVersion:
    """Take a limit out of force and put the one before it back; one that was only proposed is declined."""
    version = _get(res, threshold_id)
    with hold(res, f"threshold {version.signal}"):
        version = _get(res, threshold_id)
        if version.state is ThresholdState.REVERTED:
            return version
        if version.state in WAITING:
            place_file(rule_folder(res).proposed / _proposed_file(version), None)
            with res.store.writing() as tx:
                return _move(tx, version, ThresholdState.REVERTED, res.clock(), by, why)
        with res.store.reading() as tx:
            before = tx.thresholds.get(version.replaces) if version.replaces else None
        back = before if before and before.state is ThresholdState.SUPERSEDED else None
        _note(res, version, "threshold reverting", by, f"{back.id if back else 'no limit'} comes back: {why}")
        rule_folder(res).put(_file(version), back.rule if back else None)
        with res.store.writing() as tx:
            now = res.clock()
            reverted = _move(tx, version, ThresholdState.REVERTED, now, by, why)
            if back is not None:
                _move(tx, back, ThresholdState.ACTIVE, now, by, f"{version.id} was reverted: {why}")
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
    for version, decision in answered:
        if decision.answer is Answer.APPROVE:
            promote_threshold(res, version.id, decision.person)
        else:
            revert_threshold(res, version.id, decision.person, decision.comment or "declined")
    return [version.id for version, _ in answered]


def _propose(res: Resources, study: Study, incident: str | None) -> None:
    signal, upper, lower = study.signal, study.upper, study.lower
    if study.old is not None and (study.old.upper, study.old.lower) == (upper, lower):
        return
    evidence = evidence_of(res, study)
    with res.store.writing() as tx:
        now = res.clock()
        waiting = tx.thresholds.find({"signal": signal.name, "state": WAITING})
        if any(v.incident == incident and (v.upper, v.lower) == (upper, lower) for v in waiting):
            return
        id = f"THR-{tx.next_number('THR')}"
        group = rule_group(signal, threshold=id, upper=upper, lower=lower, hold=hold_of(signal), evidence=evidence)
        version = ThresholdVersion(
            id=id,
            signal=signal.name,
            state=ThresholdState.PROPOSED,
            upper=upper,
            lower=lower,
            created_at=now,
            updated_at=now,
            incident=incident,
            replaces=study.old.id if study.old else None,
            evidence=evidence,
            rule=write_rules(group),
        )
        tx.thresholds.add(version)
        for older in waiting:
            _move(tx, older, ThresholdState.REVERTED, now, BY, f"{id} is a newer proposal for {signal.name}")
        text = f"{signal.name}: {limits_in_words(signal, upper, lower)}; {evidence['new limit']}"
        tx.timeline.append(
            Event(incident=incident, at=now, kind="threshold proposed", by=BY, text=text, subject=id, evidence=evidence)
        )
    for older in waiting:
        place_file(rule_folder(res).proposed / _proposed_file(older), None)
    try:
        rule_folder(res).propose(_proposed_file(version), version.rule)
    except InvalidInput as error:
        with res.store.writing() as tx:
            _move(tx, version, ThresholdState.REVERTED, res.clock(), BY, str(error))


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


def _note(res: Resources, version: ThresholdVersion, kind: str, by: str, text: str) -> None:
    with res.store.writing() as tx:
        tx.timeline.append(
            Event(incident=version.incident, at=res.clock(), kind=kind, by=by, text=text, subject=version.id)
        )


def _file(version: ThresholdVersion) -> str:
    return f"quell-{version.signal}.yml"  # one per signal: the newer one takes the older one's place


def _proposed_file(version: ThresholdVersion) -> str:
    return f"{version.id}-{version.signal}.yml"


@task(name="recompute limits", task_run_name="recompute limits", cache_policy=NO_CACHE)
def recompute(incident: str | None = None) -> list[str]:
    """Recompute every limit, propose what differs. The ids of the proposals that wait for a person."""
    res = resources()
    studies = recompute_of(res, incident)
    publish("thresholds", report_of(res, studies, incident), "Old and new limits with their backtests")
    with res.store.reading() as tx:
        return [version.id for version in tx.thresholds.find({"state": WAITING})]
