"""Decisions in: a person's answer to a plan, over the API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from quell.gateway.deps import GatewayDeps
from quell.gateway.openapi import NO_NUL, problems, record

_Text = Annotated[str, Field(pattern=NO_NUL["pattern"])]


class DecisionIn(BaseModel):
    """`subject` is the mitigation, fix or threshold version; `plan_hash` says which plan was read."""

    model_config = ConfigDict(extra="forbid")
    subject: _Text
    plan_hash: _Text
    person: _Text
    code: SecretStr = Field(description="one-time code; works once")
    answer: Literal["approve", "refuse"]
    comment: _Text = ""


_ANSWERS = {
    201: record("Decision", "Recorded."),
    **problems(
        {
            400: "The body is no JSON.",
            403: "A rule forbids it; the text names the rule.",
            404: "No such mitigation, fix or threshold version.",
            409: "It was answered already, or has moved on.",
            413: "The body is too large.",
            415: "The body is not sent as JSON.",
            422: "A field is wrong; the text says which and why.",
            503: "The store cannot take it now; the same request will work later.",
        }
    ),
}


def decision_routes(deps: GatewayDeps) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["decisions"])

    @router.post(
        "/decisions", status_code=201, summary="Approve or refuse a plan", response_model=None, responses=_ANSWERS
    )
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
