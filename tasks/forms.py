"""Forms: what a person fills in in the Prefect UI to ask for a mitigation, to answer a plan, to release."""

from prefect.input import RunInput
from pydantic import BaseModel, Field

from quell.incidents.decision import Answer


class MitigationRequest(BaseModel):
    """Ask for a mitigation. It is a dry run until you switch that off: the plan is shown and nothing is touched."""

    playbook: str = Field(
        "isolate-bad-instance", description="A playbook of the configuration, e.g. isolate-bad-instance"
    )
    service: str = Field("", description="The service that is in trouble, e.g. checkout")
    target: str = Field("", description="The instance or client to act on, e.g. checkout-2")
    incident: str = Field("", description="The incident it belongs to, e.g. INC-42; may stay empty")
    reason: str = Field("", description="Why; it goes on the timeline")
    requested_by: str = Field("", description="Your name as in people.yaml; whoever asks cannot approve")
    dry_run: bool = Field(True, description="Only show the plan")
    mitigation: str = Field("", description="Leave empty. The responder names a plan here that is already stored")


class ReleaseRequest(BaseModel):
    """Take a mitigation back and verify that everything is as it was before."""

    mitigation: str = Field(description="The mitigation to undo, e.g. MIT-7")
    requested_by: str = Field(description="Your name; it goes on the timeline")
    reason: str = Field("released by hand", description="Why; it goes on the timeline")


class ApprovalForm(RunInput):
    """Your answer to the plan above. The one-time code proves who you are and works once."""

    answer: Answer = Field(description="approve or refuse")
    person: str = Field(description="Your name as in people.yaml")
    one_time_code: str = Field(description="Six digits from your authenticator")
    comment: str = Field("", description="May stay empty; it goes on the timeline")
