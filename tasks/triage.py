"""Triage at work: places alerts, reports and changes in incidents inside one writing transaction."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from quell.config.config import Config
from quell.incidents.alert import Alert, AlertOutcome, Ruling, rule_alert
from quell.incidents.change import Change
from quell.incidents.incident import (
    Incident,
    IncidentId,
    IncidentState,
    Severity,
    move_incident,
    remember_keywords,
)
from quell.incidents.report import Report
from quell.incidents.tally import Tally
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.triage.impact import title_of
from quell.triage.kinship import CHANGE_KEY, SERVICE_KEY
from quell.triage.linking import ONSET_SLACK
from quell.triage.placement import Candidate, Placement, place_alert
from quell.triage.relation import Relation
from quell.triage.telling import called, next_look
from tasks.assessment import BY, Assessment
from tasks.bridging import join_related
from tasks.ground import Case, Ground, new_id
from tasks.holds import Holds
from tasks.report_placement import ReportPlacement
from tasks.teller import Teller

MOST_FREED = 1000  # alerts read at once when a mute ends


class Triage:
    """One sitting: reads what the news can be related to, writes what it decides; `finish` ends it."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._now = now
        self.ground = Ground(tx, config, now)
        self.assessment = Assessment(tx, config, now)
        self._reports = ReportPlacement(tx, config, self.ground, self.assessment, now)
        self.teller = Teller(self.assessment, now)
        self._holds = Holds(tx, config, self.ground, now)
        self._touched: dict[IncidentId, None] = {}
        self._has_new_waiting = False

    # ---- what came in -------------------------------------------------------------------------------------------

    def take_alerts(self, alerts: Iterable[Alert]) -> None:
        """Take a batch; what inhibits others is noticed first, so that the order inside a batch does not matter."""
        news = list(alerts)
        self._holds.notice(news)
        for alert in news:
            self.take_alert(alert)

    def take_alert(self, alert: Alert) -> None:
        """Place a new episode, or record what is new about a known one; only what waits or is muted is placed anew."""
        known = self.ground.alert(alert.id)
        if known is None or known.outcome is None or (known.outcome is AlertOutcome.WAITING and known != alert):
            self.place(alert)
            return
        if known == alert:
            return
        is_over = known.status is not alert.status
        case = self.ground.case(alert.incident) if alert.incident else None
        self.ground.put(replace(alert, due_at=None, held_by=None) if is_over else alert)
        if is_over:
            self._holds.end(alert)
        if case is None:
            return
        case.incident = replace(case.incident, tally=case.tally.changed(known, alert))
        if is_over:
            self.teller.tell(case, "alert resolved", f"{called(alert)} is resolved", alert, by=alert.source)
        if known.annotations != alert.annotations or is_over:
            if alert.outcome is not AlertOutcome.DUPLICATE:
                case.news[alert.id] = alert
            self.touch(case)

    def take_change(self, change: Change) -> None:
        """Keep a change; incidents that it may have caused are looked at again, and may turn out to be one."""
        if self._tx.changes.get(change.id) is not None:
            return
        self._tx.changes.put(change)
        reach = self.ground.kinship.learn(change)
        cases = self.ground.active_at(SERVICE_KEY + name for name in sorted(reach))
        for case in cases:
            if self.assessment.link([change], case):
                self.touch(case)
        self._has_new_waiting |= bool(self._config.rules.open_after)
        if cases:
            self._mark_change(change, cases, reach)

    def _mark_change(self, change: Change, cases: list[Case], reach: frozenset[str]) -> None:
        window = self._config.grouping.after_change
        found = self._tx.alerts.find(
            {"incident": tuple(case.incident.id for case in cases)},
            after=("starts_at", change.at - ONSET_SLACK),
            before=("starts_at", change.at + window),
            limit=1000,
        )
        for alert in found:
            case = self.ground.case(alert.incident or "")
            if case and self.ground.kinship.service_of(alert) in reach:
                self.ground.step(case, [CHANGE_KEY + (change.commit or change.id)])
                self.touch(case)

    def take_report(self, report: Report) -> None:
        """Join a report to an incident, or let it wait; enough waiting reports are as good as an alert."""
        self._touch_all(self._reports.take(report))

    def finish(self) -> list[str]:
        """Free what is held no longer, join what belongs together, judge what was touched; returns those incidents."""
        for alert in self._reports.bursts():
            self.place(alert)
        self._free()
        self._place_waiting(has_news=self._has_new_waiting or any(self._case(id).has_grown for id in self._touched))
        while self._join_related():
            self._place_waiting(has_news=True)
        for incident_id in tuple(self._touched):
            case = self._case(incident_id)
            if case.incident.is_active:
                self._refresh(case)
            elif case.incident.state is not IncidentState.MERGED:
                self.assessment.evidence(case)  # it may be reopened: then the counts have to be right
                self._tx.incidents.put(case.incident)
        self.ground.flush()
        return [id for id in self._touched if self._case(id).incident.is_active]

    # ---- alerts -------------------------------------------------------------------------------------------------

    def place(self, alert: Alert) -> bool:
        """Decide on an alert that is in no incident; whether its outcome is new."""
        return self._carry_out(alert, self._decide(alert))

    def _carry_out(self, alert: Alert, placement: Placement) -> bool:
        same = (alert.outcome, alert.outcome_reason) == (placement.outcome, placement.reason)
        if same and alert.incident is None and placement.incident is None:
            self.ground.put(replace(alert, due_at=placement.due_at, held_by=placement.held_by))
            return False
        case = self._open(alert, placement.reason) if placement.outcome is AlertOutcome.OPENED else None
        if placement.incident:
            case = self.ground.case(placement.incident)
        decided = self._ruled(alert, placement, case)
        self.ground.put(decided)
        self._holds.watch(decided)
        if case is None:
            self._has_new_waiting |= decided.outcome is AlertOutcome.WAITING
            self._note(decided)
            return True
        self.ground.enter(case, decided)
        self._settle(case, decided, placement)
        return True

    def _decide(self, alert: Alert) -> Placement:
        grouping = self._config.grouping
        return place_alert(
            alert,
            candidates=self._candidates(alert),
            episodes=self.ground.episodes(alert),
            waiting=self.ground.waiting() if self._config.rules.open_after else (),
            kinship=self.ground.kinship,
            rules=self._config.rules,
            window=grouping.window,
            reopen=grouping.reopen,
            now=self._now,
            mute=self._holds.mute(alert),
        )

    def _ruled(self, alert: Alert, placement: Placement, case: Case | None) -> Alert:
        ruling = Ruling(
            at=self._now,
            outcome=placement.outcome,
            reason=placement.reason,
            rule=placement.rule,
            rule_at=placement.rule_at,
            incident=case.incident.id if case else None,
        )
        ruled = rule_alert(alert, ruling, due_at=placement.due_at, held_by=placement.held_by)
        return replace(ruled, is_flapping=placement.is_flapping)

    def _candidates(self, alert: Alert) -> list[Candidate]:
        links: dict[str, Relation] = {}
        for key, link in self.ground.kinship.sought_by(alert).items():
            for owner in self.ground.owners(key):
                if owner not in links or link.hops < links[owner].hops:
                    links[owner] = link
        alike = set(self.ground.owners(self.ground.kinship.alike(alert)))
        cases = (self.ground.case(owner) for owner in links)
        return [
            Candidate(incident=c.incident, link=links[c.incident.id], is_alike=c.incident.id in alike)
            for c in cases
            if c is not None
        ]

    def _settle(self, case: Case, alert: Alert, placement: Placement) -> None:
        if placement.reopens:
            self.assessment.reopen(case, alert, placement.reason)
        case.incident = remember_keywords(case.incident, alert.labels)
        is_told_before = placement.is_flapping and any(a.is_flapping for a in self.ground.episodes(alert))
        if alert.outcome is not AlertOutcome.OPENED and not is_told_before:
            self.teller.tell(case, f"alert {alert.outcome}", f"{called(alert)}: {placement.reason}", alert)
        self.touch(case)

    def _note(self, alert: Alert) -> None:
        text = f"{called(alert)} opens nothing: {alert.outcome_reason}"
        kind = f"alert {alert.outcome}"
        self._tx.timeline.append(Event(incident=None, at=self._now, kind=kind, by=BY, text=text, subject=alert.id))

    def _open(self, alert: Alert, reason: str) -> Case:
        catalog = self._config.catalog
        incident = Incident(
            id=new_id(self._tx),
            state=IncidentState.OPEN,
            severity=Severity.MINOR,
            title=title_of(self.assessment.effect(alert), catalog),
            service=self.ground.kinship.service_of(alert),
            onset_at=alert.starts_at,
            opened_at=self._now,
            updated_at=self._now,
            opened_because=f"{called(alert)}: {reason}",
            opened_by=alert.source,
            tally=Tally(),
        )
        case = Case(incident=incident)
        self.ground.add_case(case)
        self.assessment.say(case, "incident opened", incident.opened_because, subject=incident.id, by=alert.source)
        return case

    # ---- what is held back --------------------------------------------------------------------------------------

    def free(self, hold: str) -> bool:
        """Place what a hold kept back and still fires; whether that was all of it."""
        held = self.ground.held_by(hold, limit=MOST_FREED)
        self.ground.survey(held, self._holds.keys)
        for alert in held:
            self.place(alert)
        return len(held) < MOST_FREED

    def _free(self) -> None:
        while self._holds.freed:
            hold = self._holds.freed.popitem()[0]
            while not self.free(hold):
                self.ground.flush()  # what was placed is held no longer: the next part comes into sight

    def _join_related(self) -> bool:
        """Incidents that the news connected become one; whether any did."""
        cases = [self._case(id) for id in self._touched]
        grown = join_related(self._tx, self.ground, self.assessment, cases, self._config)
        for case in grown:
            self.touch(case)
        return bool(grown)

    def _place_waiting(self, *, has_news: bool) -> None:
        """What waits joins an incident that has grown, or opens one where enough came together."""
        while has_news:
            waiting = self.ground.waiting()
            self.ground.survey(waiting, self._holds.keys)
            has_news = False
            for alert in waiting:
                placement = self._decide(alert)
                if placement.outcome is not AlertOutcome.WAITING:
                    has_news |= self._carry_out(alert, placement)

    # ---- the incident as a whole --------------------------------------------------------------------------------

    def _refresh(self, case: Case) -> None:
        if case.incident.state is IncidentState.OPEN:
            self._touch_all(self._reports.join_waiting())
        self.assessment.assess(case)
        if case.incident.state is IncidentState.OPEN:
            best = case.incident.suspects[0] if case.incident.suspects else None
            why = f"first suspect {best.node}, score {best.score:.2f}" if best else "nothing stands out: look yourself"
            case.incident, move = move_incident(case.incident, IncidentState.TRIAGED, now=self._now, by=BY, why=why)
            self._tx.timeline.append(event_of(move))
        self.teller.tell_what_is_due(case)
        due_at = next_look(case.incident, self._config.grouping.quiet)
        self._tx.incidents.put(replace(case.incident, updated_at=self._now, due_at=due_at))

    def _case(self, id: str) -> Case:
        case = self.ground.case(id)
        assert case is not None, id
        return case

    def _touch_all(self, cases: Iterable[Case]) -> None:
        for case in cases:
            self.touch(case)

    def touch(self, case: Case) -> None:
        self._touched[case.incident.id] = None
