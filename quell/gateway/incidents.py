"""Incidents out, as JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.encoders import jsonable_encoder

from quell.gateway.alert_groups import read_alerts
from quell.gateway.deps import GatewayDeps
from quell.gateway.listing import LONGEST_SEARCH, PAGE, STATES, Filter, read_listing
from quell.gateway.view import read_incident
from quell.gateway.visitor import Door

NEWEST_ALERTS = 500
NEWEST_ENTRIES = 500


def incident_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["incidents"], dependencies=[Depends(door.reader)])

    @router.get("/incidents", summary="Incidents, newest first, a page at a time")
    def incidents(  # pyright: ignore[reportUnusedFunction]
        state: Annotated[str, Query(description=f"one of {', '.join(STATES)}")] = "",
        severity: str = "",
        service: str = "",
        q: Annotated[
            str, Query(max_length=LONGEST_SEARCH, description="words in title, service, id, suspects or alert labels")
        ] = "",
        since: Annotated[str, Query(description="opened at or after: a day, or a time with an offset")] = "",
        until: Annotated[str, Query(description="opened at or before")] = "",
        sort: Annotated[str, Query(description="newest, oldest or updated")] = "newest",
        after: Annotated[str, Query(description="`next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> Any:
        asked = Filter(
            state=state, severity=severity, service=service, q=q, since=since, until=until, sort=sort, after=after,
            limit=limit,
        )  # fmt: skip
        found = read_listing(deps.store, asked)
        return {
            "incidents": jsonable_encoder([row.incident for row in found.rows]),
            "next": found.older or None,
            "count": found.count,
            "is_more": found.is_more,
        }

    @router.get("/incidents/{incident_id}", summary="One incident with everything that belongs to it")
    def incident(incident_id: str) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Of very many alerts and entries the newest 500; `alert_count` and the entries' numbers tell how many."""
        view = read_incident(deps.store, incident_id)
        body = jsonable_encoder(view)
        with deps.store.reading() as tx:
            newest = tx.alerts.find({"incident": incident_id}, order="starts_at", descending=True, limit=NEWEST_ALERTS)
            entries = tx.timeline.of(incident_id, limit=NEWEST_ENTRIES)
        body |= {"alerts": jsonable_encoder(newest[::-1]), "alert_count": view.alerts.total}
        body |= {"timeline": jsonable_encoder(entries)}
        for mitigation in body["mitigations"]:
            for decision in mitigation["decisions"]:
                decision.pop("code_step", None)
        return body

    @router.get("/incidents/{incident_id}/alerts", summary="Its alerts with what triage did and why, newest first")
    def alerts(  # pyright: ignore[reportUnusedFunction]
        incident_id: str,
        service: str | None = None,
        name: str | None = None,
        q: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
        after: Annotated[str, Query(description="`next` of the page before")] = "",
    ) -> Any:
        found = read_alerts(deps.store, incident_id, service=service, name=name, q=q, after=after)
        return {"alerts": jsonable_encoder(found.alerts), "next": found.older or None, "count": found.count}

    return router
