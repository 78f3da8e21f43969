"""The story of the demo: a bad configuration through the whole lifecycle, then a noisy client on the fast path."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pyotp.totp import TOTP

from deployments.demo.account import Account, StepMissing
from deployments.demo.closing import close_incident
from deployments.demo.reviewing import approve_fix
from deployments.demo.scorecard import Scorecard
from deployments.demo.witness import Witness
from deployments.sandbox.credentials import credentials
from quell.incidents.incident import Incident
from quell.incidents.mitigation import MitigationState
from tasks.runs import resume_run, resumed_at, run_state, run_url, start_run

BAD_INSTANCE = "checkout-2"
BAD_SERVER = "be_checkout/checkout-2"
NOISY_CLIENT = "batch-importer"
APPROVER = "bob"
CALM_SECONDS = 75


@dataclass(slots=True)
class Story:
    """Drives and witnesses; every wait that runs out raises StepMissing."""

    account: Account
    witness: Witness
    card: Scorecard
    secrets: Path
    is_interactive: bool
    bad_commit: str = ""

    def calm(self, began: float) -> None:
        """Let the shop run until there is history, then fit the baselines on it."""
        say = self.account.say
        left = CALM_SECONDS - (time.monotonic() - began)
        if left > 0:
            say(f"the shop runs calmly for another {left:.0f} s, so that there is history to fit baselines on")
            until = time.monotonic() + left
            self.account.wait_for("calm history", lambda: time.monotonic() >= until, within=left + 5)
        run = start_run("refresh-baselines/refresh-baselines", {}, key=f"demo {datetime.now(UTC)}")
        self._finished("refresh-baselines", run, within=60)
        say(f"baselines fitted: {', '.join(id.removeprefix('baseline:') for id in self.witness.baselines())}")
        load = self.witness.load(10)
        say(f"users: {load['rate']:.0f} requests/s, {load['errors']} errors, p99 {load['p99_ms']:.0f} ms")

    def bad_configuration(self) -> None:
        """The incident of the design, section 1."""
        incident = self._detect()
        self._contain(incident)
        self._resolve(incident)
        self._learn(incident)
        self._close(incident)

    def noisy_client(self) -> None:
        """Alertmanager's path: no approval needed, contained within seconds."""
        account, witness, card = self.account, self.witness, self.card
        account.chapter("A client floods the shop (Alertmanager path, automatic)")
        start = self._fault("noisy-client")
        card.mark("surge injected", start, f"client {NOISY_CLIENT}")
        account.say(f'client "{NOISY_CLIENT}" sends many times its usual load')
        limit = account.wait_for(
            "a limit for the client in HAProxy", lambda: witness.client_limit(NOISY_CLIENT), within=60, every=0.1
        )
        card.mark("alert path: contained", _now(), f"HAProxy's map: {NOISY_CLIENT} {limit}/s")
        account.say(f"HAProxy limits {NOISY_CLIENT} to {limit} requests/s; other clients are not touched")
        incident = account.wait_for("its incident", lambda: witness.incident(start, client=NOISY_CLIENT), within=10)
        card.mark("alert path: incident opened", incident.opened_at, incident.id)
        account.say(f"{incident.id}: {incident.title} — {self._page(incident)}")
        account.wait_for(
            "recovery judged effective", lambda: self._mitigation_is(incident, MitigationState.EFFECTIVE), within=120
        )
        mitigation = witness.mitigation(incident.id)
        assert mitigation is not None
        account.say(f"{mitigation.id} is effective: {mitigation.recovery_reason}")
        self._clear("noisy-client")
        account.say("the client is calm again; a person releases the limit")
        start_run(
            "release/release",
            {"request": {"mitigation": mitigation.id, "reason": "the client is calm again", "requested_by": "carol"}},
            key=f"demo release {mitigation.id}",
            name=f"release {mitigation.id}",
        )
        account.wait_for("the limit is gone", lambda: witness.client_limit(NOISY_CLIENT) is None, within=60)
        card.mark("alert path: released", _now())
        account.say("the limit is gone from HAProxy's map")

    def _detect(self) -> Incident:
        account, witness, card = self.account, self.witness, self.card
        account.chapter(f"A bad configuration reaches {BAD_INSTANCE}")
        start = self._fault("bad-config")
        self.bad_commit = witness.git("rev-parse", "HEAD")
        card.mark("fault injected", start, f"git {self.bad_commit[:10]}")
        account.say(f"committed and deployed: {witness.git('log', '-1', '--format=%h %an: %s')}")
        for text in ("checkout says internal error when I pay", "I cannot pay, checkout fails every third time"):
            self._report(text)
        account.say("two users report it")
        verdict = account.wait_for("an anomalous verdict", lambda: witness.anomaly(BAD_INSTANCE, start), within=90)
        card.mark("first anomalous verdict", verdict.at, verdict.reason)
        account.say(f"verdict on {verdict.signal} of {BAD_INSTANCE}: {verdict.reason}")
        incident = account.wait_for("an incident", lambda: witness.incident(start, instance=BAD_INSTANCE), within=30)
        card.mark("incident opened", incident.opened_at, incident.id)
        account.say(f"{incident.id}: {incident.title} — {self._page(incident)}")
        return incident

    def _contain(self, incident: Incident) -> None:
        account, witness, card = self.account, self.witness, self.card
        mitigation = account.wait_for(
            "a mitigation that waits for approval",
            lambda: self._mitigation_is(incident, MitigationState.AWAITING_APPROVAL),
            within=60,
        )
        run = account.wait_for("its run", lambda: self._suspended_run(incident), within=60)
        card.mark("approval asked", _now(), f"run of {mitigation.id} is suspended")
        account.say(f"plan {mitigation.id}: {'; '.join(s.action + ' ' + s.target for s in mitigation.plan.steps)}")
        account.say(f"why approval: {mitigation.plan.approval_reason}")
        account.say(f"suspended in Prefect: {run_url(run)}")
        self._tell_suspects(incident)
        if self.is_interactive:
            self._invite(mitigation.id)
        else:
            form = {"answer": "approve", "person": APPROVER, "one_time_code": self._code(APPROVER), "comment": "demo"}
            resume_run(run, form)
            account.say(f"{APPROVER} approves through the API that the form uses")
        account.wait_for(
            "the approval in the record",
            lambda: self._approved(incident),
            within=900 if self.is_interactive else 45,
        )
        given = resumed_at(run) or self._approved_at(incident)
        card.mark("approval given", given, f"by {self._approver(incident)}, accepted by Prefect")
        account.wait_for(
            f"{BAD_SERVER} drained", lambda: witness.server_state(BAD_SERVER).startswith("drain"), within=45, every=0.1
        )
        drained = _now()
        account.say(f"HAProxy: {BAD_SERVER} is {witness.server_state(BAD_SERVER)}")
        account.wait_for("users see no more errors", lambda: witness.load()["errors"] == 0, within=45)
        card.mark("contained", drained, f"HAProxy: {BAD_SERVER} drained; load generator: no errors")
        account.say("the load generator sees no more errors")
        account.wait_for(
            "recovery judged from user-facing signals",
            lambda: witness.current(incident.id).contained_at,
            within=120,
        )
        judged = witness.mitigation(incident.id)
        account.say(f"{judged.id} is {judged.state}: {judged.recovery_reason}" if judged else "")

    def _resolve(self, incident: Incident) -> None:
        account, witness, card = self.account, self.witness, self.card
        account.chapter("The cause is mended")
        approve_fix(account, witness, self.secrets, incident, self._invite if self.is_interactive else None)
        file = f"services/{BAD_INSTANCE}.yaml"
        bad = witness.git("log", "-1", "--format=%H", "--grep", "timeout", "--", file) or witness.git(
            "rev-parse", "HEAD"
        )
        good = witness.git("show", f"{bad}^:{file}")
        account.wait_for(
            "the file in git as it was before", lambda: witness.git("show", f"main:{file}") == good, within=120
        )
        account.say(f"git: {witness.git('log', '-1', '--format=%h %an: %s', 'main')}")
        fix = account.wait_for("a promoted fix", lambda: self._promoted(incident), within=180)
        running = witness.instance_config(BAD_INSTANCE)["commit"]
        if not running.startswith(fix.fix_commit or "?") and not (fix.fix_commit or "?").startswith(running):
            raise StepMissing(f"{BAD_INSTANCE} runs commit {running}, the fix is {fix.fix_commit}")
        card.mark("fix promoted", fix.updated_at, f"git and {BAD_INSTANCE} both at {running[:10]}")
        account.say(f"{fix.id} promoted: {fix.canary_result}")
        account.say(f"guard {fix.guard}: {fix.guard_proof}")
        account.wait_for(
            f"{BAD_SERVER} back in service", lambda: witness.server_state(BAD_SERVER).startswith("ready 100"), within=90
        )
        card.mark("containment released", _now(), f"HAProxy: {BAD_SERVER} {witness.server_state(BAD_SERVER)}")
        account.say(f"HAProxy: {BAD_SERVER} is {witness.server_state(BAD_SERVER)}")

    def _close(self, incident: Incident) -> None:
        close_incident(self.account, self.witness, self.secrets, incident)

    def _learn(self, incident: Incident) -> None:
        account, witness, card = self.account, self.witness, self.card
        account.chapter("The team learns from it")
        review = account.wait_for("the post-mortem", lambda: witness.review(incident.id), within=120)
        card.mark("post-mortem written", review.written_at, f"{len(review.markdown.splitlines())} lines")
        account.say(f"post-mortem written; sign-off asked from {', '.join(s.team for s in review.sign_offs)}")
        proposed = account.wait_for("proposed thresholds", lambda: witness.thresholds(incident.id) or None, within=120)
        rules = witness.config.connections.prometheus_rules
        assert rules is not None
        path = account.wait_for(
            "a rule file that promtool accepts",
            lambda: witness.rule_file_is_accepted(rules.parent / "proposed"),
            within=30,
        )
        card.mark("thresholds proposed", _now(), f"promtool accepts {path.name}")
        for version in proposed:
            limit = f"score {version.score:g}" if version.score is not None else f"upper {version.upper}"
            account.say(f"{version.id} {version.signal}: {limit} {version.evidence.get('summary', '')}".rstrip())

    def _mitigation_is(self, incident: Incident, state: MitigationState) -> Any:
        found = self.witness.mitigation(incident.id)
        if found is not None and found.state in (MitigationState.REFUSED, MitigationState.UNDO_FAILED):
            raise StepMissing(f"{found.id} is {found.state}: see {self._page(incident)}")
        return found if found is not None and found.state is state else None

    def _suspended_run(self, incident: Incident) -> str | None:
        found = self.witness.mitigation(incident.id)
        if found is None or found.flow_run is None or run_state(found.flow_run) != "paused":
            return None
        return found.flow_run

    def _approved(self, incident: Incident) -> bool:
        found = self.witness.mitigation(incident.id)
        return found is not None and found.approved_at is not None

    def _approved_at(self, incident: Incident) -> datetime:
        found = self.witness.mitigation(incident.id)
        assert found is not None and found.approved_at is not None
        return found.approved_at

    def _approver(self, incident: Incident) -> str:
        found = self.witness.mitigation(incident.id)
        return found.approved_by or "?" if found else "?"

    def _promoted(self, incident: Incident) -> Any:
        with self.witness.store.reading() as tx:
            fixes = tx.fixes.find({"incident": incident.id, "state": "promoted"})
        return fixes[0] if fixes else None

    def _tell_suspects(self, incident: Incident) -> None:
        current = self.witness.current(incident.id)
        for rank, suspect in enumerate(current.suspects[:3], 1):
            self.account.say(f"suspect {rank}: {suspect.node} ({suspect.score:.2f}) {suspect.reason}")
        first = current.suspects[0] if current.suspects else None
        if first is None or first.node != BAD_INSTANCE:
            self.card.failures.append(f"first suspect is {first.node if first else 'nobody'}, not {BAD_INSTANCE}")
        if not current.changes:
            self.card.failures.append("the configuration change is not linked to the incident")
        counts = self.witness.counts(incident.id)
        self.account.say(f"one incident holds {counts['alerts']} alerts and {counts['reports']} reports")
        if counts["incidents"] != 1:
            self.card.failures.append(f"{counts['incidents']} incidents opened for one cause")

    def _invite(self, subject: str, person: str = APPROVER) -> None:
        self.account.say("Your turn: open the link, press Resume, and approve; or refuse, and watch what happens.")
        secret = (self.secrets / f"{person}.totp").read_text().strip()
        self.account.say(f"You are {person}. One-time code now: {self._code(person)} (secret {secret})")
        password = (self.secrets / f"{person}.password").read_text().strip()
        self.account.say(f"On the incident's page: sign in as {person} with password {password}")
        self.account.say(f"Or: quell approve {subject} --person {person} --code CODE")

    def _code(self, person: str) -> str:
        return TOTP((self.secrets / f"{person}.totp").read_text().strip()).now()

    def _fault(self, name: str) -> datetime:
        """Switch a fault on; returns when it began."""
        began = _now()
        self.witness.sandbox.inject(name)
        return began

    def _clear(self, name: str) -> None:
        self.witness.sandbox.clear(name)

    def _report(self, text: str) -> None:
        body = {"text": text, "service": "checkout", "reporter": "a customer"}
        url = f"{self.witness.config.gateway_url}/api/v1/reports"
        httpx.post(url, json=body, headers=credentials(self.secrets, "support-desk"), timeout=10).raise_for_status()

    def _finished(self, what: str, run: str, *, within: float) -> None:
        def state() -> str | None:
            found = run_state(run)
            if found in ("failed", "crashed", "cancelled"):
                raise StepMissing(f"{what} ended as {found}: {run_url(run)}")
            return found if found == "completed" else None

        self.account.wait_for(what, state, within=within, every=0.5)

    def _page(self, incident: Incident) -> str:
        return f"{self.witness.config.gateway_url}/incidents/{incident.id}"


def _now() -> datetime:
    return datetime.now(UTC)
