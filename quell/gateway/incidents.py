"""Incidents out, as JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.encoders import jsonable_encoder

from quell.gateway.deps import GatewayDeps
from quell.gateway.view import read_incident, read_incidents
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import IncidentState


def incident_routes(deps: GatewayDeps) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["incidents"])

    @router.get("/incidents", summary="Incidents, newest first")
    def incidents(  # pyright: ignore[reportUnusedFunction]
        state: Annotated[str | None, Query(description="one state, or active")] = None,
        service: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Any:
        if state is not None and state not in ("active", *IncidentState):
            raise InvalidInput(f"state is {state[:80]!r}: send active or one of {', '.join(IncidentState)}")
        found = read_incidents(deps.store, state=state, service=service, limit=limit, offset=offset)
        return {"incidents": jsonable_encoder(found)}

    @router.get("/incidents/{incident_id}", summary="One incident with everything that belongs to it")
    def incident(incident_id: str) -> Any:  # pyright: ignore[reportUnusedFunction]
        body = jsonable_encoder(read_incident(deps.store, incident_id))
        for mitigation in body["mitigations"]:
            for decision in mitigation["decisions"]:
                decision.pop("code_step", None)
        return body

    return router
