"""Reports at work: their service found in their words, their flood collapsed, their bursts turned into alerts."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from quell.config.config import Config
from quell.incidents.alert import REPORTS_ALERT, Alert, AlertStatus, alert_id
from quell.incidents.labels import ALERTNAME, SERVICE, SEVERITY, fingerprint
from quell.incidents.report import Report
from quell.ports import Document, Transaction
from quell.triage.report_burst import WEEKS, ReportHistory, hour_of
from quell.triage.report_sense import ALL, Burst, identity_of, sense, voices_of
from quell.triage.report_text import ServiceWords, gibberish, normal_form
from tasks.reports import attach_contact, forget_old_contacts

MOST_SHOWN = 50  # reports of one incident that stand by themselves; the rest is counted at one of them
_HISTORY = "reports:history"
_LONGEST_QUOTE = 200


class ReportDesk:
    """One sitting's view of the reports."""

    def __init__(self, tx: Transaction, config: Config, now: datetime) -> None:
        self._tx = tx
        self._config = config
        self._now = now
        self._words = ServiceWords(config.catalog)
        self._shown: dict[str, list[Report]] = {}

    def read(self, report: Report) -> Report:
        """The report with the service that its words name, where it named none itself."""
        if report.service is not None:
            return report
        return replace(report, service=self._words.find(report.text))

    def may_join(self, report: Report) -> bool:
        return not report.part_of and not gibberish(report.text)

    def attach(self, report: Report, incident: str) -> bool:
        """Put the report into an incident; whether it stands there by itself. Floods are counted, not listed."""
        shown = self._shown.get(incident)
        if shown is None:
            shown = self._shown[incident] = self._tx.reports.find({"incident": incident}, order="at")
        attach_contact(self._tx, report.id, incident)
        same = next((one for one in shown if _says_the_same(one, report)), None)
        if same is None and len(shown) >= MOST_SHOWN:
            same = shown[-1]
        if same is None:
            joined = replace(report, incident=incident)
            shown.append(joined)
            self._tx.reports.put(joined)
            return True
        counted = replace(same, copies=same.copies + 1)
        shown[shown.index(same)] = counted
        self._tx.reports.put(counted)
        self._tx.reports.put(replace(report, part_of=same.id))
        return False

    def waiting(self) -> list[Report]:
        """Reports of the window that belong to no incident, in order of time."""
        since = self._now - self._config.grouping.window
        found = self._tx.reports.find({"incident": None}, after=("at", since), order="at")
        return [report for report in found if not report.part_of]

    def bursts(self) -> list[Burst]:
        waiting = self.waiting()
        if len(waiting) < 2:
            return []
        return sense(
            waiting,
            history=self._history(),
            catalog=self._config.catalog,
            window=self._config.grouping.window,
            now=self._now,
        )

    def _history(self) -> dict[str, ReportHistory]:
        """Voices by hour and service. Hours long enough over that nothing of them can still open an incident are added.

        Reports that belong to an incident are not in it: a baseline never learns from trouble.
        """
        kept = self._tx.documents.get(_HISTORY)
        end = hour_of(self._now - self._config.grouping.window - timedelta(hours=1))
        oldest = hour_of(self._now) - WEEKS * 168
        since = int(kept.body["since"]) if kept else None
        until = int(kept.body["until"]) if kept else oldest
        voices: dict[str, Counter[int]] = defaultdict(Counter)
        known: Mapping[str, Mapping[str, int]] = kept.body["voices"] if kept else {}
        for name, hours in known.items():
            voices[name].update({int(hour): n for hour, n in hours.items() if int(hour) >= oldest})
        if until < end:
            forget_old_contacts(self._tx, self._now)
            first = self._fold(voices, until, end)
            since = since if since is not None else first
            if since is not None:
                self._keep(voices, since, end)
        begun = end if since is None else since
        return {name: ReportHistory(since=begun, voices=dict(hours)) for name, hours in voices.items()} | (
            {} if ALL in voices else {ALL: ReportHistory(since=begun, voices={})}
        )

    def _fold(self, voices: dict[str, Counter[int]], until: int, end: int) -> int | None:
        after, before = (datetime.fromtimestamp(hour * 3600, self._now.tzinfo) for hour in (until, end))
        found = self._tx.reports.find({"incident": None}, after=("at", after), before=("at", before), order="at")
        by_hour: dict[int, list[Report]] = defaultdict(list)
        for report in found:
            if not report.part_of and report.at < before:
                by_hour[hour_of(report.at)].append(report)
        for hour, reports in by_hour.items():
            for voice in voices_of(reports):
                voices[ALL][hour] += 1
                voices[voice.service or ""][hour] += 1
        return min(by_hour, default=None)

    def _keep(self, voices: dict[str, Counter[int]], since: int, until: int) -> None:
        plain = {name: {str(hour): count for hour, count in hours.items()} for name, hours in voices.items()}
        body = {"since": since, "until": until, "voices": plain}
        self._tx.documents.put(Document(id=_HISTORY, kind="reports", updated_at=self._now, body=body))


def alert_of(burst: Burst, now: datetime) -> Alert:
    """A burst as an alert, which then goes the way of all alerts."""
    labels = {ALERTNAME: REPORTS_ALERT, SEVERITY: "major"}
    if burst.service:
        labels[SERVICE] = burst.service
    mark, first = fingerprint(labels), burst.reports[0]
    quote = first.text if len(first.text) <= _LONGEST_QUOTE else first.text[: _LONGEST_QUOTE - 1] + "…"
    return Alert(
        id=alert_id(mark, first.at),
        fingerprint=mark,
        status=AlertStatus.FIRING,
        labels=labels,
        annotations={"summary": f"{burst.voices} users report trouble: “{quote}”", "reason": burst.why},
        starts_at=first.at,
        source="report",
        received_at=now,
        updated_at=now,
    )


def _says_the_same(one: Report, other: Report) -> bool:
    """One user again, or the same words."""
    return identity_of(one) == identity_of(other) or normal_form(one.text) == normal_form(other.text)
