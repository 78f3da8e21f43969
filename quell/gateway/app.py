"""The gateway as an application: the doors for events, decisions and people, put together from what is injected."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from quell.gateway import problems, visitor
from quell.gateway.anomalies import anomaly_routes
from quell.gateway.body_limit import BodyLimit
from quell.gateway.decisions import decision_routes
from quell.gateway.deps import GatewayDeps
from quell.gateway.door import Desk
from quell.gateway.events import event_routes
from quell.gateway.group_commit import GroupCommit
from quell.gateway.health import health_routes
from quell.gateway.incidents import incident_routes
from quell.gateway.intake import SOURCE_SCHEMES, describe_doors, intake_doors
from quell.gateway.live import Live
from quell.gateway.measures import Measures
from quell.gateway.openapi import record_schemas
from quell.gateway.pages import page_routes, page_templates
from quell.gateway.problem_page import ProblemPage
from quell.gateway.quarantine import QuarantineRoom
from quell.gateway.rate_limit import RateLimit
from quell.gateway.report_page import report_routes
from quell.gateway.sender_mark import SenderMark
from quell.gateway.senders import Senders
from quell.gateway.weekly_page import weekly_routes

DESCRIPTION = """Events come in here and are durable once answered with a 2xx. An error answer is `{"error": text}`;
503 carries `Retry-After` and means that the same request will work later."""


class Gateway(FastAPI):
    """FastAPI with doors before it: a request to one of their paths passes none of FastAPI's layers."""

    doors: Mapping[str, ASGIApp] = {}
    described_doors: Mapping[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self.doors.get(scope["path"]) if scope["type"] == "http" else None
        await (door or super().__call__)(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            document["paths"] = {**self.described_doors, **document["paths"]}
            components: dict[str, Any] = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(record_schemas())
            components.setdefault("securitySchemes", {}).update(SOURCE_SCHEMES)
        return super().openapi()  # which keeps it, and so what was added


def create_app(deps: GatewayDeps) -> Gateway:
    """The application; it keeps nothing in memory that matters, so any number may run on one store."""
    app = Gateway(
        title="Quell",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    measures = Measures(deps.store, deps.clock)
    desk = _desk(deps, measures)
    app.doors, app.described_doors = intake_doors(desk), describe_doors(deps.config.sources)
    door, live = visitor.Door(deps), Live(deps.store)
    app.include_router(decision_routes(deps))
    app.include_router(incident_routes(deps, door))
    app.include_router(health_routes(deps, measures))
    app.include_router(page_routes(deps, door))
    app.include_router(report_routes(deps, door, desk))
    app.include_router(event_routes(door, live))
    app.include_router(anomaly_routes(deps, door))
    app.include_router(weekly_routes(deps, door))
    problems.install(app, ProblemPage(page_templates(deps)))
    visitor.install(app)
    app.state.live = live  # whoever stops the process closes it, or open streams would hold it up
    app.middleware("http")(_timed(measures))
    app.add_middleware(BodyLimit)
    return app


def _desk(deps: GatewayDeps, measures: Measures) -> Desk:
    limits = deps.config.report_limits
    return Desk(
        clock=deps.clock,
        commit=GroupCommit(deps.store.receive),
        senders=Senders(deps.config.sources),
        room=QuarantineRoom(store=deps.store, measures=measures),
        measures=measures,
        report_rate=RateLimit(limits.overall, limits.overall),
        mark=SenderMark(deps.store, deps.clock),
    )


def _timed(measures: Measures) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def timed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.monotonic()

        def observe(status: int) -> None:
            route = getattr(request.scope.get("route"), "path", "unknown")
            measures.request_seconds.labels(route, str(status)).observe(time.monotonic() - start)

        try:
            response = await call_next(request)
        except Exception:
            observe(500)  # as the last resort answers
            raise
        observe(response.status_code)
        return response

    return timed
