"""How errors are said over HTTP: {"error": text}, and the status that makes a sender do the right thing."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from quell.gateway.rate_limit import TooMany
from quell.gateway.senders import NotKnown
from quell.incidents.attempts import TooManyTries
from quell.incidents.errors import (
    Conflict,
    InvalidInput,
    InvalidTransition,
    NotFound,
    QuellError,
    Refused,
    Unavailable,
)
from quell.triage.unreadable import NotJson

RETRY_AFTER_SECONDS = 2
FAILED = "the gateway failed on this request; its log says how: send it again"


_STATUS: Mapping[type[QuellError], int] = {
    NotJson: 400,
    NotKnown: 401,
    TooMany: 429,
    TooManyTries: 429,
    InvalidInput: 422,
    NotFound: 404,
    Conflict: 409,
    InvalidTransition: 409,
    Refused: 403,
    Unavailable: 503,  # never a 4xx: the sender shall try again
}
_SECRET_FIELDS = frozenset({"code", "csrf", "password"})


def status_of(error: QuellError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def headers_of(error: QuellError) -> tuple[tuple[bytes, bytes], ...]:
    """What the sender needs to know beside the text: when to try again, or how to say who it is."""
    if isinstance(error, TooMany):
        return ((b"retry-after", str(error.retry_after).encode()),)
    if isinstance(error, TooManyTries):
        return ((b"retry-after", str(math.ceil(error.wait.total_seconds())).encode()),)
    return _HEADERS.get(status_of(error), ())


_HEADERS = {
    401: ((b"www-authenticate", b'Bearer realm="quell"'),),
    503: ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),),
}


def answer_problem(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, QuellError):
        return JSONResponse({"error": str(error)}, status_code=500)
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return JSONResponse({"error": str(error)}, status_code=status_of(error), headers=headers)


def answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Field, value and remedy of everything that does not fit; what is secret is not repeated."""
    found: list[Mapping[str, Any]] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    if any(isinstance(fault.get("input"), bytes) for fault in found):  # FastAPI has not even looked into the body
        given = request.headers.get("content-type", "missing")
        text = f"content-type is {given[:80]!r}: send the body as application/json"
        return JSONResponse({"error": text}, status_code=415)
    is_json = not any(fault["type"] == "json_invalid" for fault in found)
    return JSONResponse({"error": words_of(found)}, status_code=422 if is_json else 400)


def answer_http(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses by itself: no such path, no such method, a body that is no text."""
    status, detail, headers = 500, str(error), None
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    path = request.url.path[:80]
    words = {
        400: f"body cannot be read ({detail}): send what its content-type says, in UTF-8",
        404: f"{path} is not here: see /api/v1/openapi.json, or / for the pages",
        405: f"{path} takes {(headers or {}).get('Allow', 'other methods')} only",
    }
    return JSONResponse({"error": words.get(status, detail)}, status_code=status, headers=headers)


def answer_failure(_request: Request, _error: Exception) -> JSONResponse:
    """The last resort; the server logs the traceback."""
    return JSONResponse({"error": FAILED}, status_code=500)


def words_of(faults: Iterable[Mapping[str, Any]]) -> str:
    """What pydantic found, in one line."""
    return "; ".join(_in_words(fault) for fault in faults)


def _in_words(fault: Mapping[str, Any]) -> str:
    path = [str(part) for part in fault["loc"] if part not in ("body", "query", "path")]
    if fault["type"] == "json_invalid":
        reason = fault.get("ctx", {}).get("error", "")
        return f"body is not JSON ({reason}, at character {path[0] if path else '?'}): send a JSON object"
    field = ".".join(path) or "body"
    if fault["type"] == "missing":
        return f"{field} is missing: send it"
    is_secret = not path or _SECRET_FIELDS & set(path)  # a body that is none may hold anything
    said = "" if is_secret else f" is {str(fault.get('input'))[:80]!r}"
    return f"{field}{said}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def install(app: FastAPI) -> None:
    app.add_exception_handler(QuellError, answer_problem)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(Exception, answer_failure)
