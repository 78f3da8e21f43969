"""The pages: the list of incidents, one incident, and the form by which a person decides on a plan."""

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quell.gateway.deps import GatewayDeps
from quell.gateway.main_chart import MainChart
from quell.gateway.postmortem_html import postmortem_html
from quell.gateway.problems import status_of
from quell.gateway.view import IncidentView, in_words, read_incident, read_rows, since
from quell.incidents.errors import NotFound, QuellError, Refused
from quell.incidents.labels import format_labels

_HERE = Path(__file__).parent
CSRF_COOKIE = "quell_csrf"
# The chart and the pages carry their own styles; nothing is ever loaded from elsewhere.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ASSETS = {"quell.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


def page_routes(deps: GatewayDeps) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    templates = page_templates(deps)
    charts = MainChart(deps.series_for)

    @router.get("/")
    def incidents() -> Response:  # pyright: ignore[reportUnusedFunction]
        rows = read_rows(deps.store)
        html = templates.get_template("incidents.html").render(rows=rows, now=deps.clock())
        return HTMLResponse(html, headers=SAFE_HEADERS)

    @router.get("/incidents/{incident_id}")
    def incident(request: Request, incident_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        try:
            view = read_incident(deps.store, incident_id)
        except NotFound as error:
            html = templates.get_template("problem.html").render(error=str(error), now=deps.clock())
            return HTMLResponse(html, status_code=404, headers=SAFE_HEADERS)
        return _incident_page(request, view)

    @router.post("/incidents/{incident_id}/decide")
    def decide(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        incident_id: str,
        csrf: Annotated[str, Form()] = "",
        subject: Annotated[str, Form()] = "",
        plan_hash: Annotated[str, Form()] = "",
        person: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
        answer: Annotated[str, Form()] = "",
        comment: Annotated[str, Form()] = "",
    ) -> Response:
        try:
            check_origin(request, csrf)
            deps.decide(
                subject=subject,
                plan_hash=plan_hash,
                person=person.strip(),
                code=code.strip(),
                answer=answer,
                comment=comment.strip(),
                channel="page",
            )
        except QuellError as error:
            view = read_incident(deps.store, incident_id)
            return _incident_page(request, view, refused=(subject, str(error)), status=status_of(error))
        return RedirectResponse(f"/incidents/{incident_id}#{subject}", status_code=303)

    @router.get("/assets/{name}")
    def asset(name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        if name not in _ASSETS:
            return Response(status_code=404)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=60"}
        return Response((_HERE / "static" / name).read_bytes(), media_type=_ASSETS[name], headers=headers)

    def _incident_page(
        request: Request, view: IncidentView, refused: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        token = request.cookies.get(CSRF_COOKIE) or secrets.token_urlsafe(24)
        chart, chart_problem = charts.draw(view, deps.clock())
        html = templates.get_template("incident.html").render(
            view=view,
            incident=view.incident,
            now=deps.clock(),
            chart=chart,
            chart_problem=chart_problem,
            refused=refused,
            csrf=token,
            people=sorted(person.name for person in deps.config.people.values() if "approver" in person.roles),
            mitigation_of={entry.id: entry.mitigation for m in view.mitigations for entry in m.journal},
        )
        response = HTMLResponse(html, status_code=status, headers=SAFE_HEADERS)
        response.set_cookie(CSRF_COOKIE, token, httponly=True, samesite="strict")
        return response

    return router


def check_origin(request: Request, token: str) -> None:
    """The form must come from our own page: its token equals the cookie that only our page could set."""
    known = request.cookies.get(CSRF_COOKIE, "")
    if not known or not secrets.compare_digest(known.encode(), token.encode()):
        raise Refused("the form is not from this page or is too old: answer again")


def page_templates(deps: GatewayDeps) -> Environment:
    """What every page is rendered with."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "span": in_words,
        "clock": _clock,
        "day": _day,
        "iso": datetime.isoformat,
        "labels": format_labels,
        "percent": _percent,
        "postmortem_html": postmortem_html,
        "web_address": _web_address,
    }
    cast(dict[str, Any], environment.filters).update(filters)  # pyright: ignore[reportUnknownMemberType] - no types in jinja2

    def run_url(run: str | None) -> str:
        return _run_url(deps, run)

    functions: dict[str, Callable[..., str]] = {"since": since, "run_url": run_url}
    cast(dict[str, Any], environment.globals).update(functions)  # pyright: ignore[reportUnknownMemberType]
    return environment


def _run_url(deps: GatewayDeps, run: str | None) -> str:
    """Where the run can be seen; empty for what is no run of Prefect's ("in process")."""
    is_run = run is not None and len(run) == 36 and " " not in run
    return deps.run_url(run) if run and is_run else ""


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d} UTC"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _web_address(url: str) -> str:
    """The address if a browser may follow it; what a sender wrote is never a script."""
    return url if url.startswith(("http://", "https://")) else ""
