"""Which Prefect run carries out a mitigation: kept on the record, so that pages link to it and it can be woken."""

from dataclasses import replace

from quell.incidents.mitigation import Mitigation, MitigationState
from tasks.record import get_incident, get_mitigation
from tasks.resources import Resources
from tasks.runs import current_run_id


def remember_run(res: Resources, mitigation_id: str, run: str | None) -> None:
    """The mitigation and its incident link to the run that carries it out."""
    if run is None:
        return
    with res.store.writing() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        tx.mitigations.put(replace(mitigation, flow_run=run))
        incident = tx.incidents.get(mitigation.incident) if mitigation.incident else None
        if incident is not None:
            tx.incidents.put(replace(incident, flow_runs={**incident.flow_runs, f"mitigate {mitigation_id}": run}))


def remember_response(res: Resources, incident_id: str, planned: Mitigation | None) -> None:
    """The incident's page links to this run. Not under the step's own key: that says that the answer is through."""
    run = current_run_id()
    if run is None:
        return
    with res.store.writing() as tx:
        incident = get_incident(tx, incident_id)
        runs = {**incident.flow_runs, f"respond {planned.id if planned else 'without a plan'}": run}
        tx.incidents.put(replace(incident, flow_runs=runs))
        if planned is not None and planned.state is MitigationState.PLANNED:
            tx.mitigations.put(replace(get_mitigation(tx, planned.id), flow_run=run))
