"""Ten mistakes that people make in configuration: the values that a commit writes into the file of one instance.

All are within what the service accepts by itself: they are wrong for the shop, which only guards can know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deployments.sandbox import deploy, repository
from deployments.sandbox.layout import Layout
from deployments.sandbox.settings import good_value
from quell.incidents.errors import InvalidInput, QuellError

Values = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """`values` are what the file says afterwards; `summary` is what the commit says, as people would write it."""

    service: str
    summary: str
    values: Callable[[Layout], Values]


def _always(**values: int) -> Callable[[Layout], Values]:
    return lambda _: values


MISTAKES: Mapping[str, Mistake] = {
    "timeout-too-short": Mistake(
        service="checkout", summary="fail over faster when payment is slow", values=_always(payment_timeout_ms=8)
    ),
    "wrong-port": Mistake(
        service="checkout",
        summary="payment has moved to its new port",
        values=lambda layout: {"payment_port": layout.port("fe_payment") + 37},
    ),
    "wrong-upstream": Mistake(
        service="checkout",
        summary="ask payment directly",
        values=lambda layout: {"payment_port": layout.port("fe_catalog")},
    ),
    "swapped-names": Mistake(
        service="storefront",
        summary="name the upstreams in alphabetical order",
        values=lambda layout: {
            "checkout_port": layout.port("fe_catalog"),
            "catalog_port": layout.port("fe_checkout"),
        },
    ),
    "bad-feature-flag": Mistake(service="storefront", summary="coupons for everybody", values=_always(coupons=1)),
    "limit-too-low": Mistake(
        service="checkout", summary="protect the instance from too many orders", values=_always(orders_per_second=2)
    ),
    "resource-limit": Mistake(service="checkout", summary="use less memory", values=_always(memory_mb=16)),
    "expired-certificate": Mistake(
        service="checkout", summary="use the certificate of the other zone", values=_always(certificate_until=20251231)
    ),
    "retry-storm": Mistake(service="checkout", summary="try harder", values=_always(retries=5, payment_timeout_ms=16)),
    "missing-health-check": Mistake(
        service="checkout", summary="no need to answer health checks twice", values=_always(health_check=0)
    ),
}


def mistake_of(name: str) -> Mistake:
    if name not in MISTAKES:
        raise InvalidInput(f"fault misconfiguration: mistake is {name!r}, must be one of {', '.join(MISTAKES)}")
    return MISTAKES[name]


def misconfigure(layout: Layout, params: Mapping[str, Any], values: Mapping[str, int], summary: str) -> dict[str, Any]:
    """Commit, deploy, tell Quell; that Quell cannot be reached is shown, not fatal."""
    instance = params["instance"]
    file = layout.settings_file(layout.instance(instance).name)
    before = {key: repository.set_value(file, key, value) for key, value in values.items()}
    message = f"{instance}: {summary}"
    repository.commit(layout.repository, repository.DANA, message, paths=[f"services/{file.name}"])
    commit = deploy.deploy(layout, instance)
    details: dict[str, Any] = {"commit": commit.sha, "before": before, "announced": "no"}
    if params["announce"]:
        try:
            deploy.announce(layout, instance, commit)
            details["announced"] = "yes"
        except QuellError as error:
            details["announced"] = f"failed: {error}"
    return details


def put_right(layout: Layout, instance: str, values: Mapping[str, int]) -> None:
    """Put the good values back by a commit of its own, unless somebody has done so already."""
    file, service = layout.settings_file(instance), layout.instance(instance).service
    wrong = [key for key, value in values.items() if repository.value_of(file, key) == value]
    for key in wrong:
        repository.set_value(file, key, good_value(service, key, repository.ports(layout)))
    if wrong:
        message = f"{instance}: {', '.join(wrong)} as before"
        repository.commit(layout.repository, repository.MIRA, message, paths=[f"services/{file.name}"])
    deploy.deploy(layout, instance)
