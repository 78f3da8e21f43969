"""What the gateway needs from outside; whoever starts it hands these in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from quell.config.config import Config
from quell.incidents.anomaly import Anomaly
from quell.incidents.decision import Decision
from quell.incidents.errors import Unavailable
from quell.incidents.incident import Incident
from quell.incidents.mitigation import Plan
from quell.incidents.series import FloatArray
from quell.ports import Clock, Store
from quell.prevention.reminder import Duty
from quell.prevention.review_act import NO_REVIEW_DETAILS, ReviewDetails
from quell.prevention.weekly.section import WeeklyReport
from quell.response.rights import ActDetails

NO_DETAILS = ActDetails()


class Decide(Protocol):
    """The one check that every answer of a person passes; raises Refused, NotFound, Conflict or InvalidInput."""

    def __call__(
        self, *, subject: str, plan_hash: str, person: str, code: str, answer: str, comment: str, channel: str
    ) -> Decision: ...


class LabelAnomaly(Protocol):
    """The one check that every label passes; raises Refused, NotFound or InvalidInput."""

    def __call__(self, *, anomaly: str, label: str, person: str, why: str, code: str, channel: str) -> Anomaly: ...


class SignIn(Protocol):
    """Opens a session and returns its token; raises Refused or TooManyTries."""

    def __call__(self, *, person: str, password: str, code: str, address: str) -> str: ...


class Act(Protocol):
    """What a person does beside deciding (`quell.response.rights.Action`); returns what was done, in words."""

    def __call__(
        self,
        *,
        action: str,
        subject: str,
        person: str,
        code: str,
        why: str,
        is_signed_in: bool,
        details: ActDetails = NO_DETAILS,
    ) -> str: ...


class WorkOnReview(Protocol):
    """What a person does to a post-mortem (`quell.prevention.review_act`); returns what was done, in words."""

    def __call__(
        self,
        *,
        action: str,
        incident: str,
        person: str,
        code: str,
        is_signed_in: bool,
        details: ReviewDetails = NO_REVIEW_DETAILS,
    ) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartData:
    """The main signal of an incident or an anomaly; all arrays have shape (T,)."""

    title: str
    unit: str
    timestamps: FloatArray
    values: FloatArray
    lower: FloatArray | None = None
    upper: FloatArray | None = None


def no_series(_incident: Incident) -> ChartData | None:
    return None


def no_users_signal(_plan: Plan) -> ChartData | None:
    return None


def no_series_of(_anomaly: Anomaly) -> ChartData | None:
    return None


def takes_no_labels(*, anomaly: str, label: str, person: str, why: str, code: str, channel: str) -> Anomaly:  # noqa: ARG001
    raise Unavailable("this gateway was started without a way to label anomalies: use `quell anomaly label`")


def reports_no_week(_week: str) -> WeeklyReport:
    raise Unavailable("this gateway was started without a way to report on a week: use `quell weekly`")


def takes_no_sign_in(*, person: str, password: str, code: str, address: str) -> str:  # noqa: ARG001
    raise Unavailable("this gateway was started without a way to sign in")


def takes_no_acts(
    *,
    action: str,  # noqa: ARG001
    subject: str,  # noqa: ARG001
    person: str,  # noqa: ARG001
    code: str,  # noqa: ARG001
    why: str,  # noqa: ARG001
    is_signed_in: bool,  # noqa: ARG001
    details: ActDetails = NO_DETAILS,  # noqa: ARG001
) -> str:
    raise Unavailable("this gateway was started without a way to act: use `quell incident` and `quell release`")


def no_duties() -> tuple[Duty, ...]:
    return ()


def takes_no_review_acts(
    *,
    action: str,  # noqa: ARG001
    incident: str,  # noqa: ARG001
    person: str,  # noqa: ARG001
    code: str,  # noqa: ARG001
    is_signed_in: bool,  # noqa: ARG001
    details: ReviewDetails = NO_REVIEW_DETAILS,  # noqa: ARG001
) -> str:
    raise Unavailable("this gateway was started without a way to work on post-mortems: use `quell review`")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDeps:
    """`run_url` says where a person sees a Prefect run; the sources of charts may raise Unavailable."""

    store: Store
    config: Config
    clock: Clock
    decide: Decide
    run_url: Callable[[str], str]
    series_for: Callable[[Incident], ChartData | None] = no_series
    users_signal: Callable[[Plan], ChartData | None] = no_users_signal
    label: LabelAnomaly = takes_no_labels
    series_of: Callable[[Anomaly], ChartData | None] = no_series_of
    weekly: Callable[[str], WeeklyReport] = reports_no_week  # by name; empty: the last week that is over
    sign_in: SignIn = takes_no_sign_in
    act: Act = takes_no_acts
    review: WorkOnReview = takes_no_review_acts
    duties: Callable[[], tuple[Duty, ...]] = no_duties  # what all reviews wait for, the earliest date first
