"""Is it alive, can it do its work, and what does it measure."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from quell.gateway.deps import GatewayDeps
from quell.gateway.measures import Measures
from quell.gateway.openapi import problems


def health_routes(deps: GatewayDeps, measures: Measures) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process answers", response_class=PlainTextResponse)
    async def healthz() -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return PlainTextResponse("ok")

    @router.get(
        "/readyz",
        summary="The store answers; 503 if not",
        response_class=PlainTextResponse,
        responses=problems({503: "The store does not answer."}),
    )
    def readyz() -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            tx.inbox.find({"processed_at": None}, limit=1)
        return PlainTextResponse("ready")

    @router.get("/metrics", summary="Prometheus metrics of the gateway", response_class=PlainTextResponse)
    def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)

    return router
