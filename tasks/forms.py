"""Forms: what a person fills in in the Prefect UI to ask for a mitigation, to answer a plan, to release."""

from prefect.input import RunInput
from pydantic import BaseModel, ConfigDict, Field

from quell.incidents.decision import Answer


class MitigationRequest(BaseModel):
    """Ask for a mitigation. It is a dry run until you switch that off: the plan is shown and nothing is touched."""

    model_config = ConfigDict(extra="forbid")
    playbook: str = Field("isolate-bad-instance", description="What to do: a playbook of the configuration")
    service: str = Field("", description="Needed: the service that is in trouble")
    target: str = Field(
        "", description="Needed: the instance, zone or client to act on; not for playbooks that act on whole services"
    )
    requested_by: str = Field("", description="Needed unless it is a dry run: your name; whoever asks cannot approve")
    reason: str = Field("", description="Why; it goes on the timeline and above the approver's form")
    incident: str = Field("", description="The incident it belongs to; may stay empty")
    dry_run: bool = Field(True, description="On: only show the plan. Off: do it, after approval where one is needed")
    mitigation: str = Field("", description="Leave empty; Quell names a plan here that it has stored itself")


class FixRequest(BaseModel):
    """Ask for a fix of your own. Left empty, Quell looks for the commit that did it and undoes that one."""

    model_config = ConfigDict(extra="forbid")
    place: str = Field("", description="The instance or service whose file it is; empty: the incident's service")
    key: str = Field("", description="The key to set, with dots: upstreams.payment.timeout_ms. Or else a commit")
    value: str = Field("", description="Its new value")
    commit: str = Field("", description="The commit to undo, where no key is set")
    requested_by: str = Field("", description="Needed: your name; whoever asks cannot approve")
    reason: str = Field("", description="Needed: why; it goes into the commit and above the approver's form")

    @property
    def is_given(self) -> bool:
        return any((self.place, self.key, self.value, self.commit, self.requested_by, self.reason))


class ReleaseRequest(BaseModel):
    """Take a mitigation back and verify that everything is as it was before."""

    model_config = ConfigDict(extra="forbid")
    mitigation: str = Field(description="The mitigation to undo, e.g. MIT-7: see the incident's page")
    requested_by: str = Field(description="Your name as in people.yaml; it goes on the timeline")
    reason: str = Field("released by hand", description="Why; it goes on the timeline")
    at_once: bool = Field(
        False, description="Off: a little at a time where its playbook says so. On: everything now, without looking"
    )


class ApprovalForm(RunInput):
    """Your answer to the plan above. The one-time code proves who you are and works once."""

    answer: Answer = Field(description="approve or refuse")
    person: str = Field(description="Your name as in people.yaml, not the requester's")
    one_time_code: str = Field(description="Six digits from your authenticator; each works once")
    comment: str = Field("", description="May stay empty; it goes on the timeline")
