"""Bisection: which of the commits that could have done it flips a check from good to bad, in a tree of its own."""

import time
from collections.abc import Callable
from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.git import GitRepository
from quell.adapters.git_bisect import BisectTree, bisect_tree, left_trees, remove_left_tree
from quell.incidents.errors import QuellError
from quell.resolution.bisection import (
    Bisection,
    Outcome,
    Trial,
    TrialVerdict,
    flip_in_words,
)
from quell.resolution.candidate import is_doubtful
from tasks.bisect_ground import Ground, ground_of
from tasks.bisect_record import find_bisection, keep_bisection, ranked_candidates
from tasks.bisect_trial import Bench, try_commit
from tasks.fix import OPEN_FIXES, require_automation
from tasks.lease import hold, kept
from tasks.record import get_incident
from tasks.resources import Resources, resources
from tasks.runs import log

MOST_TRIALS = 20
LONGEST = timedelta(minutes=10)
LONGEST_IN_FLOW = timedelta(minutes=2)
Tell = Callable[[str], None]


def bisect_of(
    res: Resources, incident_id: str, *, by: str, longest: timedelta = LONGEST, tell: Tell = lambda _: None
) -> Bisection:
    """Confirm which commit did it, and put that on the incident's record: its commit is first from then on.

    Nothing that users reach is touched: commits are tried in a working tree of their own.

    Raises NotFound (no repository, no commit before the onset), InvalidInput (no check is configured, or it cannot be
    run) or Conflict (somebody else bisects it, or it was reopened meanwhile).
    """
    with hold(res, lease_of(incident_id), wait=timedelta(seconds=1)) as lease, kept(res, lease, longest * 1.5):
        with res.store.reading() as tx:
            incident = get_incident(tx, incident_id)
            ranked = ranked_candidates(tx, incident)
        ground = ground_of(res, incident, ranked)
        with bisect_tree(ground.git, incident_id, ground.bad) as tree:
            search = _Search(tree=tree, ground=ground, give_up=time.monotonic() + longest.total_seconds(), tell=tell)
            outcome, reason, commit = search.run()
        found = Bisection(
            incident=incident_id,
            service=ground.service,
            outcome=outcome,
            reason=reason,
            commit=commit,
            trials=tuple(search.trials),
            check=" ".join(ground.repository.trial or ground.repository.validate),
            at=res.clock(),
            life=incident.reopened,
        )
        keep_bisection(res, found, ground.git, ground.repository, by=by)
        return found


class _Search:
    """The trials of one bisection; each commit is tried once, except the two that are found, which answer again."""

    def __init__(self, *, tree: BisectTree, ground: Ground, give_up: float, tell: Tell) -> None:
        self._tree, self._ground, self._give_up, self._tell = tree, ground, give_up, tell
        self._bench = Bench(tree=tree, repository=ground.repository, instance=ground.instance)
        self._known: dict[str, Trial] = {}
        self.trials: list[Trial] = []

    def run(self) -> tuple[Outcome, str, str | None]:
        """The outcome, its reason in words, and the commit where one was found."""
        try:
            return self._run()
        except _GivenUp as error:
            return Outcome.UNCLEAR, str(error), None

    def _run(self) -> tuple[Outcome, str, str | None]:
        ground = self._ground
        at_onset = self._try(ground.bad)
        if at_onset.verdict is not TrialVerdict.BAD:
            reason = f"at the onset the check is {_and_said(at_onset)}: it does not see this trouble"
            return Outcome.NOT_SHOWN, reason, None
        if ground.likeliest and self._flips(ground.likeliest):  # then two trials are enough
            return self._confirmed(ground.likeliest)
        before = self._try(ground.good)
        if before.verdict is not TrialVerdict.GOOD:
            return Outcome.OLDER, f"the check is {_and_said(before)} before the oldest commit that was looked at", None
        found = self._tree.start(bad=ground.bad, good=ground.good, paths=ground.paths)
        while found.next:
            found = self._tree.mark(self._try(found.next).verdict)
        if not found.first_bad:
            could_be = ", ".join(commit[:12] for commit in found.could_be)
            return Outcome.UNCLEAR, f"it is one of {could_be}: those in between could not be tried", None
        return self._confirmed(found.first_bad)

    def _flips(self, commit: str) -> bool:
        parent = self._ground.git.parent(commit)
        if parent is None:
            return False
        return self._try(commit).verdict is TrialVerdict.BAD and self._try(parent).verdict is TrialVerdict.GOOD

    def _confirmed(self, commit: str) -> tuple[Outcome, str, str | None]:
        """Both answers once more: a check that answers by chance names a commit by chance."""
        parent = self._ground.git.parent(commit) or commit
        bad, good = self._try(commit, again=True), self._try(parent, again=True)
        if (bad.verdict, good.verdict) != (TrialVerdict.BAD, TrialVerdict.GOOD):
            return Outcome.UNCLEAR, f"the check contradicts itself: {bad.words} and {good.words} this time", None
        return Outcome.CONFIRMED, flip_in_words(bad, good), commit

    def _try(self, commit: str, *, again: bool = False) -> Trial:
        if commit in self._known and not again:
            return self._known[commit]
        if len(self.trials) >= MOST_TRIALS:
            raise _GivenUp(f"not found in {MOST_TRIALS} trials")
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise _GivenUp(f"out of time after {len(self.trials)} trials")
        trial = try_commit(self._bench, commit, longest=timedelta(seconds=left))
        self.trials.append(trial)
        self._known[commit] = trial
        self._tell(f"trial {len(self.trials)}: {trial.words}{f': {trial.said}' if trial.said else ''}")
        return trial


class _GivenUp(Exception):
    """The bound of a bisection is reached; what is known so far stands."""


def _and_said(trial: Trial) -> str:
    return f"{trial.verdict} at {trial.commit[:12]}{f' ({trial.said})' if trial.said else ''}"


def lease_of(incident_id: str) -> str:
    return f"bisect {incident_id}"


def remove_left_trees(res: Resources, git: GitRepository) -> list[str]:
    """The working trees of bisections whose process died; a sentence for each."""
    said: list[str] = []
    for name in left_trees(git):
        with res.store.reading() as tx:
            lease = tx.leases.get(lease_of(name.upper()))
        if lease is None or not lease.is_held(res.clock()):
            remove_left_tree(git, name)
            said.append(f"the working tree of a bisection of {name.upper()} that had died is removed")
    return said


def confirm_cause_of(res: Resources, incident_id: str) -> str:
    """What the flow asks before it undoes anything: a confirmation where several commits could have done it.

    Only where a trial is configured: that says that it is safe. What fails here stops no fix.
    """
    require_automation(res)
    with res.store.reading() as tx:
        incident = get_incident(tx, incident_id)
        ranked = ranked_candidates(tx, incident)
        is_open = bool(tx.fixes.find({"incident": incident_id, "state": OPEN_FIXES}))
        earlier = find_bisection(tx, incident)
    if is_open or earlier is not None:
        return earlier.reason if earlier else "a fix is in the making"
    try:
        if not ground_of(res, incident, ranked).repository.trial:
            return "no trial is configured"
        if not is_doubtful(ranked):
            return "the likeliest commit is clear"
        found = bisect_of(res, incident_id, by="quell", longest=LONGEST_IN_FLOW, tell=_log)
    except QuellError as error:
        return f"not confirmed: {error}"
    return f"{found.outcome}: {found.reason}"


def _log(text: str) -> None:
    log().info("%s", text)


@task(name="confirm the cause", task_run_name="confirm the cause of {incident}", cache_policy=NO_CACHE)
def confirm_cause(incident: str) -> str:
    """Where several commits could have done it, find by bisection the one that did; what came of it, in words."""
    said = confirm_cause_of(resources(), incident)
    log().info("%s", said)
    return said
