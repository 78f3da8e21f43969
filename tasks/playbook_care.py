"""Care for playbooks at work: their files, their record, and whether what they name still exists outside."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from quell.config.load import read_playbooks
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.labels import SERVICE
from quell.incidents.mitigation import Step
from quell.incidents.outcome import count_outcomes
from quell.incidents.service import Service
from quell.ports import Document, Transaction
from quell.prevention.care import Ailment, AilmentKind, Care, find_unused, propose_level
from quell.response.plan import make_plan
from quell.response.playbook import Playbook
from quell.response.target import ZONE, Target
from tasks.doubts import MOST_PAST
from tasks.playbook_drills import last_drills
from tasks.playbooks import wrongly_refused
from tasks.resources import Resources

KNOWN = "playbook"  # the kind of the documents that say since when a playbook is known
_TRIAL_CLIENT = "quell-check"  # a client that nobody is: what its limit is can be read
_MOST_TRIALS = 40


def note_playbooks(res: Resources) -> None:
    """Remember when each playbook was first seen: one that is new has a quarter's time to be exercised."""
    with res.store.writing() as tx:
        for name in res.config.playbooks.keys() - _known(tx).keys():
            tx.documents.put(Document(id=f"{KNOWN} {name}", kind=KNOWN, updated_at=res.clock(), body={"name": name}))


def care_for(res: Resources, *, live: bool) -> list[Care]:
    """Every configured playbook with its record and what is wrong with it; `live` asks metrics and levers as well.

    Asking changes nothing: the state before a step is read, as it would be before the step itself.
    """
    files = {str(source.data.get("name")): Path(source.file) for source in read_playbooks(res.config.folder)}
    with res.store.reading() as tx:
        known, drilled = _known(tx), last_drills(tx)
        return [
            _care(res, tx, book, files.get(name), known.get(name), drilled.get(name), live=live)
            for name, book in res.config.playbooks.items()
        ]


def _known(tx: Transaction) -> Mapping[str, datetime]:
    return {str(document.body["name"]): document.updated_at for document in tx.documents.find({"kind": KNOWN})}


def _care(
    res: Resources,
    tx: Transaction,
    book: Playbook,
    path: Path | None,
    known: datetime | None,
    drilled: datetime | None,
    *,
    live: bool,
) -> Care:
    now = res.clock()
    past = tx.mitigations.find({"playbook": book.name}, order="created_at", descending=True, limit=MOST_PAST)
    outcomes = count_outcomes(past, now, wrongly_refused(tx, past))
    oldest = min((m.created_at for m in past), default=now)
    care = Care(
        playbook=book.name,
        owner=book.owner,
        known_since=min(known or now, oldest),
        last_used_at=outcomes.last_used_at,
        last_drilled_at=drilled,
        outcomes=outcomes,
    )
    file, text = (f"playbooks/{path.name}", path.read_text(encoding="utf-8")) if path else ("", "")
    level, acts = book.autonomy.level, bool(book.steps)
    unused = find_unused(care, now=now, level=level, file=file, text=text, acts=acts)
    gone, gaps = _gone(res, book) if live else _unmatched(res, book)
    ailments = [replace(one, diff=propose_level(file, text, "observe", one.text.split(":")[0])) for one in gone]
    return replace(care, ailments=(*ailments, *([unused] if unused else [])), gaps=tuple(gaps))


def _unmatched(res: Resources, book: Playbook) -> tuple[list[Ailment], list[str]]:
    """What the configuration alone shows: no service is left that the playbook would answer for."""
    if list(_services(res, book)):
        return [], []
    text = "it answers for no service: its match names one that services.yaml does not have"
    return [Ailment(kind=AilmentKind.TARGET, text=text)], []


def _gone(res: Resources, book: Playbook) -> tuple[list[Ailment], list[str]]:
    ailments, gaps = _unmatched(res, book)
    if not book.steps:
        return ailments, gaps
    signal = res.config.signals.get(book.recovery.signal)
    if signal is not None:
        try:
            if not (res.hasty_metrics or res.metrics).instant(signal.query, at=res.clock()).labels:
                text = f"signal {signal.name} has no series any more: nothing could tell whether it helped"
                ailments.append(Ailment(kind=AilmentKind.SIGNAL, text=text))
        except QuellError as error:
            gaps.append(f"signal {signal.name} could not be asked: {error}")
    if not ailments:
        more, further = _try_levers(res, book)
        ailments, gaps = [*ailments, *more], [*gaps, *further]
    return ailments, gaps


def _try_levers(res: Resources, book: Playbook) -> tuple[list[Ailment], list[str]]:
    """Whether the levers know what the steps would act on, target by target."""
    missing = sorted({step.actuator for step in book.steps} - res.actuators.keys())
    if missing:
        return [Ailment(kind=AilmentKind.COMMAND, text=f"actuator {', '.join(missing)} is not configured any more")], []
    works, refused = 0, dict[str, str]()
    for target, steps in _trials(res, book):
        try:
            for step in steps:
                res.actuators[step.actuator].read_state(step)
            works += 1
        except InvalidInput as error:
            refused[target] = str(error)
        except QuellError as error:  # one that does not answer would keep us waiting for every target
            return [], [f"{target} could not be asked: {error}"]
    if refused and not works:
        told = f"none of its {len(refused)} targets exists any more: {next(iter(refused.values()))}"
        return [Ailment(kind=AilmentKind.TARGET, text=told)], []
    if not refused and not works:
        return [Ailment(kind=AilmentKind.TARGET, text="no target is left: no instance has what its steps need")], []
    return [], [f"not on {', '.join(refused)}: {next(iter(refused.values()))}"] if refused else []


def _trials(res: Resources, book: Playbook) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """The steps for each target that the playbook could be asked to act on, as far as they can be filled in."""
    tried = 0
    for target in _targets(book, _services(res, book)):
        if tried == _MOST_TRIALS:
            return
        try:
            plan = make_plan(book, target, incident=None, live={}, describe_undo=lambda step: step.action)
        except InvalidInput:
            continue  # the instance has no server, or no zone: it was never meant
        tried += 1
        yield target.name, plan.steps


def _services(res: Resources, book: Playbook) -> Iterator[Service]:
    """Those for which the playbook's match leaves an incident possible."""
    own = [matcher for matcher in book.matchers if matcher.name == SERVICE]
    for service in res.config.catalog.services.values():
        if all(matcher.matches({SERVICE: service.name}) for matcher in own):
            yield service


def _targets(book: Playbook, services: Iterable[Service]) -> Iterator[Target]:
    for service in services:
        match book.target_kind:
            case "instance":
                for instance in service.instances:
                    yield Target(kind="instance", name=instance.name, service=service, instance=instance)
            case "client":
                yield Target(kind="client", name=_TRIAL_CLIENT, service=service)
            case "zone":
                for zone in sorted({i.zone for i in service.instances if i.zone}):
                    own = tuple(i for i in service.instances if i.zone == zone)
                    yield Target(kind=ZONE, name=zone, service=service, instances=own)
            case _:
                yield Target(kind="service", name=service.name, service=service)
