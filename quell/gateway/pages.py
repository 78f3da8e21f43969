"""The pages: the list of incidents, and what every page needs; `incident_page` and `sign_in_page` hold the others."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from quell.gateway.deps import GatewayDeps
from quell.gateway.drill_pages import drill_routes
from quell.gateway.incident_page import incident_page_routes
from quell.gateway.listing import Filter, count_active, read_filter, read_listing
from quell.gateway.postmortem_page import postmortem_routes
from quell.gateway.problems import status_of
from quell.gateway.rendering import HERE, Renderer, page_templates
from quell.gateway.safety import CSRF_COOKIE, SAFE_HEADERS, check_origin
from quell.gateway.sign_in_page import sign_in_routes
from quell.gateway.silence_pages import silence_routes
from quell.gateway.threshold_pages import threshold_routes
from quell.gateway.visitor import Door
from quell.gateway.why_page import why_routes
from quell.incidents.chart import CHART_STYLE
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import IncidentState, Severity

__all__ = ["CSRF_COOKIE", "SAFE_HEADERS", "check_origin", "page_routes", "page_templates"]
_ASSETS = {"quell.css": "text/css; charset=utf-8", "quell.js": "text/javascript; charset=utf-8"}


def page_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.include_router(_list_routes(deps, door))
    router.include_router(incident_page_routes(deps, door))
    router.include_router(postmortem_routes(deps, door))
    router.include_router(drill_routes(deps, door))
    router.include_router(why_routes(deps, door))
    router.include_router(silence_routes(deps, door))
    router.include_router(threshold_routes(deps, door))
    router.include_router(sign_in_routes(deps, door))

    @router.get("/assets/{name}")
    def asset(name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=60"}
        if name == "chart.css":
            return Response(CHART_STYLE, media_type="text/css; charset=utf-8", headers=headers)
        if name not in _ASSETS:
            return Response(status_code=404)
        return Response((HERE / "static" / name).read_bytes(), media_type=_ASSETS[name], headers=headers)

    return router


def _list_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(dependencies=[Depends(door.reader)])
    renderer = Renderer(deps)

    @router.get("/")
    def incidents(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        asked, problem, status = read_filter(request.query_params), "", 200
        with deps.store.reading() as tx:
            version = tx.timeline.written()
        try:
            listing = read_listing(deps.store, asked)
        except InvalidInput as error:
            problem, status, asked = str(error), status_of(error), Filter()
            listing = read_listing(deps.store, asked)
        return renderer.show(
            request,
            door.visitor(request),
            "incidents.html",
            status=status,
            asked=asked,
            listing=listing,
            active=count_active(deps.store),
            problem=problem,
            version=version,
            services=sorted(deps.config.catalog.services),
            states=[state.value for state in IncidentState],
            severities=[severity.value for severity in Severity],
        )

    return router
