"""Events in: alerts, changes and reports. A 2xx means that the event is committed."""

import json
from typing import Annotated, Any, cast

import orjson
from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from quell.gateway.deps import GatewayDeps
from quell.gateway.group_commit import GroupCommit
from quell.gateway.inbox_items import AlertBatch, take_alerts, take_change, take_report
from quell.gateway.measures import Measures
from quell.gateway.problems import NotJson
from quell.triage.intake import split_webhook

_TIME = "2026-11-23T07:58:54.725Z"
_WEBHOOK_EXAMPLE = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "InstanceErrors", "service": "checkout", "instance": "checkout-2"},
            "annotations": {"summary": "61 % of requests fail"},
            "startsAt": _TIME,
            "endsAt": "0001-01-01T00:00:00Z",
        }
    ],
}
_ALERTS_EXAMPLE = [{"labels": {"alertname": "InstanceErrors", "service": "checkout"}, "startsAt": _TIME}]


class ChangeIn(BaseModel):
    """A deploy or a change of configuration. `id` makes repetition harmless; without it the content does."""

    model_config = ConfigDict(extra="forbid")
    id: str | None = None
    kind: str = Field("other", description="deploy, config, flag or other")
    service: str
    instance: str | None = None
    at: str | None = Field(None, description=f"when it took effect, like {_TIME}; default: now")
    summary: str
    author: str | None = None
    commit: str | None = None
    url: str | None = None


class ReportIn(BaseModel):
    """A user says that something is wrong."""

    model_config = ConfigDict(extra="forbid")
    id: str | None = None
    text: str
    service: str | None = None
    reporter: str | None = None
    contact: str | None = Field(None, description="an e-mail address to be told at when it is over; needs consent")
    consent: bool | None = Field(None, description="whether the address may be kept until then")
    at: str | None = Field(None, description=f"when it was seen, like {_TIME}; default: now")


def intake_routes(deps: GatewayDeps, commit: GroupCommit, measures: Measures) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["events"])

    async def take(batch: AlertBatch) -> JSONResponse:
        measures.events.labels("alert", "rejected").inc(len(batch.rejected))
        rejected = [{"index": part.index, "error": part.error} for part in batch.rejected]
        if rejected and not batch.items:
            text = f"none of {len(rejected)} alerts can be read; the first: {batch.rejected[0].error}"
            return JSONResponse({"error": text, "rejected": rejected}, status_code=422)
        await commit.submit(batch.items)
        measures.events.labels("alert", "taken").inc(len(batch.items))
        return JSONResponse({"taken": len(batch.items), "rejected": rejected})

    @router.post(
        "/alerts/alertmanager", summary="Alertmanager webhook, version 4", openapi_extra=_body(_WEBHOOK_EXAMPLE)
    )
    async def alertmanager(request: Request) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Readable alerts are taken even if others in the batch are not; the answer names those and why."""
        payload = _json(await request.body())
        return await take(take_alerts(split_webhook(payload), source="alertmanager", received_at=deps.clock()))

    @router.post("/alerts", summary="Alerts in Alertmanager's API form", openapi_extra=_body(_ALERTS_EXAMPLE))
    async def alerts(request: Request) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """One alert or a list. Without `startsAt` an alert starts now; with a past `endsAt` it is resolved."""
        payload = _json(await request.body())
        parts = cast(list[object], payload) if isinstance(payload, list) else [payload]
        return await take(take_alerts(parts, source="api", received_at=deps.clock()))

    @router.post("/changes", status_code=202, summary="A deploy or a change of configuration")
    async def changes(change: Annotated[ChangeIn, Body()]) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        item = take_change(change.model_dump(exclude_none=True), source="api", received_at=deps.clock())
        await commit.submit([item])
        measures.events.labels("change", "taken").inc()
        return {"id": item.id}

    @router.post("/reports", status_code=202, summary="A user's report")
    async def reports(report: Annotated[ReportIn, Body()]) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        item = take_report(report.model_dump(exclude_none=True), source="api", received_at=deps.clock())
        await commit.submit([item])
        measures.events.labels("report", "taken").inc()
        return {"id": item.id}

    return router


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"body is not JSON ({error}): send a JSON object") from error


def _body(example: object) -> dict[str, Any]:
    schema = {"type": "array" if isinstance(example, list) else "object"}
    content = {"application/json": {"schema": schema, "example": json.loads(json.dumps(example))}}
    return {"requestBody": {"required": True, "content": content}}
