"""How errors are said over HTTP: {"error": text}, or a page to a browser, and the status that makes a sender do the
right thing."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from quell.gateway.problem_page import ProblemPage
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is answered, before it becomes JSON or a page."""

    text: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def say_problem(_request: Request, error: Exception) -> Said:
    if not isinstance(error, QuellError):
        return Said(text=str(error), status=500)
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return Said(text=str(error), status=status_of(error), headers=headers)


def say_invalid(request: Request, error: Exception) -> Said:
    """Field, value and remedy of everything that does not fit; what is secret is not repeated."""
    found: list[Mapping[str, Any]] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    if any(isinstance(fault.get("input"), bytes) for fault in found):  # FastAPI has not even looked into the body
        given = request.headers.get("content-type", "missing")
        return Said(text=f"content-type is {given[:80]!r}: send the body as application/json", status=415)
    is_json = not any(fault["type"] == "json_invalid" for fault in found)
    return Said(text=words_of(found), status=422 if is_json else 400)


def say_http(request: Request, error: Exception) -> Said:
    """What the framework refuses by itself: no such path, no such method, a body that is no text."""
    if not isinstance(error, HTTPException):
        return Said(text=str(error), status=500)
    headers, path = error.headers or {}, request.url.path[:80]
    words = {
        400: f"body cannot be read ({error.detail}): send what its content-type says, in UTF-8",
        404: f"{path} is not here: see /api/v1/openapi.json, or / for the pages",
        405: f"{path} takes {headers.get('Allow', 'other methods')} only",
    }
    return Said(text=words.get(error.status_code, error.detail), status=error.status_code, headers=headers)


def say_failure(_request: Request, _error: Exception) -> Said:
    """The last resort; the server logs the traceback."""
    return Said(text=FAILED, status=500)


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


def install(app: FastAPI, page: ProblemPage) -> None:
    """Browsers get the page, all others JSON."""

    def answer(say: Callable[[Request, Exception], Said]) -> Callable[[Request, Exception], Response]:
        def answered(request: Request, error: Exception) -> Response:
            said = say(request, error)
            if page.is_wanted(request):
                return page.show(said.text, said.status, said.headers)
            return JSONResponse({"error": said.text}, status_code=said.status, headers=said.headers)

        return answered

    app.add_exception_handler(QuellError, answer(say_problem))
    app.add_exception_handler(RequestValidationError, answer(say_invalid))
    app.add_exception_handler(HTTPException, answer(say_http))
    app.add_exception_handler(Exception, answer(say_failure))
