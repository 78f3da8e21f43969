"""The gate: what all guards say against a document and its neighbours; empty means that it may go out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from quell.resolution.assertion import broken_lines
from quell.resolution.document import Document, Files
from quell.resolution.guard import CertificateRule, Finding, Guard, check_content
from quell.resolution.reference import Known, dangling


def check_document(
    guards: Sequence[Guard], document: Document, files: Files, now: datetime, known: Known | None = None
) -> tuple[Finding, ...]:
    """What the guards that cover the document say against it, in the order of its lines.

    `known` is shared by the documents of one run.

    A document that no guard covers is not parsed: it may be of any kind. Raises InvalidInput for one that is covered
    and cannot be parsed.
    """
    covering = [guard for guard in guards if guard.covers(document.name)]
    findings: list[Finding] = []
    if any(guard.schema for guard in covering):
        for part, content in enumerate(document.contents()):
            found = check_content(covering, document.name, content)
            findings += [replace(one, line=document.line_of(one.path, part)) for one in found]
    for guard in covering:
        findings += _check_text(guard, document)
        findings += _check_references(guard, document, files, known)
        if guard.certificate:
            findings += _check_certificates(guard, guard.certificate, document, now)
    return tuple(sorted(findings, key=lambda f: (f.line, f.guard.name)))


def neighbours(guards: Sequence[Guard], names: Sequence[str], files: Files) -> tuple[Document, ...]:
    """The documents that must be looked at again because one of `names` changed, which they refer to."""
    found: dict[str, Document] = {}
    for guard in guards:
        if guard.references and any(guard.leans_on(name) for name in names):
            found |= {document.name: document for document in files.matching(guard.files)}
    return tuple(document for name, document in sorted(found.items()) if name not in names)


def _check_text(guard: Guard, document: Document) -> Iterator[Finding]:
    for assertion in guard.text:
        for line, problem in broken_lines(assertion, document.text):
            yield Finding(file=document.name, path=(), problem=problem, guard=guard, line=line)


def _check_references(guard: Guard, document: Document, files: Files, known: Known | None) -> Iterator[Finding]:
    for reference in guard.references:
        for value in dangling(reference, document, files, known):
            problem = f"{value.text} is not among the values of {reference.target} in {reference.files}"
            line = value.line_in(document)
            yield Finding(file=document.name, path=value.path, problem=problem, guard=guard, line=line)


def _check_certificates(guard: Guard, rule: CertificateRule, document: Document, now: datetime) -> Iterator[Finding]:
    certificates = document.certificates()

    def finding(line: int, problem: str) -> Finding:
        return Finding(file=document.name, path=(), problem=problem, guard=guard, line=line)

    if not certificates:
        yield finding(1, "it holds no certificate")
    for place, one in enumerate(certificates):
        days = (one.not_after - now) / timedelta(days=1)
        if days < 0:
            yield finding(one.line, f"certificate {one.subject} expired on {one.not_after:%Y-%m-%d}")
        elif days < rule.days_left:
            left = f"expires on {one.not_after:%Y-%m-%d}, in {days:.0f} days; limit {rule.days_left}"
            yield finding(one.line, f"certificate {one.subject} {left}")
        if one.not_before > now:
            yield finding(one.line, f"certificate {one.subject} is not valid before {one.not_before:%Y-%m-%d}")
        missing = sorted(set(rule.names) - set(one.names)) if place == 0 else []
        if missing:
            yield finding(one.line, f"certificate {one.subject} is not for {', '.join(missing)}")
