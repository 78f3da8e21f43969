"""False isolation: ask an isolated instance itself, and its siblings, whether it is well."""

from collections.abc import Callable, Sequence

from quell.incidents.errors import QuellError
from quell.incidents.mitigation import Mitigation
from quell.incidents.probe import Answered
from quell.incidents.service import Instance, Service
from quell.ports import Prober
from quell.response.false_isolation import (
    SAMPLES,
    Health,
    cost_so_far,
    false_isolation,
    health_of,
    isolated_instances,
    probe_urls,
    siblings_of,
)
from tasks.resources import Resources

_BETWEEN_SECONDS = 0.5
_MOST_SIBLINGS = 5
_NO_CHECKS = "maint"  # a server in maintenance is not checked: what the lever sees of it says nothing
_UNSEEN = "the load balancer does not say"


def find_false_isolation(
    res: Resources, mitigation: Mitigation, unhelped: str, *, sleep: Callable[[float], None]
) -> str:
    """Why the isolation was a mistake; empty where it is none, or where an instance cannot be asked.

    `unhelped` is why users did not need it. It takes a second or so when everybody answers.
    """
    service = res.config.catalog.service(mitigation.service)
    if not unhelped or service is None or res.prober is None:
        return ""
    isolated = isolated_instances(mitigation.plan.steps, service)
    if not isolated or any(instance.url is None for instance in isolated):
        return ""
    trouble = _trouble(res, mitigation)
    health = [] if trouble else _ask(res.prober, service, isolated, sleep)
    return false_isolation(unhelped, health, trouble, cost_so_far(mitigation, res.clock()))


def _trouble(res: Resources, mitigation: Mitigation) -> list[str]:
    """What the load balancer's own checks say against the servers."""
    checked = [step for step in mitigation.plan.steps if step.action != _NO_CHECKS]
    if any(step.actuator not in res.actuators for step in checked):
        return [_UNSEEN]
    try:
        return [text for step in checked if (text := res.actuators[step.actuator].witness(step))]
    except QuellError:
        return [_UNSEEN]


def _ask(
    prober: Prober, service: Service, isolated: Sequence[Instance], sleep: Callable[[float], None]
) -> list[Health]:
    """Some samples, all instances at the same moments; the first that is not well ends it."""
    urls, others = probe_urls(isolated), probe_urls(siblings_of(service, isolated)[:_MOST_SIBLINGS])
    own: dict[str, list[Answered]] = {name: [] for name in urls}
    siblings: list[Answered] = []
    for number in range(SAMPLES):
        if number:
            sleep(_BETWEEN_SECONDS)
        answers = prober.probe([*urls.values(), *others.values()])
        siblings += [answers[url] for url in others.values()]
        for name, url in urls.items():
            own[name].append(answers[url])
        if any(not samples[-1].is_well for samples in own.values()):
            break
    return [health_of(name, samples, siblings) for name, samples in own.items()]
