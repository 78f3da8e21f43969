"""A guard's own file: read with clear errors, and written so that it can be read back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from quell.incidents.errors import InvalidInput
from quell.resolution.assertion import assertion_content, parse_assertion
from quell.resolution.document import KeyPath
from quell.resolution.guard import PROPOSED, CertificateRule, Guard, Proof
from quell.resolution.reference import parse_reference, reference_content
from quell.resolution.schema import check_schema

T = TypeVar("T")
Wrong = Callable[[KeyPath, str], InvalidInput]
_FIELDS = ("name", "incident", "files", "message")
_CHECKS = ("schema", "text", "references", "certificate")
_OTHERS = ("state", "accepted_by", "proof")
_MOST_DAYS = 3650


def parse_guard(content: object, *, source: str, line_of: Callable[[KeyPath], int] | None = None) -> Guard:
    """A guard from the parsed content of its file.

    Raises InvalidInput that names file, line and key: a guard that cannot be read must stop the pipeline, not pass it.
    """

    def wrong(path: KeyPath, text: str) -> InvalidInput:
        where = f"{source}:{line_of(path)}: guard" if line_of else f"guard {source}"
        return InvalidInput(f"{where} {text}")

    if not isinstance(content, dict):
        raise wrong((), f"is not a mapping; it needs {', '.join(_FIELDS)} and one of {', '.join(_CHECKS)}")
    values = {str(key): value for key, value in cast(dict[object, Any], content).items()}
    known = (*_FIELDS, *_CHECKS, *_OTHERS)
    missing = [name for name in _FIELDS if name not in values]
    unknown = sorted(set(values) - set(known))
    if missing or unknown:
        faults = [f"lacks {name}" for name in missing] + [f"has the unknown key {name}" for name in unknown]
        raise wrong((unknown[0],) if unknown else (), f"{', '.join(faults)}; it knows {', '.join(known)}")
    if not any(name in values for name in _CHECKS):
        raise wrong((), f"checks nothing: give one of {', '.join(_CHECKS)}")
    for name in (*_FIELDS, *_OTHERS[:2]):
        if name in values and not isinstance(values[name], str):
            raise wrong((name,), f"has {name} {values[name]!r}, which is not text; put it in quotes")
    if not values["files"]:
        raise wrong(("files",), "has an empty files; give a glob such as services/*.yaml")
    if values.get("state", "accepted") not in ("accepted", PROPOSED):
        raise wrong(("state",), f"has state {values['state']}; there are accepted and {PROPOSED}")
    return Guard(
        schema=_schema(values.get("schema"), wrong),
        text=tuple(_each("text", values.get("text"), parse_assertion, wrong)),
        references=tuple(_each("references", values.get("references"), parse_reference, wrong)),
        certificate=_certificate(values["certificate"], wrong) if "certificate" in values else None,
        proof=_proof(values.get("proof"), wrong),
        source=source,
        **{name: values[name] for name in (*_FIELDS, *_OTHERS[:2]) if name in values},
    )


def _schema(value: object, wrong: Wrong) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(("schema",), "has a schema that is not a mapping")
    schema = cast(dict[str, Any], value)
    try:
        check_schema(schema)
    except InvalidInput as error:
        raise wrong(("schema",), f"has a {error}") from error
    return schema


def _each(name: str, value: object, parse: Callable[[Mapping[str, Any]], T], wrong: Wrong) -> Sequence[T]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong((name,), f"has {name} that is not a list; begin each entry with a dash")
    parsed: list[T] = []
    for place, entry in enumerate(cast(list[object], value)):
        if not isinstance(entry, dict):
            raise wrong((name, place), f"has {name} {place + 1} that is not a mapping")
        entries = cast(dict[object, Any], entry)
        try:
            parsed.append(parse({str(key): item for key, item in entries.items()}))
        except InvalidInput as error:
            raise wrong((name, place), f"{name} {place + 1}: {error}") from error
    return parsed


def _certificate(value: object, wrong: Wrong) -> CertificateRule:
    values: dict[str, Any] = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    days, names = values.get("days_left", 14), values.get("names", [])
    if not isinstance(value, dict) or set(values) - {"days_left", "names"} or not isinstance(names, list):
        raise wrong(("certificate",), "has a certificate that is not {days_left: 14, names: [...]}")
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _MOST_DAYS:
        raise wrong(("certificate", "days_left"), f"has days_left {days!r}, must be 0..{_MOST_DAYS}")
    return CertificateRule(days_left=days, names=tuple(str(name) for name in cast(list[object], names)))


def _proof(value: object, wrong: Wrong) -> Proof:
    if value is None:
        return Proof()
    values = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    if not values or set(values) - {"bad", "good"}:
        raise wrong(("proof",), "has a proof that is not {bad: COMMIT:FILE, good: COMMIT}")
    return Proof(bad=str(values.get("bad", "")), good=str(values.get("good", "")))


def guard_content(guard: Guard) -> dict[str, Any]:
    """What the guard's file holds; `parse_guard` reads it back."""
    values: dict[str, Any] = {name: getattr(guard, name) for name in _FIELDS}
    if guard.schema or not (guard.text or guard.references or guard.certificate):
        values["schema"] = guard.schema
    if guard.text:
        values["text"] = [assertion_content(assertion) for assertion in guard.text]
    if guard.references:
        values["references"] = [reference_content(reference) for reference in guard.references]
    if guard.certificate:
        rule = guard.certificate
        values["certificate"] = {"days_left": rule.days_left, **({"names": list(rule.names)} if rule.names else {})}
    if guard.state == PROPOSED:
        values["state"] = guard.state
    if guard.accepted_by:
        values["accepted_by"] = guard.accepted_by
    if guard.proof != Proof():
        values["proof"] = {key: text for key in ("bad", "good") if (text := getattr(guard.proof, key))}
    return values
