"""What a limit changes outside, by its kind: a rule file at Prometheus, the limiter's map, or nothing.

A limit on the detector's score is used by the next fit, without any file.
"""

from datetime import datetime

from quell.adapters.git import GitRepository
from quell.adapters.rule_repository import RuleRepository
from quell.adapters.rules import RuleFolder
from quell.incidents.errors import NotFound
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.timeline import Event
from quell.ports import Document, Transaction
from quell.prevention.rule_file import rule_file
from tasks.limiter import check_ours, fulfil, intend, intended, limiter_of, put_standing
from tasks.record import QUELL
from tasks.refusals import check_shadowed
from tasks.resources import Resources

_WAITING = "standing-waits"  # the kind of the document


def rule_folder(res: Resources) -> RuleFolder:
    """Raises NotFound where the configuration names no folder of rules."""
    connections = res.config.connections
    if connections.prometheus_rules is None:
        raise NotFound("connections.prometheus_rules is not set in quell.toml: rule files have nowhere to go")
    folder, branch = connections.prometheus_rules, connections.prometheus_rules_branch
    git = GitRepository(folder, remote=connections.prometheus_rules_remote)
    return RuleFolder(
        folder=folder,
        prometheus=connections.prometheus,
        timeout=connections.timeout,
        repository=RuleRepository(git=git, branch=branch) if branch else None,
    )


def check_effect(res: Resources, version: ThresholdVersion, before: ThresholdVersion | None) -> None:
    """Raises Refused where what is outside does not allow it now; nothing has been touched then."""
    if version.clients is None:
        return
    check_shadowed(res, version)
    if version.window is not None:
        limiter_of(res).check_window(version.window)
    with res.store.reading() as tx:
        is_resumed = intended(tx) is not None
    if not is_resumed:
        check_ours(res, before.rule if before else None)


def begin_effect(
    tx: Transaction, version: ThresholdVersion, now: datetime, by: str, why: str, *, is_revert: bool
) -> None:
    """The intent, in the transaction that announces it."""
    if version.clients is not None:
        intend(tx, version, now, by, why, is_revert=is_revert)


def put_effect(
    res: Resources, version: ThresholdVersion, new: ThresholdVersion | None, before: ThresholdVersion | None
) -> None:
    """Put `new` (None: no limit) in the place of `before`; `version` says of what kind they are."""
    if version.clients is not None:
        put_standing(res, new.rule if new else None, before.rule if before else None)
    elif version.score is None:
        rule_folder(res).put(rule_file(version), new.rule if new else None, _message(version, new))


def _message(version: ThresholdVersion, new: ThresholdVersion | None) -> str:
    """Of the commit, where rules are kept in git."""
    if new is None:
        return f"{version.signal}: no limit any more\n\nReverts: {version.id}\n"
    evidence = "".join(f"{name}: {text}\n" for name, text in new.evidence.items())
    last = f"Threshold: {new.id}" if new.id == version.id else f"Threshold: {new.id}\nReverts: {version.id}"
    return f"{version.signal}: the limit of {new.id}\n\n{evidence}\n{last}\n"


def end_effect(tx: Transaction, version: ThresholdVersion) -> None:
    """In the transaction that moves the version."""
    if version.clients is not None:
        fulfil(tx)


def forget_proposal(res: Resources, version: ThresholdVersion) -> None:
    if version.score is None and version.clients is None:
        rule_folder(res).forget(proposed_file(version))


def proposed_file(version: ThresholdVersion) -> str:
    return f"{version.id}-{version.signal.replace(':', '.')}.yml"


def done_in_words(version: ThresholdVersion) -> str:
    if version.clients is not None:
        return "read back from the limiter and its file"
    return "the next fit uses it" if version.score is not None else "loaded by Prometheus and confirmed"


def tell_waiting(res: Resources, version: ThresholdVersion, why: str) -> None:
    """Say once for each reason why an approved version is not put in force, however often it is tried."""
    id = f"{_WAITING}:{version.id}"
    with res.store.writing() as tx:
        known, now = tx.documents.get(id), res.clock()
        if known is not None and known.body["why"] == why:
            return
        tx.documents.put(Document(id=id, kind=_WAITING, updated_at=now, body={"why": why}))
        event = Event(incident=version.incident, at=now, kind="threshold waits", by=QUELL, text=why, subject=version.id)
        tx.timeline.append(event)
