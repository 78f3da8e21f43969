"""What keeps pages safe: their headers, and forms that only our own pages can send."""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from quell.incidents.errors import Refused

CSRF_COOKIE = "quell_csrf"
SESSION_COOKIE = "quell_session"
# Nothing is ever loaded from elsewhere, and nothing that stands in the page itself is run or styles it.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A picture brings its own style; opened by itself it still loads and runs nothing.
PICTURE_HEADERS = SAFE_HEADERS | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}


def session_token(request: Request) -> str:
    return request.cookies.get(SESSION_COOKIE, "")


def csrf_token(request: Request) -> str:
    """The token for the page's forms: bound to the session, or for who has none the one in a cookie of our own."""
    if token := session_token(request):
        return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()
    return request.cookies.get(CSRF_COOKIE) or secrets.token_urlsafe(24)


def check_origin(request: Request, token: str) -> None:
    """The form must come from our own page: the browser says so, and it holds the token that only our page knows."""
    refused = Refused("the form is not from this page or is too old: load the page and answer again")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise refused
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise refused
    known = csrf_token(request) if session_token(request) else request.cookies.get(CSRF_COOKIE, "")
    if not known or not secrets.compare_digest(known.encode(), token.encode("utf-8", "replace")):
        raise refused


def keep_csrf(request: Request, response: Response, token: str) -> None:
    if not session_token(request):
        set_cookie(request, response, CSRF_COOKIE, token)


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """No script reads it, no other site makes a browser send it, and over https it never travels in the open."""
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
