"""Proved guards from one bad change: the most general candidate that fails on the bad file and passes the good ones."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quell.incidents.errors import InvalidInput
from quell.resolution.document import Document
from quell.resolution.evidence import BadChange, Candidates
from quell.resolution.guard import PROPOSED, CertificateRule, Guard, Proof
from quell.resolution.key_change import ABSENT, KeyChange
from quell.resolution.key_proposal import key_candidates
from quell.resolution.line_change import bare
from quell.resolution.line_proposal import line_candidates
from quell.resolution.place_search import find_references
from quell.resolution.proving import Ground, Outcome, first_proved
from quell.resolution.reference import Reference, dangling

_WARNING_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A guard with both proofs."""

    guard: Guard
    outcome: Outcome


def propose(change: BadChange, ground: Ground) -> tuple[tuple[Proposal, ...], tuple[str, ...]]:
    """One proved guard for each thing that the commit changed, and why there is none for the others.

    Which of several changes was to blame is for the reviewer to say.
    """
    proposals: dict[str, Proposal] = {}
    missing: list[str] = []
    for candidates in all_candidates(change, ground.now):
        guard, outcome = first_proved(candidates.guards, ground)
        if guard is None:
            missing.append(f"{candidates.subject}: {outcome.wrong}")
        elif not any(_same_rule(guard, known.guard) for known in proposals.values()):
            name = guard.name if guard.name not in proposals else f"{guard.name}-{len(proposals) + 1}"
            proposals[name] = Proposal(guard=_named(guard, name), outcome=outcome)
    return tuple(proposals.values()), tuple(missing)


def all_candidates(change: BadChange, now: datetime) -> Iterator[Candidates]:
    """For each thing that changed its candidates: agreement with other files first, then values, then names."""
    certificate = _certificate_rule(change, now)
    if certificate:
        rule, words = certificate
        guards = [_guard(change, "certificate", words, glob, certificate=rule) for glob in change.globs]
        yield Candidates(subject="certificate", guards=tuple(guards))
        return
    references = find_references(change)
    if change.is_structured:
        yield from _from_keys(change, references)
    else:
        yield from _from_lines(change, references)


def common_glob(file: str, peers: Sequence[str]) -> str:
    """The glob that covers a file and its peers, or the file alone when their names have nothing in common.

    >>> common_glob("services/checkout-2.yaml", ["services/checkout-1.yaml", "services/checkout-3.yaml"])
    'services/checkout-*.yaml'
    >>> common_glob("services/checkout-2.yaml", ["etc/shop.yaml"])
    'services/checkout-2.yaml'
    """
    names = [file, *peers]
    folder = file.rpartition("/")[0]
    if not peers or any(name.rpartition("/")[0] != folder for name in names):
        return file
    bases = [name.rpartition("/")[2] for name in names]
    head = _shared_start(bases)
    tail = _shared_start([base[len(head) :][::-1] for base in bases])[::-1]
    if not head:
        return file
    return f"{folder}/{head}*{tail}".lstrip("/")


def _shared_start(texts: Sequence[str]) -> str:
    shared = min(texts, key=len)
    for text in texts:
        while not text.startswith(shared):
            shared = shared[:-1]
    return shared


def _from_keys(change: BadChange, references: Sequence[Reference]) -> Iterator[Candidates]:
    try:
        found = list(key_candidates(change))
    except InvalidInput as error:  # the bad file, or the good one, cannot be parsed: any schema refuses it
        words = f"{change.good.name} must be readable"
        guards = [_guard(change, "readable", words, glob, schema={"type": "object"}) for glob in change.globs]
        yield Candidates(subject=str(error), guards=tuple(guards))
        return
    for part, key, rules in found:
        line = change.bad.line_of(key.path, part)
        name = key.dotted
        guards = [_reference_guard(change, name, r, _said(key)) for r in references if _concerns(r, change, line)]
        for rule in rules:
            words = f"{rule.words}; commit {change.commit[:12]} {_said(key)}"
            guards += [_guard(change, name, words, glob, schema=rule.schema) for glob in change.globs]
        yield Candidates(subject=f"{name} {_said(key)}", guards=tuple(guards))


def _from_lines(change: BadChange, references: Sequence[Reference]) -> Iterator[Candidates]:
    for subject, line, rules in line_candidates(change):
        at = [n for n, text in enumerate(change.bad.text.splitlines(), 1) if line.new and bare(text) == line.new]
        guards = [
            _reference_guard(change, subject, r, f"left {line.new!r}")
            for r in references
            if any(_concerns(r, change, number) for number in at)
        ]
        for rule in rules:
            words = f"{rule.words}; commit {change.commit[:12]}: {line}"
            guards += [_guard(change, subject, words, glob, text=rule.assertions) for glob in change.globs]
        yield Candidates(subject=str(line), guards=tuple(guards))


def _said(key: KeyChange) -> str:
    if key.bad is ABSENT:
        return "removed it"
    return f"added it as {key.bad!r}" if key.good is ABSENT else f"changed it from {key.good!r} to {key.bad!r}"


def _concerns(reference: Reference, change: BadChange, line: int) -> bool:
    """Whether what dangles in the bad file dangles on this line."""
    return any(value.line_in(change.bad) == line for value in dangling(reference, change.bad, _Held(change)))


@dataclass(frozen=True, slots=True)
class _Held:
    """The files that the change knows of. Implements Files for references, which name one file."""

    change: BadChange

    def matching(self, glob: str) -> Sequence[Document]:
        return [document for document in (self.change.bad, *self.change.others) if document.name == glob]


def _reference_guard(change: BadChange, subject: str, reference: Reference, said: str) -> Guard:
    words = f"every value of {reference.place} must exist in {reference.files}; commit {change.commit[:12]} {said}"
    return _guard(change, f"{subject}-exists", words, change.globs[0], references=(reference,))


def _certificate_rule(change: BadChange, now: datetime) -> tuple[CertificateRule, str] | None:
    """A rule when the bad file's certificates are over, or too soon, or for other names than the good one's."""
    try:
        good, bad = change.good.certificates(), change.bad.certificates()
    except InvalidInput:
        return None
    if not good or not bad:
        return None
    left = min((one.not_after - now) / timedelta(days=1) for one in good)
    days = _WARNING_DAYS if left > _WARNING_DAYS else max(int(left) - 1, 0)
    lost = set(good[0].names) - set(bad[0].names)
    names = good[0].names if lost else ()
    words = f"every certificate must be valid for {days} more days" + (f" and for {', '.join(names)}" if names else "")
    return CertificateRule(days_left=days, names=names), f"{words}; renew it, or put the good one back"


def _guard(
    change: BadChange,
    subject: str,
    words: str,
    files: str,
    *,
    schema: object = None,
    text: object = (),
    references: tuple[Reference, ...] = (),
    certificate: CertificateRule | None = None,
) -> Guard:
    slug = re.sub(r"[^a-z0-9]+", "-", f"{change.service}-{subject}".lower()).strip("-")
    return Guard(
        name=slug,
        incident=change.incident,
        files=files,
        message=words,
        schema=schema or {},  # pyright: ignore[reportArgumentType]
        text=text,  # pyright: ignore[reportArgumentType]
        references=references,
        certificate=certificate,
        state=PROPOSED,
        proof=Proof(bad=f"{change.commit}:{change.good.name}"),
        source=f"{slug}.yaml",
    )


def _named(guard: Guard, name: str) -> Guard:
    return replace(guard, name=name, source=f"{name}.yaml")


def _same_rule(one: Guard, other: Guard) -> bool:
    same = (one.schema, one.text, one.references, one.certificate) == (
        other.schema,
        other.text,
        other.references,
        other.certificate,
    )
    return same and one.files == other.files
