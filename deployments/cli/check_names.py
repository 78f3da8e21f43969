"""Whether the series of Prometheus carry the names of services.yaml, so that alerts find their instance."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from deployments.cli.finding import Finding
from quell.config.problem import did_you_mean
from quell.incidents.service import Catalog

_MOST_NAMED = 5


def strangers(labels: Sequence[Mapping[str, str]], catalog: Catalog) -> tuple[str, bool]:
    """What the instances in these series are called that services.yaml does not have; and whether it has none of them.

    Some are normal, since services.yaml need not have everything. None at all is a difference in naming.
    """
    names = sorted({one["instance"] for one in labels if "instance" in one})
    unknown = [name for name in names if name not in catalog.instances]
    if not unknown:
        return "", False
    hint = did_you_mean(unknown[0], catalog.instances) if len(unknown) == len(names) else ""
    more = ", ..." if len(unknown) > _MOST_NAMED else ""
    said = f"services.yaml has no instance {', '.join(unknown[:_MOST_NAMED])}{more}{hint}"
    return said, len(unknown) == len(names)


def check_unseen(labels: Sequence[Mapping[str, str]], catalog: Catalog) -> Iterator[Finding]:
    """Instances of which no signal has a series, although it has some of their siblings."""
    seen = {one["instance"] for one in labels if "instance" in one}
    of_service: dict[str, list[str]] = defaultdict(list)
    for instance in catalog.instances.values():
        of_service[instance.service].append(instance.name)
    for service, names in of_service.items():
        strange = [one["instance"] for one in labels if one.get("service") == service and "instance" in one]
        for name in names:
            if name in seen or not (seen.intersection(names) or strange):
                continue
            text = (
                f'no signal has a series with instance="{name}": is it down, or called otherwise there? '
                "The name in services.yaml must be the label in Prometheus"
            )
            yield Finding(part="prometheus", subject=name, is_ok=False, text=text)
