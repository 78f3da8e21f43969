"""A shop with a real HAProxy, a real store and people with one-time codes, for tests of who may approve what."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.incidents.decision import Decision
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import Mitigation
from quell.incidents.suspect import Suspect
from quell.response.playbook import ApprovalPolicy
from tasks.approval import decide
from tasks.planning import plan_manual
from tasks.resources import Resources
from tests.shop_levers import UsersSignal

EXAMPLE = Path(__file__).parents[1] / "deployments" / "config.example"
SERVER = "be_checkout/checkout-2"
PLAYBOOK = "isolate-bad-instance"
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Desk:
    """Everybody but carol (an analyst) is an approver; each has an authenticator of their own."""

    res: Resources
    clock: Clock
    proxy: TrialProxy
    secrets: dict[str, str] = field(default_factory=dict[str, str])

    def code(self, person: str) -> str:
        return pyotp.TOTP(self.secrets[person]).at(self.clock())

    def policy(self, **changes: Any) -> None:
        """What the playbook says about approval from now on."""
        book = self.res.config.playbooks[PLAYBOOK]
        changed = replace(book, approval=replace(book.approval, **changes))
        books = {**self.res.config.playbooks, PLAYBOOK: changed}
        self.res = replace(self.res, config=replace(self.res.config, playbooks=books))

    def ask(self, by: str = "carol", *, target: str = "checkout-2", incident: str | None = "INC-1") -> Mitigation:
        return plan_manual(self.res, PLAYBOOK, "checkout", target, incident, by, "it fails")

    def answer(self, mitigation: Mitigation, person: str, answer: str = "approve", **other: Any) -> Decision:
        given = {"plan_hash": mitigation.plan_hash, "code": "", "comment": "", "channel": "page", **other}
        given["code"] = given["code"] or self.code(person)
        return decide(self.res, subject=mitigation.id, person=person, answer=answer, **given)

    def worsen(self, severity: Severity) -> None:
        with self.res.store.writing() as tx:
            incident = tx.incidents.get("INC-1")
            assert incident is not None
            tx.incidents.put(replace(incident, severity=severity, worst_severity=severity))

    def ease(self, severity: Severity) -> None:
        """As triage does it: less bad now, and what it was is remembered."""
        with self.res.store.writing() as tx:
            incident = tx.incidents.get("INC-1")
            assert incident is not None
            worst = incident.worst_severity or incident.severity
            tx.incidents.put(replace(incident, severity=severity, worst_severity=worst))

    def mitigation(self, id: str = "MIT-1") -> Mitigation:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get(id)
        assert found is not None
        return found

    def told(self) -> list[str]:
        """The timeline, one line an entry: `kind: text`."""
        with self.res.store.reading() as tx:
            return [f"{entry.kind}: {entry.text}" for entry in tx.timeline.entries()]

    @property
    def is_drained(self) -> bool:
        return self.res.actuators["haproxy"].capacity([SERVER])[SERVER] == 0.0


@contextmanager
def open_desk(folder: Path, store_url: str = "") -> Iterator[Desk]:
    config = load_config(EXAMPLE)
    secrets = {name: pyotp.random_base32() for name in PEOPLE}
    for name, secret in secrets.items():
        (folder / f"{name}.totp").write_text(secret)
    known = config.people["alice"]
    people = {
        name: replace(
            config.people.get(name, known),
            name=name,
            totp_secret=f"file:{folder / name}.totp",
            password_hash="",
            email=f"{name}@shop.example",
        )
        for name in PEOPLE
    }
    clock, store = Clock(), SqlStore(store_url or f"sqlite:///{folder}/record.db")
    with TrialProxy(folder / "proxy") as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        res = Resources(
            config=replace(config, sources=None, people=people),
            store=store,
            metrics=UsersSignal(),
            actuators={"haproxy": actuator},
            clock=clock,
        )
        desk = Desk(res=res, clock=clock, proxy=proxy, secrets=secrets)
        desk.policy(**{f: getattr(ApprovalPolicy(), f) for f in ("approvers", "approvers_by_severity")})
        _open_incident(desk)
        yield desk
    store.close()


def _open_incident(desk: Desk) -> None:
    now = desk.clock()
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title="checkout-2 fails",
        service="checkout",
        onset_at=now - timedelta(seconds=30),
        opened_at=now,
        updated_at=now,
        opened_because="test",
        opened_by="sweep",
        suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="its errors rose first"),),
    )
    with desk.res.store.writing() as tx:
        tx.incidents.add(incident)
