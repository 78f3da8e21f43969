"""Why: what triage did with one alert, decision by decision, loaded into the incident page on demand."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from quell.gateway.deps import GatewayDeps
from quell.gateway.rendering import Renderer
from quell.gateway.visitor import Door
from quell.triage.why import explain_alert


def why_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    renderer = Renderer(deps)

    @router.get("/alerts/{alert_id}/why")
    def why(request: Request, alert_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        visitor = door.visitor(request)
        with deps.store.reading() as tx:
            alert = tx.alerts.get(alert_id)
        if alert is None:
            error = f"alert {alert_id[:80]} does not exist: the page of its incident lists those that do"
            return renderer.show(request, visitor, "problem.html", error=error, status=404)
        return renderer.show(request, visitor, "why.html", alert=alert, told=explain_alert(alert))

    return router
