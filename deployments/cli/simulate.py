"""`quell simulate`: what triage would do with an alert, on a copy of the record, touching nothing."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, out, state, table

if TYPE_CHECKING:
    from quell.adapters.store.memory import MemoryStore
    from quell.incidents.alert import Alert
    from quell.incidents.inbox import Received
    from tasks.resources import Resources

_RECENT = timedelta(hours=24)
_MOST_COPIED = 2000


def simulate(
    file: Annotated[Path, typer.Argument(help="Alertmanager's webhook or one alert, as JSON; - for standard input.")],
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """What triage would do with this alert now, and which playbook would answer. Nothing is stored or changed."""
    from tasks.intake import drain_inbox

    with opened(config) as res:
        items = _read(file, res)
        trial = replace(res, store=copy_of_record(res))
        before = _alerts(trial)
        trial.store.receive(items)
        touched = drain_inbox(trial)
        changed = [alert for id, alert in _alerts(trial).items() if before.get(id) != alert]
        _print(trial, changed, touched)


def _read(file: Path, res: "Resources") -> "Sequence[Received]":
    """The alerts as the gateway would take them; what it would refuse is told and left out."""
    from quell.gateway.inbox_items import take_alerts
    from quell.incidents.errors import InvalidInput
    from quell.triage.intake import split_webhook

    payload = _json(file)
    is_webhook = isinstance(payload, dict) and "alerts" in payload
    parts = split_webhook(payload) if is_webhook else payload if isinstance(payload, list) else [payload]
    batch = take_alerts(parts, source="alertmanager" if is_webhook else "api", received_at=res.clock())
    for wrong in batch.rejected:
        err().print(f"{file}: alert {wrong.index} would be refused: {wrong.error}", style="red", markup=False)
    if not batch.items:
        raise InvalidInput(f"{file}: no alert in it would be taken")
    return batch.items


def _json(file: Path) -> Any:
    import json

    from quell.incidents.errors import InvalidInput

    try:
        return json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInput(f"{file}: is not JSON: {error}") from error


def copy_of_record(res: "Resources") -> "MemoryStore":
    """What triage looks at, in memory and free to be changed: all that is open and muted, and the recent past.

    At most `_MOST_COPIED` of each kind, the newest; incidents keep their tallies, so grouping is right beyond that.
    """
    from quell.adapters.store.memory import MemoryStore
    from quell.incidents.incident import ACTIVE_STATES

    trial, now = MemoryStore(), res.clock()
    since = now - _RECENT

    def newest_of(order: str) -> dict[str, Any]:
        return {"order": order, "descending": True, "limit": _MOST_COPIED}

    with res.store.reading() as tx, trial.writing() as copy:
        active = tx.incidents.find({"state": tuple(ACTIVE_STATES)}, **newest_of("opened_at"))
        recent = tx.incidents.find(after=("updated_at", since), **newest_of("updated_at"))
        ids = tuple({incident.id for incident in (*active, *recent)})
        copy.incidents.put_all((*active, *recent))
        copy.alerts.put_all(tx.alerts.find({"status": "firing"}, **newest_of("updated_at")))
        copy.alerts.put_all(tx.alerts.find({"outcome": ("waiting", "muted")}, **newest_of("updated_at")))
        copy.alerts.put_all(tx.alerts.find(after=("updated_at", since), **newest_of("updated_at")))
        firing = tuple(alert.id for alert in copy.alerts.find({"status": "firing"}))
        copy.footprints.put_all(tx.footprints.find({"owner": (*ids, *firing)}, limit=20 * _MOST_COPIED))
        copy.documents.put_all(tx.documents.find({"id": ("routing", *(f"evidence {id}" for id in ids))}))
        copy.documents.put_all(tx.documents.find({"kind": "automation"}))
        copy.silences.put_all(tx.silences.find(after=("ends_at", now), **newest_of("ends_at")))
        copy.changes.put_all(tx.changes.find(after=("at", since), **newest_of("at")))
        copy.reports.put_all(tx.reports.find(after=("at", since), **newest_of("at")))
        copy.mitigations.put_all(tx.mitigations.find({"incident": ids}, limit=_MOST_COPIED))
        newest = tx.incidents.find(order="opened_at", descending=True, limit=1)
        for _ in range(int(newest[0].id.rpartition("-")[2]) if newest else 0):
            copy.next_number("INC")
    return trial


def _alerts(res: "Resources") -> "Mapping[str, Alert]":
    with res.store.reading() as tx:
        return {alert.id: alert for alert in tx.alerts.find()}


def _print(trial: "Resources", alerts: "list[Alert]", touched: list[str]) -> None:
    from quell.incidents.labels import format_labels

    rows = [(format_labels(a.labels), a.outcome or "undecided", a.incident or "", _why(a)) for a in alerts]
    out().print(table("What would happen (nothing was stored)", ("alert", "outcome", "incident", "why"), rows))
    incidents = {alert.incident for alert in alerts if alert.incident} & set(touched)
    with trial.store.reading() as tx:
        for incident in filter(None, map(tx.incidents.get, sorted(incidents))):
            labels = [alert.labels for alert in tx.alerts.find({"incident": incident.id})]
            out().print(f"[bold]{incident.id}[/] {state(incident.state)} {state(incident.severity)}", end=" ")
            out().print(incident.title, markup=False)
            for suspect in incident.suspects:
                out().print(f"  suspect {suspect.node} ({suspect.score:.2f}): {suspect.reason}", markup=False)
            _print_answer(trial, incident, labels)


def _why(alert: "Alert") -> str:
    """The reason, with the place where a person wrote the rule."""
    return f"{alert.outcome_reason} [{alert.rule_at}]" if alert.rule_at else alert.outcome_reason


def _print_answer(trial: "Resources", incident: Any, labels: list[Mapping[str, str]]) -> None:
    from quell.response.target import Choice, choose

    config = trial.config
    choice = choose(config.playbooks.values(), incident, labels, config.catalog, config.signals)
    if isinstance(choice, Choice):
        out().print(f"  playbook {choice.playbook.name} would be planned on {choice.target.key}", markup=False)
        return
    for reason in choice.reasons:
        out().print(f"  no playbook: {reason}", markup=False)
