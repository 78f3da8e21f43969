"""The forms of `mitigate`, `release` and `resolve` in the Prefect UI: a person chooses from what is known.

Prefect makes a deployment's form from the JSON schema of its parameters and refuses what does not fit it. The schema of
the code knows types only, so the choices are put in when the deployments are registered, and kept up to date while
Quell runs. What is chosen from something that changes every minute, or that no file lists (clients), may also be typed.
The flows check everything once more: a caller of Prefect's API can switch its check off.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.utilities.callables import parameter_schema

from flows.resolution import resolve
from flows.response import mitigate, release
from quell.config.config import Config
from quell.config.load import read_config
from quell.incidents.errors import QuellError
from quell.incidents.incident import ACTIVE_STATES as ACTIVE_INCIDENTS
from quell.ports import Transaction
from quell.response.story import short_title
from tasks.record import ACTIVE_STATES
from tasks.resources import Resources

Schema = dict[str, Any]
_MOST_OFFERED, _MOST_EXPLAINED = 100, 8  # the newest; more would be a list that nobody reads
_INCIDENT, _MITIGATION = r"^(INC-[0-9]{1,18})?$", r"^MIT-[0-9]{1,18}$"
# What may be a name on the wire of some actuator; each of them checks more closely.
_TYPED_TARGET = r"^[A-Za-z0-9_.:#/@+-]{0,128}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the forms offer. `incidents` go on, `releasable` mitigations hold something or still wait."""

    playbooks: tuple[str, ...]
    services: tuple[str, ...]
    targets: tuple[str, ...]  # instances, and zones as SERVICE/ZONE
    people: tuple[str, ...]
    incidents: Mapping[str, str] = field(default_factory=dict[str, str])  # id -> what it is
    releasable: Mapping[str, str] = field(default_factory=dict[str, str])


def choices_of(config: Config, tx: Transaction | None = None) -> Choices:
    """From the configuration, and from the store where there is one yet."""
    incidents, mitigations = (), ()
    if tx is not None:
        newest: dict[str, Any] = {"descending": True, "limit": _MOST_OFFERED}
        incidents = tx.incidents.find({"state": tuple(ACTIVE_INCIDENTS)}, order="opened_at", **newest)
        mitigations = tx.mitigations.find({"state": ACTIVE_STATES}, order="created_at", **newest)
    return Choices(
        playbooks=tuple(config.playbooks),
        services=tuple(config.catalog.services),
        targets=(*config.catalog.instances, *_zones(config)),
        people=tuple(config.people),
        incidents={i.id: f"{i.severity}, {i.service}" if config.catalog.service(i.service) else "" for i in incidents},
        releasable={m.id: f"{short_title(m.plan)}, {m.state.replace('_', ' ')}" for m in mitigations},
    )


def mitigate_form(choices: Choices) -> Schema:
    """The schema of `mitigate` with its choices; Quell's own runs give nothing but a stored plan, and pass."""
    schema = deepcopy(parameter_schema(mitigate).model_dump())
    fields = schema["definitions"]["MitigationRequest"]["properties"]
    _choose(fields["playbook"], choices.playbooks)
    _choose(fields["service"], choices.services)
    _choose(fields["requested_by"], choices.people)
    _choose_or_type(fields["target"], "Instance or zone", choices.targets, "Client or other", _TYPED_TARGET)
    _choose_or_type(fields["incident"], "Going on", choices.incidents, "Another", _INCIDENT)
    _explain(fields["incident"], choices.incidents)
    return schema


def release_form(choices: Choices) -> Schema:
    """The schema of `release` with its choices."""
    schema = deepcopy(parameter_schema(release).model_dump())
    fields = schema["definitions"]["ReleaseRequest"]["properties"]
    _choose_or_type(fields["mitigation"], "In force", choices.releasable, "Another", _MITIGATION)
    _explain(fields["mitigation"], choices.releasable)
    _choose(fields["requested_by"], choices.people)
    return schema


def resolve_form(choices: Choices) -> Schema:
    """The schema of `resolve` with its choices; Quell's own runs give nothing but the incident."""
    schema = deepcopy(parameter_schema(resolve).model_dump())
    incident, fields = schema["properties"]["incident"], schema["definitions"]["FixRequest"]["properties"]
    _choose_or_type(incident, "Going on", choices.incidents, "Another", _INCIDENT)
    incident["description"] = "Needed: the incident whose cause is to be removed"
    _explain(incident, choices.incidents)
    places = (*choices.targets, *choices.services)
    _choose_or_type(fields["place"], "Instance or service", places, "The incident's service", r"^$")
    _choose(fields["requested_by"], choices.people)
    schema["properties"]["request"].pop("default", None)  # it would open the tab without a name, and choose nobody
    return schema


def offer(client: SyncPrefectClient, choices: Choices) -> list[str]:
    """Give the deployments these forms where they have others; returns the names of those that changed.

    Job variables that somebody gave a deployment go: the pool takes none, so that no run would start any more.
    """
    changed: list[str] = []
    forms = {
        "mitigate/mitigate": mitigate_form(choices),
        "release/release": release_form(choices),
        "resolve/resolve": resolve_form(choices),
    }
    for name, form in forms.items():
        deployment = client.read_deployment_by_name(name)
        has_form = deployment.parameter_openapi_schema == form and deployment.enforce_parameter_schema
        if not has_form or deployment.job_variables:
            update: Schema = {"parameter_openapi_schema": form, "enforce_parameter_schema": True, "job_variables": {}}
            client.update_deployment(deployment.id, DeploymentUpdate(**update))
            changed.append(name)
    return changed


def offer_what_is_there(res: Resources, client: SyncPrefectClient) -> list[str]:
    """Bring the forms up to date: the files may have changed since this process read them, incidents come and go.

    Files with a mistake leave the choices as this process knows them; `quell check` tells the mistake.
    """
    try:
        config = read_config(res.config.folder)
    except QuellError:
        config = res.config
    with res.store.reading() as tx:
        choices = choices_of(config, tx)
    return offer(client, choices)


def _zones(config: Config) -> list[str]:
    services = config.catalog.services.values()
    zones = [f"{service.name}/{i.zone}" for service in services for i in service.instances if i.zone]
    return list(dict.fromkeys(zones))


def _choose(shown: Schema, names: Sequence[str]) -> None:
    """A list to choose from. Without any name the field stays as it is: an empty list could never be filled in."""
    if not names:
        return
    if shown.get("default") not in names:
        shown.pop("default", None)
    shown["enum"] = list(names)


def _explain(shown: Schema, meanings: Mapping[str, str]) -> None:
    """The list shows ids only, so the line above it says what the newest are."""
    said = [f"{id}: {meaning}" for id, meaning in list(meanings.items())[:_MOST_EXPLAINED] if meaning]
    if said:
        shown["description"] += f" ({'; '.join(said)})"


def _choose_or_type(shown: Schema, chosen: str, names: Collection[str], typed: str, pattern: str) -> None:
    """Two tabs: a list to choose from, and a line to type in; without any name only the line."""
    if not names:
        shown["pattern"] = pattern
        return
    kind = shown.pop("type")
    shown.pop("default", None)  # it would open the second tab
    listed = {"title": chosen, "type": kind, "enum": list(names)}
    shown["anyOf"] = [listed, {"title": typed, "type": kind, "pattern": pattern}]
