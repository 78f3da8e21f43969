"""The story over the recording: Quell decides each step anew, and the recording shows whether it happened."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyotp.totp import TOTP

from deployments.demo.account import StepMissing
from deployments.demo.replay import Replay
from deployments.demo.story import APPROVER, BAD_INSTANCE, NOISY_CLIENT, Story
from quell.incidents.change import Change
from quell.incidents.incident import Incident, IncidentState, move_incident
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.threshold import ThresholdState
from quell.incidents.timeline import event_of
from tasks.approval import decide
from tasks.baselines import refresh_signal
from tasks.mitigation import apply_mitigation, judge_recovery, plan_for_incident, undo_mitigation
from tasks.resources import Resources
from tasks.review import write_review_of
from tasks.thresholds import recompute_of
from tasks.users import watch_users

_ANSWER_SECONDS = 8  # the time in which the approver reads the plan


@dataclass(slots=True, kw_only=True)
class RecordedStory(Story):
    """The live story's steps, each decided by Quell now and held against what the recording shows."""

    replay: Replay

    def tell(self) -> None:
        self.calm(0.0)
        self.bad_configuration()
        self.noisy_client()
        faults = self.witness.audit_faults()
        self.card.failures += [f"audit: {fault}" for fault in faults]
        if not faults:
            self.account.say("quell audit verify: the timeline is whole")

    @property
    def _res(self) -> Resources:
        return self.replay.res

    def calm(self, began: float) -> None:  # noqa: ARG002 - the recording knows when it began
        self.account.chapter("The shop of the recording runs calmly")
        self.replay.run_until(self.replay.recording.moments["bad configuration"] - timedelta(seconds=3))
        for signal in self._res.config.signals:
            refreshed = refresh_signal(self._res, signal)
            if refreshed.error:
                raise StepMissing(f"baseline of {signal}: {refreshed.error}")
        names = ", ".join(id.removeprefix("baseline:") for id in self.witness.baselines())
        self.account.say(f"baselines fitted on it: {names}")

    def _detect(self) -> Incident:
        account, witness = self.account, self.witness
        account.chapter(f"A bad configuration reaches {BAD_INSTANCE}")
        start = self._reach("bad configuration")
        change = account.wait_for("the change event", lambda: self._change(after=start), within=10)
        self.bad_commit = change.commit or ""
        self._mark("fault injected", start, f"git had {self.bad_commit[:10]}")
        account.say(f"committed and deployed: {self.bad_commit[:7]} {change.author}: {change.summary}")
        verdict = account.wait_for("an anomalous verdict", lambda: witness.anomaly(BAD_INSTANCE, start), within=60)
        self._mark("first anomalous verdict", verdict.at, verdict.reason)
        account.say(f"verdict on {verdict.signal} of {BAD_INSTANCE}: {verdict.reason}")
        incident = account.wait_for("an incident", lambda: witness.incident(start, instance=BAD_INSTANCE), within=30)
        self._mark("incident opened", incident.opened_at, incident.id)
        account.say(f"{incident.id}: {incident.title}")
        return incident

    def _contain(self, incident: Incident) -> None:
        planned = self._plan(incident, MitigationState.AWAITING_APPROVAL)
        self._mark("approval asked", self.replay.now, f"{planned.id} waits in the store, no Prefect run")
        self.account.say(f"why approval: {planned.plan.approval_reason}")
        self._tell_suspects(incident)
        self.replay.run(_ANSWER_SECONDS)
        answer = {"person": APPROVER, "code": self._code(APPROVER), "answer": "approve", "comment": "replay"}
        given = decide(self._res, subject=planned.id, plan_hash=planned.plan_hash, channel="recording", **answer)
        self._mark("approval given", given.at, f"by {given.person}, with a one-time code")
        self.account.say(f"{given.person} approves with a one-time code, checked as on every path")
        self._apply(planned, "contained")
        counts = self.witness.counts(incident.id)
        self.account.say(f"by now the incident holds {counts['alerts']} alerts and {counts['reports']} reports")

    def _resolve(self, incident: Incident) -> None:
        account, res = self.account, self._res
        account.chapter("The cause is mended (in the recording, by a person: Quell's own fix needs git)")
        bad = self.bad_commit
        change = account.wait_for("the reverting change", lambda: self._change(other_than=bad), within=90)
        author, commit = change.author or "somebody", (change.commit or "")[:10]
        self._mark("fix promoted", change.at, f"git had {commit} by {author}; no canary, no guard")
        account.say(f"committed and deployed: {commit[:7]} {author}: {change.summary}")
        self._move(incident.id, IncidentState.RESOLVING, author, f"{commit} undoes {bad[:10]}")
        held = self.witness.mitigation(incident.id)
        assert held is not None
        self._release(held, author, f"{commit} mends the cause", "containment released")
        released = self.replay.now
        judged = watch_users(res, self.witness.current(incident.id), released, sleep=self.replay.run)
        if judged.recovery is not Recovery.EFFECTIVE:
            raise StepMissing(f"users are not well after the release: {judged.reason}")
        self._move(incident.id, IncidentState.RESOLVED, author, judged.reason)
        account.say(f"{incident.id} is resolved: {judged.reason}")

    def _learn(self, incident: Incident) -> None:
        account, res = self.account, self._res
        account.chapter("The team learns from it")
        review = write_review_of(res, incident.id)
        self._mark("post-mortem written", review.written_at, f"{len(review.markdown.splitlines())} lines")
        account.say(f"post-mortem written; sign-off asked from {', '.join(s.team for s in review.sign_offs)}")
        recompute_of(res, incident.id)
        proposed = self.witness.thresholds(incident.id)
        if not proposed:
            raise StepMissing("no threshold was proposed from the recorded history")
        is_checked = proposed[0].state is ThresholdState.PROPOSED
        checked = "promtool accepts it" if is_checked else "rule file not checked and not kept, no promtool here"
        self._mark("thresholds proposed", self.replay.now, f"{proposed[0].id}; {checked}")
        for version in proposed:
            account.say(f"{version.id} {version.signal}: upper {version.upper}; {version.evidence['new limit']}")
        account.say(f"thresholds: {checked}")

    def _close(self, incident: Incident) -> None:
        self.account.say(f"signing and closing {incident.id} are not in the recording: people do that by commands")

    def noisy_client(self) -> None:
        account, witness, carol = self.account, self.witness, "carol"
        account.chapter("A client floods the shop (Alertmanager path, automatic)")
        start = self._reach("noisy client")
        self._mark("surge injected", start, f"client {NOISY_CLIENT}")
        labels = {"alertname": "NoisyClient", "client": NOISY_CLIENT}
        incident = account.wait_for("its incident", lambda: witness.incident(start, **labels), within=30, every=0.2)
        self._mark("alert path: incident opened", incident.opened_at, incident.id)
        account.say(f"{incident.id}: {incident.title}")
        applied = self._apply(self._plan(incident, MitigationState.PLANNED), "alert path: contained")
        self._reach("client is calm")
        account.say(f"the client is calm again; {carol} releases the limit")
        self._release(applied, carol, "the client is calm again", "alert path: released")

    def _plan(self, incident: Incident, state: MitigationState) -> Mitigation:
        planned = plan_for_incident(self._res, incident.id)
        if planned is None or planned.state is not state:
            raise StepMissing(f"the plan for {incident.id} is {planned.state if planned else 'missing'}, not {state}")
        self.account.say(f"plan {planned.id}: {_steps(planned)}")
        return planned

    def _apply(self, planned: Mitigation, milestone: str) -> Mitigation:
        applied = apply_mitigation(self._res, planned.id)
        if applied.state is not MitigationState.APPLIED:
            raise StepMissing(f"{planned.id} is {applied.state}, not applied")
        self._mark(milestone, self.replay.now, f"HAProxy shows {_steps(planned)}")
        self.account.say(f"the recorded HAProxy shows: {_steps(planned)}")
        judged = judge_recovery(self._res, planned.id, sleep=self.replay.run)
        self.account.say(f"{judged.id} is {judged.state}: {judged.recovery_reason}")
        if judged.state is not MitigationState.EFFECTIVE:
            raise StepMissing(f"{judged.id} is {judged.state}, not effective")
        return judged

    def _release(self, held: Mitigation, by: str, why: str, milestone: str) -> None:
        undone = undo_mitigation(self._res, held.id, by, why)
        if undone.state is not MitigationState.UNDONE:
            raise StepMissing(f"{undone.id} is {undone.state}, not undone")
        self._mark(milestone, self.replay.now, f"HAProxy shows {held.target} as before")
        self.account.say(f"the recorded HAProxy shows {held.target} as before")

    def _reach(self, moment: str) -> datetime:
        """Let time pass until the recording's script did this."""
        at = self.replay.recording.moments[moment]
        self.replay.run_until(at)
        return at

    def _change(self, *, after: datetime | None = None, other_than: str = "") -> Change | None:
        with self._res.store.reading() as tx:
            found = tx.changes.find(order="at")
        since = after.replace(microsecond=0) if after else None  # git's times have whole seconds
        return next((c for c in found if c.commit != other_than and (since is None or c.at >= since)), None)

    def _move(self, incident: str, to: IncidentState, by: str, why: str) -> None:
        with self._res.store.writing() as tx:
            current = tx.incidents.get(incident)
            assert current is not None
            moved, step = move_incident(current, to, now=self.replay.now, by=by, why=why)
            tx.incidents.put(moved)
            tx.timeline.append(event_of(step))

    def _mark(self, milestone: str, at: datetime, evidence: str) -> None:
        self.card.mark(milestone, at, f"recording: {evidence}")

    def _code(self, person: str) -> str:
        return TOTP((self.secrets / f"{person}.totp").read_text().strip()).at(self.replay.now)


def _steps(mitigation: Mitigation) -> str:
    return "; ".join(f"{step.action} {step.target}" for step in mitigation.plan.steps)
