"""Drift: what an instance runs is compared with what its branch says; who changed only one of them must be told.

Fixes change both or neither. A value that somebody set by hand at run time, or a commit that nobody deployed, is found
here: by an alert of Quell's own, once two looks in a row agree, which ends by itself when both agree again.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.git import open_repository
from quell.detection.episode import Finding
from quell.detection.health import OWN_SERVICE
from quell.incidents.errors import QuellError
from quell.incidents.fix import FixState
from quell.incidents.incident import IncidentState, Severity
from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY
from quell.incidents.service import ConfigRepository
from quell.ports import Document
from tasks.colours import live_colour
from tasks.episodes import open_episodes, record_condition
from tasks.resources import Resources, resources
from tasks.running import Place, difference, places_of, remote_repositories

DRIFTED = "ConfigurationDrift"
LAST_LOOK = "drift:last"
_KIND = "drift"
_LOOKS = 2  # in a row: between a commit and its deployment both differ for a moment
AT_ONCE = 4


def look_for_drift(res: Resources) -> list[str]:
    """Compare everything that can be compared, when it is time to; one sentence for each that differs or is unseen."""
    if not _is_time(res):
        return []
    unseen = [said for repository in remote_repositories(res.config.catalog) if (said := _catch_up(repository))]
    places = list(places_of(res.config.catalog))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*unseen, *(said for said in pool.map(partial(_look, res), places) if said)]


def _catch_up(repository: ConfigRepository) -> str:
    """Bring the branch forward to what its remote has; why that cannot be, where it cannot."""
    try:
        open_repository(repository).catch_up(repository.branch)
    except QuellError as error:
        return f"what {repository.remote} has cannot be compared: {error}"
    return ""


def _is_time(res: Resources) -> bool:
    """Whether the last look is long enough ago; whoever asks first makes the next one."""
    with res.store.writing() as tx:
        now, last = res.clock(), tx.documents.get(LAST_LOOK)
        if last is not None and now - last.updated_at < res.config.intervals.drift:
            return False
        tx.documents.put(Document(id=LAST_LOOK, kind=_KIND, updated_at=now, body={}))
    return True


def _look(res: Resources, place: Place) -> str:
    try:
        found = "" if _is_idle(res, place) or _is_yet_to_follow(res, place) else difference(place)
    except QuellError as error:  # no verdict: neither well nor drifted
        return f"whether {place.name} runs what its branch says cannot be seen: {error}"
    document = f"{_KIND}:{place.service}/{place.name}"
    with res.store.reading() as tx:
        is_open = bool(open_episodes(tx, document))
    if found or is_open:
        finding = _finding(place, found, res) if found else None
        record_condition(res, document, finding, at=res.clock(), confirm=_LOOKS)
    return found


def _is_idle(res: Resources, place: Place) -> bool:
    """Whether it belongs to the colour that serves nobody: that one keeps another release on purpose."""
    service, instance = res.config.catalog.service(place.service), res.config.catalog.instance(place.name)
    if service is None or service.blue_green is None or instance is None or instance.server is None:
        return False
    return instance not in service.behind(live_colour(res, service.blue_green))


def _is_yet_to_follow(res: Resources, place: Place) -> bool:
    """Whether a fix is tried on another instance of its service, or is on its way from there: that may take hours."""
    with res.store.reading() as tx:
        fixes = tx.fixes.find({"service": place.service, "state": (FixState.VALIDATED, FixState.CANARY)})
        promoted = [
            fix
            for fix in tx.fixes.find({"service": place.service, "state": FixState.PROMOTED})
            if (incident := tx.incidents.get(fix.incident)) and incident.state is IncidentState.RESOLVING
        ]
    return any(fix.pilot and fix.pilot != place.name and fix.file == place.file for fix in (*fixes, *promoted))


def _finding(place: Place, found: str, res: Resources) -> Finding:
    """About Quell's own service: nobody is harmed by it yet, and no playbook shall answer."""
    advice = "deploy the branch again, or commit what was changed by hand"
    return Finding(
        key=f"{_KIND}:{place.service}/{place.name}",
        labels={ALERTNAME: DRIFTED, SERVICE: OWN_SERVICE, INSTANCE: place.name, SEVERITY: Severity.MINOR},
        annotations={"summary": f"{found}: {advice}", "reason": found, "service": place.service},
        since=res.clock(),
    )


@task(name="look for drift", task_run_name="look for drift", cache_policy=NO_CACHE)
def find_drift() -> list[str]:
    """Compare what runs with git, every few minutes; one sentence for each difference."""
    return look_for_drift(resources())
