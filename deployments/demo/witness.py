"""The witnesses: HAProxy, git, the instances, Prometheus, the load generator and the store, asked directly.

Nothing here takes a flow's own word for what happened.
"""

import socket
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from deployments.sandbox.sandbox import Sandbox
from quell.config.config import Config
from quell.incidents.incident import Incident
from quell.incidents.matcher import Matcher, MatchOperator
from quell.incidents.mitigation import Mitigation
from quell.incidents.review import Review
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.timeline import verify_chain
from quell.incidents.verdict import Verdict, VerdictKind
from quell.ports import Store


@dataclass(frozen=True, slots=True)
class Witness:
    """Answers questions about the outside world and the record; None means: not yet."""

    config: Config
    store: Store
    sandbox: Sandbox

    @property
    def repository(self) -> Path:
        return self.sandbox.layout.repository

    @property
    def haproxy_socket(self) -> Path:
        return self.sandbox.layout.haproxy / "haproxy.sock"

    def server_state(self, server: str) -> str:
        """`ready`, `drain` or `maint`, and the weight, from HAProxy's own table, e.g. `ready 100`."""
        backend, name = server.split("/")
        for line in self._haproxy("show servers state").splitlines():
            words = line.split()
            if len(words) > 8 and words[1] == backend and words[3] == name:
                admin, weight = int(words[6]), words[7]
                state = "drain" if admin & 0x18 else "maint" if admin & 0x01 else "ready"
                return f"{state} {weight}"
        return "unknown"

    def client_limit(self, client: str) -> int | None:
        """The client's limit in HAProxy's map, in requests per second."""
        for line in self._haproxy("show map").splitlines():
            if "limits.map" in line:
                number = line.split()[0]
                for entry in self._haproxy(f"show map #{number}").splitlines():
                    words = entry.split()
                    if len(words) == 3 and words[1] == client:
                        return int(words[2])
        return None

    def git(self, *arguments: str) -> str:
        """Git's answer in the configuration repository."""
        done = subprocess.run(
            ["git", "-C", str(self.repository), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    def load(self, seconds: int = 3) -> dict[str, Any]:
        """What all customers together saw in the last seconds: `requests`, `ok`, `denied`, `errors`, `p99_ms`, ..."""
        return self.sandbox.load_seen(seconds)["total"]

    def instance_config(self, instance: str) -> dict[str, Any]:
        """The configuration that an instance says it runs, and the commit it came from."""
        found = self.config.catalog.instance(instance)
        assert found is not None and found.url is not None, instance
        return httpx.get(f"{found.url}/config", timeout=5).json()

    def prometheus(self, query: str) -> float | None:
        """The first value of an instant query."""
        url = f"{self.config.connections.prometheus}/api/v1/query"
        result = httpx.get(url, params={"query": query}, timeout=5).json()["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def rule_file_is_accepted(self, folder: Path) -> Path | None:
        """A proposed rule file, if promtool accepts it."""
        for path in sorted(folder.glob("*.y*ml")):
            checked = subprocess.run(
                ["promtool", "check", "rules", str(path)], capture_output=True, timeout=20, check=False
            )
            if checked.returncode == 0:
                return path
        return None

    def baselines(self) -> list[str]:
        with self.store.reading() as tx:
            return [document.id for document in tx.documents.find({"kind": "baseline"})]

    def anomaly(self, instance: str, after: datetime) -> Verdict | None:
        """An anomalous verdict on the instance since `after`."""
        with self.store.reading() as tx:
            found = tx.verdicts.find({"kind": VerdictKind.ANOMALOUS}, after=("at", after))
        return next((v for v in found if v.labels.get("instance") == instance), None)

    def incident(self, after: datetime, **labels: str) -> Incident | None:
        """The incident that holds an alert with these labels, opened since `after`."""
        matchers = [Matcher(name, MatchOperator.EQUAL, value) for name, value in labels.items()]
        with self.store.reading() as tx:
            for incident in tx.incidents.find(after=("opened_at", after)):
                alerts = tx.alerts.find({"incident": incident.id})
                if any(all(m.matches(alert.labels) for m in matchers) for alert in alerts):
                    return incident
        return None

    def current(self, incident: str) -> Incident:
        with self.store.reading() as tx:
            found = tx.incidents.get(incident)
        assert found is not None, incident
        return found

    def mitigation(self, incident: str) -> Mitigation | None:
        with self.store.reading() as tx:
            found = tx.mitigations.find({"incident": incident}, order="created_at", descending=True, limit=1)
        return found[0] if found else None

    def review(self, incident: str) -> Review | None:
        with self.store.reading() as tx:
            return tx.reviews.get(incident)

    def thresholds(self, incident: str) -> list[ThresholdVersion]:
        with self.store.reading() as tx:
            return tx.thresholds.find({"incident": incident})

    def counts(self, incident: str) -> dict[str, int]:
        """How many alerts and reports the incident holds."""
        with self.store.reading() as tx:
            return {
                "alerts": tx.alerts.count({"incident": incident}),
                "reports": tx.reports.count({"incident": incident}),
                "incidents": tx.incidents.count(),
            }

    def audit_faults(self) -> list[str]:
        """What is wrong with the hash chain over all entries."""
        with self.store.reading() as tx:
            return verify_chain(tx.timeline.entries(), written=tx.timeline.written())

    def _haproxy(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(str(self.haproxy_socket))
            connection.sendall(f"{command}\n".encode())
            connection.shutdown(socket.SHUT_WR)
            chunks = iter(lambda: connection.recv(65536), b"")
            return b"".join(chunks).decode()
