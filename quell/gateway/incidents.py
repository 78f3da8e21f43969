"""Incidents out, as JSON."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Security
from fastapi.encoders import jsonable_encoder
from fastapi.security import APIKeyCookie

from quell.gateway.alert_groups import read_alerts
from quell.gateway.deps import GatewayDeps
from quell.gateway.listing import LONGEST_SEARCH, PAGE, SORTS, STATES, Filter, read_listing
from quell.gateway.openapi import NO_NUL, AlertList, IncidentList, problems, record
from quell.gateway.safety import SESSION_COOKIE
from quell.gateway.view import read_incident
from quell.gateway.visitor import Door
from quell.incidents.incident import Severity

NEWEST_ALERTS = 500
NEWEST_ENTRIES = 500
_PROBLEMS = {
    401: "Reading needs a session: see /sign-in.",
    422: "A parameter is wrong; the text says which and why.",
    503: "The store cannot be read now; the same request will work later.",
}
_ONE_PROBLEMS = {404: "No such incident.", **_PROBLEMS}
_MOMENT = {"anyOf": [{"enum": [""]}, *({"type": "string", "format": form} for form in ("date", "date-time"))]}

Id = Annotated[str, Path(json_schema_extra=NO_NUL)]
Mark = Annotated[str, Query(description="`next` of the page before")]


def _one_of(values: Iterable[str]) -> Any:
    return Query(json_schema_extra={"enum": ["", *values]})


def _moment(description: str) -> Any:
    return Query(description=description, json_schema_extra=_MOMENT)


def _session(deps: GatewayDeps) -> list[Any]:
    """For the document; `Door.reader` is what looks at the session."""
    if not deps.config.reading_needs_sign_in:
        return []
    return [Security(APIKeyCookie(name=SESSION_COOKIE, scheme_name="session", auto_error=False))]


def incident_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["incidents"], dependencies=[Depends(door.reader), *_session(deps)])

    @router.get(
        "/incidents",
        summary="Incidents, newest first, a page at a time",
        response_model=None,
        responses={200: record("IncidentList", "A page."), **problems(_PROBLEMS)},
    )
    def incidents(  # pyright: ignore[reportUnusedFunction]
        state: Annotated[str, _one_of(STATES)] = "",
        severity: Annotated[str, _one_of(Severity)] = "",
        service: Annotated[str, Query(json_schema_extra=NO_NUL)] = "",
        q: Annotated[
            str, Query(max_length=LONGEST_SEARCH, description="words in title, service, id, suspects or alert labels")
        ] = "",
        since: Annotated[str, _moment("opened at or after: a day, or a time with an offset")] = "",
        until: Annotated[str, _moment("opened at or before")] = "",
        sort: Annotated[str, Query(json_schema_extra={"enum": list(SORTS)})] = "newest",
        after: Mark = "",
        limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
    ) -> Any:
        asked = Filter(
            state=state, severity=severity, service=service, q=q, since=since, until=until, sort=sort, after=after,
            limit=limit,
        )  # fmt: skip
        found = read_listing(deps.store, asked)
        rows = tuple(row.incident for row in found.rows)
        return jsonable_encoder(
            IncidentList(incidents=rows, next=found.older or None, count=found.count, is_more=found.is_more)
        )

    @router.get(
        "/incidents/{incident_id}",
        summary="One incident with everything that belongs to it",
        response_model=None,
        responses={200: record("WholeIncident", "The incident."), **problems(_ONE_PROBLEMS)},
    )
    def incident(incident_id: Id) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Of very many alerts and entries the newest 500; `alert_count` and the entries' numbers tell how many."""
        view = read_incident(deps.store, incident_id, deps.config)
        body = jsonable_encoder(view)
        with deps.store.reading() as tx:
            newest = tx.alerts.find({"incident": incident_id}, order="starts_at", descending=True, limit=NEWEST_ALERTS)
            entries = tx.timeline.of(incident_id, limit=NEWEST_ENTRIES)
        body |= {"alerts": jsonable_encoder(newest[::-1]), "alert_count": view.alerts.total}
        body |= {"timeline": jsonable_encoder(entries)}
        for decisions in (*(m["decisions"] for m in body["mitigations"]), *body["fix_decisions"].values()):
            for decision in decisions:
                decision.pop("code_step", None)
        return body

    _add_alerts(router, deps)
    return router


def _add_alerts(router: APIRouter, deps: GatewayDeps) -> None:
    @router.get(
        "/incidents/{incident_id}/alerts",
        summary="Its alerts with what triage did and why, newest first",
        response_model=None,
        responses={200: record("AlertList", "A page."), **problems(_ONE_PROBLEMS)},
    )
    def alerts(  # pyright: ignore[reportUnusedFunction]
        incident_id: Id,
        service: Annotated[str | None, Query(json_schema_extra=NO_NUL)] = None,
        name: Annotated[str | None, Query(json_schema_extra=NO_NUL)] = None,
        q: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
        after: Mark = "",
    ) -> Any:
        found = read_alerts(deps.store, incident_id, service=service, name=name, q=q, after=after)
        return jsonable_encoder(AlertList(alerts=found.alerts, next=found.older or None, count=found.count))
