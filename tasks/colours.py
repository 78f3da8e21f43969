"""The two colours of a service: which one serves, the idle one made ready with a fix, the switch, and the way back.

What is put into force is always the whole of one colour. The colour that serves is not touched before the switch, and
the one that served before not until `keep_warm` is over, so either is whole whatever dies.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from quell.actuator import Actuator
from quell.adapters.git import open_repository
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Unavailable
from quell.incidents.fix import Fix, FixState
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Step
from quell.incidents.service import BlueGreen, ConfigRepository, Instance, Service
from tasks.fix import get_fix, note
from tasks.lane_journal import SWITCH, close_entry, entries_of, intend, put_back
from tasks.lease import Hold
from tasks.readiness import await_well, problems_of, reload_instances
from tasks.resources import Resources


def two_colours_of(res: Resources, name: str) -> tuple[Service, BlueGreen]:
    """The service and its colours. Raises NotFound."""
    service = res.config.catalog.service(name)
    if service is None or service.blue_green is None:
        raise NotFound(f"service {name} has no blue_green in services.yaml; its fix cannot go on")
    return service, service.blue_green


def balancer_of(res: Resources) -> Actuator:
    actuator = res.actuators.get("haproxy")
    if actuator is None:
        raise InvalidInput("two colours need connections.haproxy_socket in quell.toml: the lever that switches them")
    return actuator


def live_colour(res: Resources, colours: BlueGreen) -> str:
    """The backend that serves the route. Raises Unavailable, or InvalidInput where it is neither of the two."""
    found = balancer_of(res).read_state(_switch(res, colours, colours.backends[0])).get("value", "")
    if found not in colours.backends:
        both = " nor ".join(colours.backends)
        raise InvalidInput(f"route {colours.route} is served by {found!r}, which is neither {both}: see services.yaml")
    return found


def choose_colour(res: Resources, fix: Fix) -> Fix:
    """Remember which colour gets the fix: the one that is idle now. Nothing where the service has no two colours.

    A colour that is still warm for an older fix is given up for the new one.
    """
    service = res.config.catalog.service(fix.service)
    if fix.instance or fix.colour or service is None or service.blue_green is None:
        return fix
    colours = service.blue_green
    idle = colours.other(live_colour(res, colours))
    with res.store.writing() as tx:
        fix = replace(get_fix(tx, fix.id), colour=idle, updated_at=res.clock())
        tx.fixes.put(fix)
        for older in tx.fixes.find({"service": fix.service, "state": FixState.PROMOTED}):
            if older.warm_until is not None:
                tx.fixes.put(replace(older, warm_until=None))
    return fix


def make_ready(
    res: Resources, repository: ConfigRepository, fix: Fix, commit: str, *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Put the fix into force on its colour and see that it is well, before any user sees it. Raises Unavailable."""
    service, colours = two_colours_of(res, fix.service)
    if live_colour(res, colours) == fix.colour:
        raise Conflict(f"{fix.colour} serves {colours.route} now and was idle before: somebody switched meanwhile")
    instances = service.behind(fix.colour)
    reload_instances(repository, fix, commit, [one.name for one in instances])
    good = await_well(res, lambda: _problems(res, repository, fix, instances, colours.probes), fix.colour, sleep=sleep)
    paths = ", ".join(dict.fromkeys((*(one.probe for one in instances), *colours.probes)))
    return f"{fix.colour} is ready and no user has seen it: {len(instances)} instances, {paths} well {good} times"


def _problems(
    res: Resources, repository: ConfigRepository, fix: Fix, instances: tuple[Instance, ...], probes: tuple[str, ...]
) -> Iterator[str]:
    """What is wrong with the instances at the load balancer, and when they are asked themselves."""
    serving = balancer_of(res).capacity([one.server for one in instances if one.server])
    yield from (f"{server} takes no requests at the load balancer" for server, share in serving.items() if share <= 0)
    yield from problems_of(repository, fix, instances, probes)


def switch_colours(res: Resources, fix: Fix, lease: Hold) -> None:
    """All requests to the colour with the fix; the other stays as it is, warm. Raises Unavailable."""
    service, colours = two_colours_of(res, fix.service)
    done = [entry for entry in entries_of(res, fix, SWITCH) if entry.state is JournalState.DONE]
    if done:
        return
    actuator = balancer_of(res)
    effect = intend(res, fix, lease, SWITCH, actuator, _switch(res, colours, fix.colour))
    actuator.apply(effect)
    if not actuator.verify(effect):
        raise Unavailable(f"{service.name}: the switch to {fix.colour} did not come into force")
    until = res.clock() + colours.keep_warm
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), warm_until=until, updated_at=res.clock()))
    for entry in entries_of(res, fix, SWITCH):
        close_entry(res, entry, JournalState.DONE)
    other = colours.other(fix.colour)
    text = f"{fix.colour} serves {colours.route}; {other} is kept as it was until {until:%H:%M} UTC"
    note(res, fix, "colours switched", text, {"undo": f"one command: back to {other}"})


def switch_back(res: Resources, fix: Fix) -> bool:
    """Send users back to the colour that served before, where it is still warm; whether that was done."""
    entries = [entry for entry in entries_of(res, fix, SWITCH) if entry.state is JournalState.DONE]
    if not entries or fix.warm_until is None:
        return False
    put_back(res, entries[0], entries[0].state_before)
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), warm_until=None))
    return True


def follow_git(res: Resources, repository: ConfigRepository, fix: Fix, commit: str) -> str:
    """Let both colours run what is committed: the idle one first, and the one that serves only when it is idle too.

    Where the fix's colour serves and the other is not warm any more, users are switched to the other in between.
    """
    service, colours = two_colours_of(res, fix.service)
    said = _reload_idle(res, repository, service, fix, commit)
    entries = [entry for entry in entries_of(res, fix, SWITCH) if entry.state is JournalState.DONE]
    if entries:
        put_back(res, entries[0], entries[0].state_before)
        said = _reload_idle(res, repository, service, fix, commit)
    return f"{colours.other(live_colour(res, colours))}: {said}"


def end_warmth(res: Resources, fix: Fix) -> str:
    """The colour that served before gets the fix as well; both are what git says then. One sentence."""
    service, colours = two_colours_of(res, fix.service)
    repository = service.repository
    if repository is None:
        raise NotFound(f"service {fix.service} has no repository in services.yaml")
    if live_colour(res, colours) == fix.colour:
        head = open_repository(repository).head(repository.branch)
        said = _reload_idle(res, repository, service, fix, head)
        text = f"{colours.other(fix.colour)} has the fix as well: {said}"
    else:
        text = f"{fix.colour} does not serve any more: the colours are left as they are"
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), warm_until=None))
    note(res, fix, "colour no longer kept warm", text)
    return text


def _reload_idle(res: Resources, repository: ConfigRepository, service: Service, fix: Fix, commit: str) -> str:
    assert service.blue_green is not None
    idle = service.blue_green.other(live_colour(res, service.blue_green))
    return reload_instances(repository, fix, commit, [one.name for one in service.behind(idle)])


def _switch(res: Resources, colours: BlueGreen, backend: str) -> Step:
    params = {"backend": backend}
    return Step(actuator=balancer_of(res).name, action="switch", target=f"route:{colours.route}", params=params)
