"""Outcomes: what came of mitigations; the one count that the autonomy ladder, `quell playbook` and the report share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.mitigation import PENDING_STATES, Mitigation, MitigationState, Recovery

FALSE_ISOLATION = "false isolation: "  # how the reason of such a judgement begins
_UNUSED = PENDING_STATES | {MitigationState.REFUSED, MitigationState.EXPIRED}
NONE_REFUSED: Mapping[str, int] = {}


def was_used(mitigation: Mitigation) -> bool:
    """It touched something, or was about to: neither waiting, nor refused, nor left without an answer."""
    return mitigation.state not in _UNUSED


def has_failed(mitigation: Mitigation) -> bool:
    """It did not help, or could not be taken back. What could not be told counts neither way."""
    return mitigation.recovery is Recovery.INEFFECTIVE or mitigation.state is MitigationState.UNDO_FAILED


def has_helped(mitigation: Mitigation) -> bool:
    """Users recovered, and it could be taken back as far as is known."""
    return mitigation.recovery is Recovery.EFFECTIVE and not has_failed(mitigation)


def is_false_isolation(mitigation: Mitigation) -> bool:
    """A healthy part was taken out by mistake."""
    return mitigation.recovery_reason.startswith(FALSE_ISOLATION)


def successes_since_failure(past: Iterable[Mitigation]) -> tuple[int, str]:
    """How often it helped since it last failed, and which one that was; `past` is the newest first."""
    successes = 0
    for mitigation in past:
        if has_failed(mitigation):
            return successes, mitigation.id
        successes += has_helped(mitigation)
    return successes, ""


def time_to_effect(mitigation: Mitigation) -> timedelta | None:
    """From the effect until users had recovered and it had held; None where it did not help."""
    if mitigation.applied_at is None or mitigation.judged_at is None or not has_helped(mitigation):
        return None
    return max(mitigation.judged_at - mitigation.applied_at, timedelta(0))


def capacity_taken(mitigation: Mitigation, now: datetime) -> timedelta:
    """The capacity that it took from its service, as time of the whole service: a third for 30 s is 10 s."""
    share, since = mitigation.plan.blast_radius.capacity_share, mitigation.applied_at
    if since is None or share <= 0:
        return timedelta(0)
    return share * max((mitigation.ended_at or now) - since, timedelta(0))


def middle(sorted_times: Sequence[timedelta]) -> timedelta | None:
    """The median; None of nothing.

    >>> middle([timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=9)])
    datetime.timedelta(seconds=2)
    """
    if not sorted_times:
        return None
    half = len(sorted_times) // 2
    return sorted_times[half] if len(sorted_times) % 2 else (sorted_times[half - 1] + sorted_times[half]) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What mitigations took without helping anybody. `capacity` is time of the whole service.

    `wrongly_refused` are requests of clients within their everyday use, whether the mitigation helped or not.
    """

    false_isolations: int = 0
    undo_failed: int = 0
    capacity: timedelta = timedelta(0)
    wrongly_refused: int = 0

    @property
    def is_none(self) -> bool:
        return self == Harm()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What came of the uses of one playbook. `unknown` are those that could not be judged, or not yet."""

    uses: int = 0
    effective: int = 0
    failed: int = 0
    to_effect: tuple[timedelta, ...] = ()  # sorted
    harm: Harm = Harm()
    last_used_at: datetime | None = None

    @property
    def unknown(self) -> int:
        return self.uses - self.effective - self.failed

    @property
    def success_share(self) -> float | None:
        """Of those that could be judged; None where there are none."""
        judged = self.effective + self.failed
        return self.effective / judged if judged else None


def count_outcomes(
    past: Iterable[Mitigation], now: datetime, wrongly_refused: Mapping[str, int] = NONE_REFUSED
) -> Outcomes:
    """`wrongly_refused` counts requests by the id of a safeguard."""
    used = [mitigation for mitigation in past if was_used(mitigation)]
    idle = [m for m in used if m.recovery in (Recovery.INEFFECTIVE, Recovery.INCONCLUSIVE)]
    return Outcomes(
        uses=len(used),
        effective=sum(map(has_helped, used)),
        failed=sum(map(has_failed, used)),
        to_effect=tuple(sorted(took for m in used if (took := time_to_effect(m)) is not None)),
        harm=Harm(
            false_isolations=sum(map(is_false_isolation, used)),
            undo_failed=sum(m.state is MitigationState.UNDO_FAILED for m in used),
            capacity=sum((capacity_taken(m, now) for m in idle), timedelta(0)),
            wrongly_refused=sum(wrongly_refused.get(m.id, 0) for m in used),
        ),
        last_used_at=max((m.created_at for m in used), default=None),
    )


def by_playbook(past: Iterable[Mitigation]) -> Mapping[tuple[str, str], tuple[Mitigation, ...]]:
    """Playbook and kind of alert -> its mitigations, in their order; the kind is empty where a person asked."""
    groups: dict[tuple[str, str], list[Mitigation]] = {}
    for mitigation in past:
        groups.setdefault((mitigation.playbook, mitigation.answers), []).append(mitigation)
    return {key: tuple(group) for key, group in sorted(groups.items())}


def harm_in_words(harm: Harm) -> str:
    """
    >>> harm_in_words(Harm(false_isolations=1, capacity=timedelta(seconds=90), wrongly_refused=1200))
    '1 false isolation, 90 s of capacity without use, 1,200 requests wrongly refused'
    """
    isolations = "isolation" if harm.false_isolations == 1 else "isolations"
    parts = [f"{harm.false_isolations} false {isolations}"] * bool(harm.false_isolations)
    parts += [f"{harm.undo_failed} undo failed"] * bool(harm.undo_failed)
    if harm.capacity >= timedelta(seconds=1):
        parts.append(f"{harm.capacity.total_seconds():,.0f} s of capacity without use")
    parts += [f"{harm.wrongly_refused:,} requests wrongly refused"] * bool(harm.wrongly_refused)
    return ", ".join(parts) or "none"
