"""The drill pages: how each was scored, the newest first, and the scorecard of one."""

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from quell.gateway.deps import GatewayDeps
from quell.gateway.rendering import Renderer
from quell.gateway.visitor import Door
from quell.incidents.drill import DRILL, Drill
from quell.incidents.errors import NotFound
from quell.ports import Transaction

SHOWN = 200


def drill_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    renderer = Renderer(deps)

    @router.get("/drills")
    def drills(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            held = _newest(tx)
        return renderer.show(request, door.visitor(request), "drills.html", drills=held)

    @router.get("/drills/{id}")
    def drill(request: Request, id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            document = tx.documents.get(id.upper())
        if document is None or document.kind != DRILL:
            error = NotFound(f"drill {id[:40]} is not in the store")
            return renderer.show(request, door.visitor(request), "problem.html", error=error, status=404)
        held = msgspec.convert(document.body, Drill)
        return renderer.show(request, door.visitor(request), "drill.html", drill=held)

    return router


def _newest(tx: Transaction) -> list[Drill]:
    found = tx.documents.find({"kind": DRILL}, order="updated_at", descending=True, limit=SHOWN)
    return [msgspec.convert(document.body, Drill) for document in found]
