"""The teller: news of alerts on an incident's timeline, at once, or in a storm counted and told together."""

from dataclasses import replace
from datetime import datetime

from quell.incidents.alert import Alert
from quell.triage.telling import gathered_lines, is_told_at_once, with_gathered
from tasks.assessment import BY, Assessment
from tasks.ground import Case


class Teller:
    def __init__(self, assessment: Assessment, now: datetime) -> None:
        self._assessment = assessment
        self._now = now

    def tell(self, case: Case, kind: str, text: str, alert: Alert, *, by: str = BY) -> None:
        if is_told_at_once(case.tally, self._now):
            self._assessment.say(case, kind, text, subject=alert.id, by=by)
            case.incident = replace(case.incident, tally=replace(case.tally, told_at=self._now))
        else:
            case.incident = replace(case.incident, tally=with_gathered(case.tally, kind, text))

    def tell_what_is_due(self, case: Case) -> None:
        """What was gathered, if the last line is old enough."""
        if is_told_at_once(replace(case.tally, gathered={}), self._now):
            self.tell_rest(case)

    def tell_rest(self, case: Case) -> None:
        """Put what was gathered on the timeline."""
        if case.tally.gathered:
            for kind, text in gathered_lines(case.tally, self._now):
                self._assessment.say(case, kind, text)
            case.incident = replace(case.incident, tally=replace(case.tally, gathered={}, sample="", told_at=self._now))
