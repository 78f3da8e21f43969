"""The gateway as an application: the doors for events, decisions and people, put together from what is injected."""

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from quell.gateway import problems, visitor
from quell.gateway.anomalies import anomaly_routes
from quell.gateway.body_limit import BodyLimit
from quell.gateway.decisions import decision_routes
from quell.gateway.deps import GatewayDeps
from quell.gateway.events import event_routes
from quell.gateway.group_commit import GroupCommit
from quell.gateway.health import health_routes
from quell.gateway.incidents import incident_routes
from quell.gateway.intake import intake_routes
from quell.gateway.live import Live
from quell.gateway.measures import Measures
from quell.gateway.pages import page_routes

DESCRIPTION = """Events come in here and are durable once answered with a 2xx. An error answer is `{"error": text}`;
503 carries `Retry-After` and means that the same request will work later."""


def create_app(deps: GatewayDeps) -> FastAPI:
    """The application; it keeps nothing in memory that matters, so any number may run on one store."""
    app = FastAPI(
        title="Quell",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    measures = Measures(deps.store, deps.clock)
    commit = GroupCommit(deps.store.receive)
    door, live = visitor.Door(deps), Live(deps.store)
    app.include_router(intake_routes(deps, commit, measures))
    app.include_router(decision_routes(deps))
    app.include_router(incident_routes(deps, door))
    app.include_router(health_routes(deps, measures))
    app.include_router(page_routes(deps, door))
    app.include_router(event_routes(door, live))
    app.include_router(anomaly_routes(deps, door))
    problems.install(app)
    visitor.install(app)
    app.state.live = live  # whoever stops the process closes it, or open streams would hold it up
    app.middleware("http")(_timed(measures))
    app.add_middleware(BodyLimit)
    return app


def _timed(measures: Measures) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def timed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.monotonic()
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "unknown")
        measures.request_seconds.labels(route, str(response.status_code)).observe(time.monotonic() - start)
        return response

    return timed
