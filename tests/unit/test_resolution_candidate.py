"""Which commit: triage's word first, then suspects and time; never a change from after the onset."""

from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.suspect import Suspect
from quell.resolution.candidate import confirmed_first, is_doubtful, rank_candidates

pytestmark = pytest.mark.unit

ONSET = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def change(id: str, *, instance: str | None, minutes: float, service: str = "checkout", commit: str = "c") -> Change:
    at = ONSET - timedelta(minutes=minutes)
    kind = ChangeKind.CONFIG
    return Change(
        id=id, kind=kind, service=service, instance=instance, at=at, summary="", commit=commit or None, received_at=at
    )


def incident(*suspects: Suspect) -> Incident:
    return Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.CONTAINED,
        severity=Severity.MAJOR,
        title="",
        service="checkout",
        onset_at=ONSET,
        opened_at=ONSET,
        updated_at=ONSET,
        opened_because="",
        opened_by="sweep",
        suspects=suspects,
    )


def suspect(node: str, change: str | None = None) -> Suspect:
    return Suspect(node=node, metric="errors", score=0.5, reason="", change=change)


@pytest.mark.parametrize(
    ("suspects", "changes", "order"),
    [
        ([suspect("checkout-2")], [("a", "checkout-1", 1), ("b", "checkout-2", 5)], "ba"),
        ([suspect("checkout-2")], [("a", "checkout-2", 30), ("b", "checkout-2", 1)], "ba"),
        ([suspect("checkout-2", "a")], [("a", "checkout-2", 30), ("b", "checkout-2", 1)], "ab"),
        ([suspect("checkout-3"), suspect("checkout-2")], [("a", "checkout-2", 2), ("b", "checkout-3", 2)], "ba"),
        ([], [("a", None, 50), ("b", None, 2)], "ba"),
        ([suspect("checkout-2")], [("a", "checkout-2", -3)], ""),
        ([suspect("checkout-2")], [("a", "checkout-2", -0.3)], "a"),
    ],
)
def test_order(suspects: list[Suspect], changes: list[tuple[str, str | None, float]], order: str) -> None:
    ranked = rank_candidates(incident(*suspects), [change(i, instance=n, minutes=m) for i, n, m in changes])
    assert "".join(candidate.change.id for candidate in ranked) == order


def test_a_change_without_a_commit_is_no_candidate() -> None:
    assert rank_candidates(incident(), [change("a", instance=None, minutes=1, commit="")]) == ()


def test_the_reason_names_suspect_and_time() -> None:
    (candidate,) = rank_candidates(
        incident(suspect("checkout-2", "a")), [change("a", instance="checkout-2", minutes=1.5)]
    )
    assert "checkout-2 is suspect number 1, by this change" in candidate.reason
    assert "made 90 s before the onset" in candidate.reason


def test_a_confirmed_commit_is_first_whatever_speaks_for_the_others() -> None:
    """A pipeline may name it by its first digits; fewer than seven name nothing for sure."""
    full = "ab12cd34ef" * 4
    changes = [
        change("new", instance="checkout-2", minutes=1, commit="f" * 40),
        change("old", instance="checkout-1", minutes=50, commit=full[:8]),
        change("vague", instance="checkout-1", minutes=60, commit=full[:4]),
    ]
    ranked = rank_candidates(incident(suspect("checkout-2")), changes)
    first, *others = confirmed_first(ranked, full, "it flips the check")
    assert first.change.id == "old" and first.reason.startswith("it flips the check; ")
    assert [one.change.id for one in others] == ["new", "vague"]


@pytest.mark.parametrize(
    ("suspects", "changes", "doubtful"),
    [
        ([], [], True),
        ([], [("a", None, 1)], False),
        ([suspect("checkout-2", "a")], [("a", "checkout-2", 2), ("b", "checkout-1", 1)], False),
        ([suspect("checkout-2")], [("a", "checkout-2", 9), ("b", "checkout-2", 1)], True),
    ],
)
def test_a_bisection_is_worth_its_time_only_where_no_candidate_leads_clearly(
    suspects: list[Suspect], changes: list[tuple[str, str | None, float]], doubtful: bool
) -> None:
    ranked = rank_candidates(incident(*suspects), [change(i, instance=n, minutes=m) for i, n, m in changes])
    assert is_doubtful(ranked) is doubtful
