"""The doors for events, and how they are described in the OpenAPI."""

from collections.abc import Mapping
from typing import Any

from quell.gateway.door import Desk, Door
from quell.gateway.inbox_items import ChangeIn, ReportIn
from quell.triage.form import Form

_TIME = "2026-11-23T07:58:54.725Z"
_ALERT: dict[str, Any] = {
    "type": "object",
    "required": ["labels"],
    "properties": {
        "labels": {
            "type": "object",
            "required": ["alertname"],
            "properties": {"alertname": {"type": "string", "minLength": 1}},
            "additionalProperties": {"type": "string"},
        },
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "startsAt": {"type": "string", "format": "date-time"},
        "endsAt": {"type": "string", "format": "date-time"},
        "generatorURL": {"type": "string"},
    },
    "example": {"labels": {"alertname": "InstanceErrors", "service": "checkout"}, "startsAt": _TIME},
}
_WEBHOOK: dict[str, Any] = {
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {
        "version": {"type": "string", "enum": ["4"]},
        "alerts": {
            "type": "array",
            "items": {
                **_ALERT,
                "properties": {
                    **_ALERT["properties"],
                    "status": {"type": "string", "enum": ["firing", "resolved"]},
                },
            },
        },
    },
}
_TAKEN: dict[str, Any] = {
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
_ERROR: dict[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_ID: dict[str, Any] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
_ONE_OR_MANY: dict[str, Any] = {"oneOf": [{"type": "array", "items": _ALERT}, _ALERT]}

_PROBLEMS = {
    "400": "The body is no JSON; it is kept in quarantine.",
    "401": "No credentials, or none that hold. Sending the same again will not help.",
    "403": "The source may not send this kind of event.",
    "405": "Only POST is taken here.",
    "413": "The body is too large.",
    "422": "The body is JSON, but nothing in it can be read; the text says why.",
    "429": "Too many reports; Retry-After says when there is room.",
    "500": "The gateway failed.",
    "503": "The store cannot take it now; the same request will work later (Retry-After).",
}

DOORS: Mapping[str, tuple[Form, str, dict[str, Any], tuple[str, dict[str, Any] | None]]] = {
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


def describe_doors() -> dict[str, Any]:
    """The doors as paths of an OpenAPI document."""
    return {path: {"post": _operation(path)} for path in DOORS}


def _operation(path: str) -> dict[str, Any]:
    form, text, schema, (status, answer) = DOORS[path]
    taken: dict[str, Any] = {"description": "Committed."}
    if answer is not None:
        taken["content"] = {"application/json": {"schema": answer}}
    problems: dict[str, Any] = {
        code: {"description": said, "content": {"application/json": {"schema": _error_of(form, code)}}}
        for code, said in _PROBLEMS.items()
        if code != "429" or form is Form.REPORT
    }
    return {
        "tags": ["events"],
        "summary": text,
        "operationId": f"post-{form}",
        "security": [{"source": []}, {}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: taken, **problems},
    }


def _error_of(form: Form, code: str) -> dict[str, Any]:
    """As Alertmanager's own API, /api/v2/alerts says in a bare text which alerts were wrong."""
    return {"oneOf": [_ERROR, {"type": "string"}]} if form is Form.API_V2 and code == "400" else _ERROR
