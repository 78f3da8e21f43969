"""Who looks at a page: somebody who has signed in or not, and whether that is enough to read it."""

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from quell.adapters.sessions import NOTED_EVERY, find_session, note_visit
from quell.gateway.deps import GatewayDeps
from quell.gateway.safety import SAFE_HEADERS, SESSION_COOKIE, csrf_token, session_token
from quell.incidents.decision import Person
from quell.incidents.errors import QuellError, Unavailable
from quell.response.rights import VIEWER

BACKGROUND = "x-quell-refresh"  # a page that refreshes itself is no sign that anybody is there


_HOW_TO_SIGN_IN = {"WWW-Authenticate": f'Cookie realm="quell", form-action="/sign-in", cookie-name={SESSION_COOKIE}'}


class SignInNeeded(QuellError):
    """Sign in first: this is only for people of people.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """`person` has signed in. `asks_name`: nobody has a password, so forms ask for a name and a one-time code."""

    person: Person | None
    asks_name: bool
    csrf: str

    @property
    def may_act(self) -> bool:
        return self.asks_name or (self.person is not None and bool(set(self.person.roles) - {VIEWER}))


class Door:
    """Knows visitors by their session. `reader` is the dependency of everything that may need signing in."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps

    def reader(self, request: Request) -> Visitor:
        """Raises SignInNeeded where only people who have signed in may read."""
        visitor = self.visitor(request)
        if visitor.person is None and self._deps.config.reading_needs_sign_in:
            raise SignInNeeded("sign in first: reading needs a person of people.yaml, see /sign-in")
        return visitor

    def visitor(self, request: Request) -> Visitor:
        return Visitor(
            person=self._person(request),
            asks_name=not self._deps.config.has_passwords,
            csrf=csrf_token(request),
        )

    def actor(self, request: Request, name: str) -> tuple[str, bool]:
        """Who acts by a form, and whether a session proves it; a typed name counts only where nobody can sign in."""
        visitor = self.visitor(request)
        if visitor.person is not None:
            return visitor.person.name, True
        if not visitor.asks_name:
            raise SignInNeeded("sign in first: only who has signed in may act on this page")
        return name.strip(), False

    def _person(self, request: Request) -> Person | None:
        token, people = session_token(request), self._deps.config.people
        if not token:
            return None
        now = self._deps.clock()
        with self._deps.store.reading() as tx:
            session = find_session(tx, token, people, now)
        if session is None:
            return None
        is_background = BACKGROUND in request.headers or request.url.path.endswith("/events")
        if now - session.seen_at >= NOTED_EVERY and not is_background:
            with suppress(Unavailable), self._deps.store.writing() as tx:  # a page is no reason to wait for the store
                note_visit(tx, session, now)
        return people[session.person]


def _answer(request: Request, error: Exception) -> Response:
    is_page = not request.url.path.startswith("/api/") and not request.url.path.endswith("/events")
    if not is_page or BACKGROUND in request.headers:
        return JSONResponse({"error": str(error)}, status_code=401, headers=_HOW_TO_SIGN_IN)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "GET":
        here = request.headers.get("referer", "/")
        here = "/" + here.split("/", 3)[3] if here.count("/") >= 3 else "/"
    elif request.headers.get("sec-fetch-site") == "cross-site":
        # Who follows a link in a chat comes without the session's cookie (SameSite=Strict): ask again from here.
        html = '<!doctype html><meta http-equiv="refresh" content="0"><title>Quell</title>'
        return HTMLResponse(html, headers=SAFE_HEADERS)
    return RedirectResponse(f"/sign-in?next={quote(here, safe='/')}", status_code=303)


def install(app: FastAPI) -> None:
    app.add_exception_handler(SignInNeeded, _answer)
