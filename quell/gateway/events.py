"""The streams by which pages hear of changes."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from quell.gateway.live import EVERYTHING, Live
from quell.gateway.visitor import Door, SignInNeeded

# A proxy must neither keep nor collect what is meant to arrive at once.
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


def event_routes(door: Door, live: Live) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])

    async def answer(request: Request, incident: str) -> StreamingResponse:
        def is_welcome() -> bool:
            try:
                door.reader(request)
            except SignInNeeded:
                return False
            return True

        events = await live.stream(incident, _since(request), is_welcome)
        return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)

    @router.get("/events")
    async def of_all(request: Request) -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        return await answer(request, EVERYTHING)

    @router.get("/incidents/{incident_id}/events")
    async def of_one(request: Request, incident_id: str) -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        return await answer(request, incident_id)

    return router


def _since(request: Request) -> int | None:
    """The version that the page shows: the browser's word after a reconnect, the page's own before."""
    said = request.headers.get("last-event-id") or request.query_params.get("since", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
