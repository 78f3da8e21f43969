"""Signing in and out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from quell.adapters.sessions import LONGEST, close_session
from quell.gateway.deps import GatewayDeps
from quell.gateway.problems import status_of
from quell.gateway.rendering import Renderer
from quell.gateway.safety import CSRF_COOKIE, SESSION_COOKIE, check_origin, session_token, set_cookie
from quell.gateway.visitor import Door
from quell.incidents.attempts import TooManyTries
from quell.incidents.errors import QuellError


class SignInForm(BaseModel):
    csrf: str = ""
    person: str = ""
    password: SecretStr = SecretStr("")
    code: SecretStr = SecretStr("")
    next: str = "/"


def sign_in_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    renderer = Renderer(deps)

    def show(request: Request, next: str, *, problem: str = "", person: str = "", status: int = 200) -> Response:  # noqa: A002
        visitor = door.visitor(request)
        return renderer.show(
            request, visitor, "sign_in.html", next=own_path(next), problem=problem, person=person, status=status
        )

    @router.get("/sign-in")
    def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 # pyright: ignore[reportUnusedFunction]
        return show(request, next)

    @router.post("/sign-in")
    def sign_in(request: Request, form: Annotated[SignInForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        person = form.person.strip()
        try:
            check_origin(request, form.csrf)
            token = deps.sign_in(
                person=person,
                password=form.password.get_secret_value(),
                code=form.code.get_secret_value().strip(),
                address=request.client.host if request.client else "",
            )
        except QuellError as error:
            response = show(request, form.next, problem=str(error), person=person, status=status_of(error))
            if isinstance(error, TooManyTries):
                response.headers["Retry-After"] = str(int(error.wait.total_seconds()) + 1)
            return response
        _close(deps, request)  # what was open before in this browser ends: a session is never carried over
        response = RedirectResponse(own_path(form.next), status_code=303)
        set_cookie(request, response, SESSION_COOKIE, token, int(LONGEST.total_seconds()))
        response.delete_cookie(CSRF_COOKIE)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:  # pyright: ignore[reportUnusedFunction]
        check_origin(request, csrf)
        _close(deps, request)
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    return router


def _close(deps: GatewayDeps, request: Request) -> None:
    if token := session_token(request):
        with deps.store.writing() as tx:
            close_session(tx, token)


def own_path(path: str) -> str:
    """Where to go on after signing in: never to another site.

    >>> own_path("/incidents/INC-1"), own_path("//evil.example"), own_path("https://evil.example")
    ('/incidents/INC-1', '/', '/')
    """
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else "/"
