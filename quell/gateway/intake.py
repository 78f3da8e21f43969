"""The doors for events, and how they are described in the OpenAPI."""

from collections.abc import Mapping

from quell.gateway.door import Desk, Door
from quell.gateway.inbox_items import ChangeIn, ReportIn
from quell.gateway.openapi import ERROR, NO_NUL, TIME_OR_NONE, Schema, problems
from quell.incidents.event_source import EventSource
from quell.triage.form import Form

_TIME = "2026-11-23T07:58:54.725Z"
# What no database can hold is refused; what is null or empty is as if it were not there.
_TEXT: Schema = {"type": ["string", "null"], **NO_NUL}
_ALERT: Schema = {
    "type": "object",
    "required": ["labels"],
    "properties": {
        "labels": {
            "type": "object",
            "required": ["alertname"],
            "properties": {"alertname": {"type": "string", "pattern": "^[^\\x00]+$"}},
            "propertyNames": NO_NUL,
            "additionalProperties": _TEXT,
        },
        "annotations": {"type": ["object", "null"], "propertyNames": NO_NUL, "additionalProperties": _TEXT},
        "status": {"enum": ["firing", "resolved", None]},
        "startsAt": TIME_OR_NONE,
        "endsAt": TIME_OR_NONE,
        "generatorURL": _TEXT,
    },
    "example": {"labels": {"alertname": "InstanceErrors", "service": "checkout"}, "startsAt": _TIME},
}
_WEBHOOK: Schema = {
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {"version": {"enum": ["4"]}, "alerts": {"type": "array", "items": _ALERT}},
}
_TAKEN: Schema = {
    "type": "object",
    "required": ["taken", "rejected"],
    "properties": {
        "taken": {"type": "integer"},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "error"],
                "properties": {"index": {"type": "integer"}, "error": {"type": "string"}},
            },
        },
    },
}
_ID: Schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
_ONE_OR_MANY: Schema = {"oneOf": [{"type": "array", "items": _ALERT}, _ALERT]}

_PROBLEMS = {
    400: "The body is no JSON; it is kept in quarantine.",
    401: "No credentials, or none that hold. Sending the same again will not help.",
    403: "The source may not send this kind of event.",
    405: "Only POST is taken here.",
    413: "The body is too large.",
    422: "The body is JSON, but nothing in it can be read; the text says why.",
    429: "Too many reports; Retry-After says when there is room.",
    500: "The gateway failed.",
    503: "The store cannot take it now; the same request will work later (Retry-After).",
}
# As Alertmanager's own API, /api/v2/alerts says in a bare text which alerts were wrong.
_ERROR_OR_TEXT: Schema = {"oneOf": [ERROR, {"type": "string", "minLength": 1}]}
SOURCE_SCHEMES: Schema = {
    "source": {"type": "http", "scheme": "bearer", "description": "A token of a source in sources.yaml."},
    "signature": {"type": "apiKey", "in": "header", "name": "X-Quell-Signature", "description": "See docs/intake.md."},
    "signed-at": {"type": "apiKey", "in": "header", "name": "X-Quell-Timestamp", "description": "See docs/intake.md."},
}

DOORS: Mapping[str, tuple[Form, str, Schema, tuple[str, Schema | None]]] = {
    "/api/v1/alerts/alertmanager": (
        Form.WEBHOOK,
        "Alertmanager webhook, version 4. Readable alerts are taken even if others are not; the answer names those.",
        _WEBHOOK,
        ("200", _TAKEN),
    ),
    "/api/v2/alerts": (
        Form.API_V2,
        "What Prometheus sends to an Alertmanager. 400 where an alert was wrong; the others are taken all the same.",
        {"type": "array", "items": _ALERT},
        ("200", None),
    ),
    "/api/v1/alerts": (
        Form.PLAIN,
        "One alert or a list. Without `startsAt` an alert starts now; with a past `endsAt` it is resolved.",
        _ONE_OR_MANY,
        ("200", _TAKEN),
    ),
    "/api/v1/changes": (
        Form.CHANGE,
        "A deploy or a change of configuration.",
        ChangeIn.model_json_schema(),
        ("202", _ID),
    ),
    "/api/v1/reports": (Form.REPORT, "A user's report.", ReportIn.model_json_schema(), ("202", _ID)),
}


def intake_doors(desk: Desk) -> dict[str, Door]:
    """Every door by its path."""
    return {path: Door(path, form, desk) for path, (form, *_) in DOORS.items()}


def describe_doors(sources: Mapping[str, EventSource] | None) -> Schema:
    """The doors as paths of an OpenAPI document; `sources` say which credentials open them."""
    security: list[dict[str, list[str]]] = [] if sources is None else [{"source": []}]
    if any(source.signing_secret for source in (sources or {}).values()):
        security.append({"signature": [], "signed-at": []})
    return {path: {"post": _operation(path, security)} for path in DOORS}


def _operation(path: str, security: list[dict[str, list[str]]]) -> Schema:
    form, text, schema, (status, answer) = DOORS[path]
    taken: Schema = {"description": "Committed."}
    if answer is not None:
        taken["content"] = {"application/json": {"schema": answer}}
    said = {code: words for code, words in _PROBLEMS.items() if code != 429 or form is Form.REPORT}
    answers = problems(said, {400: _ERROR_OR_TEXT} if form is Form.API_V2 else None)
    return {
        "tags": ["events"],
        "summary": text,
        "operationId": f"post-{form}",
        "security": security,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: taken, **{str(code): answer for code, answer in answers.items()}},
    }
