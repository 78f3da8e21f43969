"""One transaction: a desk with a drawer for each kind of record, and the timeline."""

from typing import Any, NoReturn

from quell.incidents.alert import Alert
from quell.incidents.anomaly import Anomaly
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.fix import Fix
from quell.incidents.footprint import Footprint
from quell.incidents.inbox import InboxItem
from quell.incidents.incident import Incident
from quell.incidents.journal import JournalEntry, Lease
from quell.incidents.mitigation import Mitigation
from quell.incidents.notification import Notification
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.silence import Silence
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.verdict import Verdict
from quell.ports import Document, Records


class Desk:
    """The records of all kinds; `open` is what SQL and memory do differently."""

    def __init__(self) -> None:
        self._opened: dict[str, Records[Any]] = {}

    def open(self, kind: str) -> Records[Any]:
        raise NotImplementedError

    def _drawer(self, kind: str) -> Records[Any]:
        if kind not in self._opened:
            self._opened[kind] = self.open(kind)
        return self._opened[kind]

    @property
    def inbox(self) -> Records[InboxItem]:
        return self._drawer("inbox")

    @property
    def alerts(self) -> Records[Alert]:
        return self._drawer("alerts")

    @property
    def incidents(self) -> Records[Incident]:
        return self._drawer("incidents")

    @property
    def mitigations(self) -> Records[Mitigation]:
        return self._drawer("mitigations")

    @property
    def journal(self) -> Records[JournalEntry]:
        return self._drawer("journal")

    @property
    def decisions(self) -> Records[Decision]:
        return self._drawer("decisions")

    @property
    def fixes(self) -> Records[Fix]:
        return self._drawer("fixes")

    @property
    def thresholds(self) -> Records[ThresholdVersion]:
        return self._drawer("thresholds")

    @property
    def changes(self) -> Records[Change]:
        return self._drawer("changes")

    @property
    def reports(self) -> Records[Report]:
        return self._drawer("reports")

    @property
    def reviews(self) -> Records[Review]:
        return self._drawer("reviews")

    @property
    def verdicts(self) -> Records[Verdict]:
        return self._drawer("verdicts")

    @property
    def anomalies(self) -> Records[Anomaly]:
        return self._drawer("anomalies")

    @property
    def notifications(self) -> Records[Notification]:
        return self._drawer("notifications")

    @property
    def documents(self) -> Records[Document]:
        return self._drawer("documents")

    @property
    def leases(self) -> Records[Lease]:
        return self._drawer("leases")

    @property
    def silences(self) -> Records[Silence]:
        return self._drawer("silences")

    @property
    def footprints(self) -> Records[Footprint]:
        return self._drawer("footprints")


def refuse_writing() -> NoReturn:
    raise RuntimeError("a reading transaction cannot write; use `with store.writing() as tx:`")
