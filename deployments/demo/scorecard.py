"""The scorecard: when each milestone was witnessed, and which one is missing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rich.table import Table

# The order in which an incident lives, and who testifies that the milestone really happened.
MILESTONES = (
    ("fault injected", "git and the instance"),
    ("first anomalous verdict", "the store"),
    ("incident opened", "the store"),
    ("approval asked", "Prefect: the run is suspended"),
    ("approval given", "Prefect accepted the form"),
    ("contained", "HAProxy: the server is drained; the load generator: no more errors"),
    ("fix promoted", "git: the file is as before; the instance: it runs the fix"),
    ("containment released", "HAProxy: the server takes its full share again"),
    ("post-mortem written", "the store"),
    ("thresholds proposed", "promtool accepts the rule file"),
)
ALERT_PATH_MILESTONES = (
    ("surge injected", "the load generator"),
    ("alert path: incident opened", "the store"),
    ("alert path: contained", "HAProxy: the client's limit is in the map"),
    ("alert path: released", "HAProxy: the map entry is gone"),
)


@dataclass(slots=True)
class Scorecard:
    """Milestones as they are witnessed; `limits` are the promises that the figures are held against."""

    times: dict[str, datetime] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def mark(self, milestone: str, at: datetime, evidence: str = "") -> None:
        """The first witness counts."""
        self.times.setdefault(milestone, at)
        self.evidence.setdefault(milestone, evidence)

    def missing(self) -> list[str]:
        return [name for name, _ in (*MILESTONES, *ALERT_PATH_MILESTONES) if name not in self.times]

    def since(self, start: str, end: str) -> timedelta | None:
        if start not in self.times or end not in self.times:
            return None
        return self.times[end] - self.times[start]

    def sweep_path(self) -> timedelta | None:
        """Fault to contained, without the time that the approver took."""
        whole, waiting = self.since("fault injected", "contained"), self.since("approval asked", "approval given")
        return whole - waiting if whole is not None and waiting is not None else None

    def alert_path(self) -> timedelta | None:
        return self.since("surge injected", "alert path: contained")

    def table(self, *, with_promises: bool = True) -> Table:
        """`with_promises` adds the measured times to containment; a replay measures none."""
        table = Table(title="Scorecard", title_justify="left", header_style="bold")
        table.add_column("milestone")
        table.add_column("after", justify="right")
        table.add_column("witness")
        for rows, start in ((MILESTONES, "fault injected"), (ALERT_PATH_MILESTONES, "surge injected")):
            for name, witness in rows:
                passed = self.since(start, name)
                after = f"{passed.total_seconds():.1f} s" if passed is not None else "[red]missing[/red]"
                table.add_row(name, after, self.evidence.get(name) or witness)
            table.add_section()
        if not with_promises:
            return table
        for title, value, limit in (
            ("fault to contained, sweep path, without the approver's time", self.sweep_path(), 45),
            ("fault to contained, Alertmanager path", self.alert_path(), 10),
        ):
            text = f"{value.total_seconds():.1f} s" if value is not None else "[red]missing[/red]"
            table.add_row(title, text, f"promised: under {limit} s")
        return table
