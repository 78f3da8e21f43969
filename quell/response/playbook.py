"""A playbook: the written answer to a kind of trouble, as a platform engineer keeps it in YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from quell.incidents.incident import Severity
from quell.incidents.matcher import Matcher
from quell.incidents.notification import MITIGATION_KINDS, NotificationKind
from quell.response.autonomy import Autonomy
from quell.response.release import ReleaseRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTemplate:
    """One step before its target is known.

    `{target}`, `{instance}`, `{server}`, `{service}`, `{zone}` and `{client}` are filled in from the incident's
    suspect; in a zone, a step that names an instance or a server is one step for each of the zone's instances, side
    by side. `with_previous` starts it together with the step before it. A step that does not get through is tried
    `retries` times more; the wait before is chance, up to `backoff`, which doubles each time.
    """

    actuator: str
    action: str
    target: str
    params: Mapping[str, str | int | float] = field(default_factory=dict[str, str | int | float])
    timeout: timedelta = timedelta(seconds=10)
    retries: int = 2
    backoff: timedelta = timedelta(milliseconds=200)
    with_previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRule:
    """Recovered means: the user-facing `signal` is back inside its limit for `hold`, before `deadline`.

    A `preventive` playbook acts before users are hurt: it counts as effective when the signal stayed inside.
    """

    signal: str
    below: float | None = None  # in the signal's unit; None: below the baseline's upper bound
    hold: timedelta = timedelta(seconds=15)
    deadline: timedelta = timedelta(minutes=2)
    preventive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """A person must agree when the plan takes more than `above_capacity_share` of the service's live capacity.

    0.0 asks for every plan that takes any capacity, `always` for every plan, 1.0 for none. As many different persons
    as `approvers` must agree, or what `approvers_by_severity` says for the incident. Where nobody has answered for
    `escalate_after`, `escalate_to` is told: names of people, of roles, or of notification receivers.
    """

    always: bool = False
    above_capacity_share: float = 0.25
    roles: tuple[str, ...] = ("approver",)
    deadline: timedelta = timedelta(minutes=15)
    approvers: int = 1
    approvers_by_severity: Mapping[Severity, int] = field(default_factory=dict[Severity, int])
    escalate_after: timedelta | None = None
    escalate_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Never leave the service below `capacity_floor` of its full capacity; wait `cooldown` between runs on a target.

    `per_hour` is how often the playbook may be planned for one service in any hour. No step of a plan is tried again
    when the plan has been at it for longer than `retry_budget`: what cannot be done by then is undone.
    A safeguard that refuses more than
    the share `most_refused` of the requests of clients within their everyday use, over `refused_window`, is lifted.
    """

    capacity_floor: float = 0.5
    cooldown: timedelta = timedelta(minutes=5)
    per_hour: int = 6
    retry_budget: timedelta = timedelta(seconds=30)
    most_refused: float | None = None  # 0..1; None: it is measured and shown, and nothing is done about it
    refused_window: timedelta = timedelta(minutes=1)


# What a playbook may ask to be told: in this order people read it.
TELLABLE = tuple(
    kind
    for kind in NotificationKind
    if kind in MITIGATION_KINDS | {NotificationKind.APPROVAL, NotificationKind.UNDO_FAILED, NotificationKind.PAGE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRule:
    """How the playbook's mitigations are told: `to` whom (receivers, people, roles) and of which `kinds`.

    What became of a mitigation (applied, undone, ...) is told to nobody unless `kinds` names it: to `to`, or without
    it to whom the routes name. Of approvals, undos that failed and pages `to` hear beside whom the routes name.
    """

    to: tuple[str, ...] = ()
    kinds: tuple[NotificationKind, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLimits:
    """What holds over all playbooks and services together.

    `most_active` mitigations at once and `per_hour` planned in any hour; what Quell does by itself needs at least
    `evidence_kinds` independent kinds of evidence, and otherwise asks a person.
    """

    most_active: int = 5
    per_hour: int = 20
    evidence_kinds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """`matchers` select the incidents it answers (on the labels of any of their alerts, plus `service`).

    One without steps touches nothing: it pages people.
    """

    name: str
    description: str
    owner: str
    matchers: tuple[Matcher, ...]
    target_kind: str  # instance | client | service | zone: what a suspect must name for the playbook to apply
    min_confidence: float = 0.0
    steps: tuple[StepTemplate, ...]
    recovery: RecoveryRule = RecoveryRule(signal="")
    approval: ApprovalPolicy = ApprovalPolicy()
    limits: Limits = Limits()
    autonomy: Autonomy = field(default_factory=Autonomy)
    release: ReleaseRule = field(default_factory=ReleaseRule)
    notification: NotificationRule = NotificationRule()
    expires_after: timedelta = timedelta(hours=1)
    runbook: str = ""
