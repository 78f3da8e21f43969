"""Decisions in: a person's answer to a plan, over the API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from quell.gateway.deps import GatewayDeps


class DecisionIn(BaseModel):
    """`subject` is the mitigation, fix or threshold version; `plan_hash` says which plan was read."""

    model_config = ConfigDict(extra="forbid")
    subject: str
    plan_hash: str
    person: str
    code: SecretStr = Field(description="one-time code; works once")
    answer: Literal["approve", "refuse"]
    comment: str = ""


def decision_routes(deps: GatewayDeps) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["decisions"])

    @router.post("/decisions", status_code=201, summary="Approve or refuse a plan")
    def decide(decision: Annotated[DecisionIn, Body()]) -> Any:  # pyright: ignore[reportUnusedFunction]
        """The same check as on the incident page; the answer says which rule forbids it, if one does."""
        taken = deps.decide(
            subject=decision.subject,
            plan_hash=decision.plan_hash,
            person=decision.person,
            code=decision.code.get_secret_value(),
            answer=decision.answer,
            comment=decision.comment,
            channel="api",
        )
        return jsonable_encoder(taken, exclude={"code_step"})

    return router
