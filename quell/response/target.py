"""The target of a playbook: what the evidence names, in the kind that the playbook can act on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Incident
from quell.incidents.labels import INSTANCE, SERVICE, Labels
from quell.incidents.matcher import matches_all
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Signal
from quell.response.playbook import Playbook

CLIENT = "client"
ZONE = "zone"
_ZONE_NEEDS = 2  # instances in trouble; one alone is an instance's trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a plan acts on. `name` is the instance, the client, the service or the zone; `evidence` says why it.

    `instances` are those of the service in the zone.
    """

    kind: str
    name: str
    service: Service
    instance: Instance | None = None
    instances: tuple[Instance, ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name under which one active mitigation per target is enforced: `instance:checkout-2`."""
        return f"zone:{self.service.name}/{self.name}" if self.kind == ZONE else f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    playbook: Playbook
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class NoChoice:
    """No playbook applies; one sentence per playbook says why not."""

    reasons: tuple[str, ...]


def choose(
    playbooks: Iterable[Playbook],
    incident: Incident,
    alerts: Sequence[Labels],
    catalog: Catalog,
    signals: Mapping[str, Signal],
) -> Choice | NoChoice:
    """The playbook that answers the incident, and its target; the one with most matchers wins, then by name."""
    labels = [{SERVICE: incident.service, **one} for one in alerts] or [{SERVICE: incident.service}]
    reasons: list[str] = []
    for playbook in sorted(playbooks, key=lambda p: (-len(p.matchers), p.name)):
        if not any(matches_all(playbook.matchers, one) for one in labels):
            reasons.append(f"{playbook.name}: no alert of {incident.id} matches it")
            continue
        signal = signals.get(playbook.recovery.signal)
        if playbook.steps and (signal is None or not signal.is_user_facing):
            reasons.append(f"{playbook.name}: its recovery signal {playbook.recovery.signal} is not user facing")
            continue
        found = find_target(playbook, incident, labels, catalog)
        if isinstance(found, Target):
            return Choice(playbook=playbook, target=found)
        reasons.append(f"{playbook.name}: {found}")
    return NoChoice(reasons=tuple(reasons) or ("no playbook is configured",))


def find_target(playbook: Playbook, incident: Incident, alerts: Sequence[Labels], catalog: Catalog) -> Target | str:
    """What the incident names in the playbook's kind, or the reason why it names nothing."""
    match playbook.target_kind:
        case "instance":
            return _instance(playbook, incident, alerts, catalog)
        case "client":
            return _client(playbook, incident, alerts, catalog)
        case "zone":
            return _zone(playbook, incident, alerts, catalog)
        case _:
            service = catalog.service(incident.service)
            if service is None:
                return f"service {incident.service} is not in the configuration"
            return Target(kind="service", name=service.name, service=service)


def named_target(playbook: Playbook, service_name: str, name: str, catalog: Catalog) -> Target:
    """The target that a person typed. Raises InvalidInput when the configuration does not know it."""
    service = catalog.service(service_name)
    if service is None:
        raise InvalidInput(f"service {service_name!r} is not configured; configured are {', '.join(catalog.services)}")
    if playbook.target_kind == "instance":
        instance = next((i for i in service.instances if i.name == name), None)
        if instance is None:
            known = ", ".join(i.name for i in service.instances) or "none"
            raise InvalidInput(f"target {name!r} is no instance of {service_name}; its instances are {known}")
        return Target(kind="instance", name=name, service=service, instance=instance)
    if playbook.target_kind == "client":
        if not name:
            raise InvalidInput(f"playbook {playbook.name} acts on a client, and no target was given")
        return Target(kind="client", name=name, service=service)
    if playbook.target_kind == ZONE:
        return _named_zone(service, name)
    if name not in ("", service_name):
        raise InvalidInput(f"playbook {playbook.name} acts on whole services; target {name!r} is not {service_name}")
    return Target(kind="service", name=service_name, service=service)


def _instance(playbook: Playbook, incident: Incident, alerts: Sequence[Labels], catalog: Catalog) -> Target | str:
    """The first suspect, or the best instance of the service that is the first suspect.

    An instance far down the ranking is not good enough to be touched while something else leads.
    """
    if not incident.suspects:
        return _only_alerting_instance(alerts, catalog)
    lead = incident.suspects[0].node
    for suspect in incident.suspects:
        instance = catalog.instance(suspect.node)
        if instance is None or lead not in (suspect.node, instance.service):
            continue
        if suspect.score < playbook.min_confidence:
            return f"suspect {suspect.node} has a score of {suspect.score:.2f}, it needs {playbook.min_confidence:.2f}"
        if not suspect.is_alerted:
            return f"suspect {suspect.node} is named by its metrics alone: one kind of evidence is too little to act on"
        reason = f"suspect {suspect.node} (score {suspect.score:.2f}): {suspect.reason}"
        return _target_of(instance, catalog, reason)
    return f"the first suspect {lead} is no instance, and none of its instances is suspected"


def _only_alerting_instance(alerts: Sequence[Labels], catalog: Catalog) -> Target | str:
    names = sorted({one[INSTANCE] for one in alerts if INSTANCE in one})
    instance = catalog.instance(names[0]) if len(names) == 1 else None
    if instance is None:
        return f"no suspect, and the alerts name {len(names)} instances known to the configuration, it needs exactly 1"
    return _target_of(instance, catalog, f"the only instance that the alerts name is {instance.name}")


def _zone(playbook: Playbook, incident: Incident, alerts: Sequence[Labels], catalog: Catalog) -> Target | str:
    """The zone in which every instance of the service is in trouble, and outside of which none is."""
    service = catalog.service(incident.service)
    if service is None:
        return f"service {incident.service} is not in the configuration"
    alerted = {one[INSTANCE] for one in alerts if INSTANCE in one}
    suspected = {s.node for s in incident.suspects if s.is_alerted and s.score >= playbook.min_confidence}
    troubled = [i for i in service.instances if i.name in alerted or i.name in suspected]
    zones = {i.zone for i in troubled}
    if len(troubled) < _ZONE_NEEDS or len(zones) != 1 or None in zones:
        names = ", ".join(i.name for i in troubled) or "no instance"
        return f"{names} of {service.name} in trouble, it needs {_ZONE_NEEDS} or more that are all in one zone"
    found = _named_zone(service, str(zones.pop()))
    well = [i.name for i in found.instances if i not in troubled]
    if well:
        return f"zone {found.name} as a whole is not in trouble: {', '.join(well)} of {service.name} is well"
    reason = f"all instances of {service.name} in zone {found.name} are in trouble and no other: "
    return replace(found, evidence=(reason + ", ".join(i.name for i in troubled),))


def _named_zone(service: Service, name: str) -> Target:
    name = name.removeprefix(f"{service.name}/")  # as in the key of a zone
    instances = tuple(i for i in service.instances if i.zone == name)
    if not name or not instances:
        known = ", ".join(sorted({i.zone for i in service.instances if i.zone})) or "none"
        raise InvalidInput(f"target {name!r} is no zone of {service.name}; its zones are {known} (services.yaml)")
    return Target(kind=ZONE, name=name, service=service, instances=instances)


def _target_of(instance: Instance, catalog: Catalog, reason: str) -> Target:
    service = catalog.services[instance.service]
    return Target(kind="instance", name=instance.name, service=service, instance=instance, evidence=(reason,))


def _client(playbook: Playbook, incident: Incident, alerts: Sequence[Labels], catalog: Catalog) -> Target | str:
    matching = [one for one in alerts if matches_all(playbook.matchers, one)]
    clients = sorted({one[CLIENT] for one in matching if one.get(CLIENT)})
    if len(clients) != 1:
        return f"the matching alerts name {len(clients)} clients, it needs exactly 1"
    labels = next(one for one in matching if one.get(CLIENT) == clients[0])
    service = catalog.service(labels.get(SERVICE, incident.service)) or catalog.service(incident.service)
    if service is None:
        return f"service {incident.service} is not in the configuration"
    reason = f"the alerts name client {clients[0]}"
    return Target(kind="client", name=clients[0], service=service, evidence=(reason,))
