"""The drill ground: a sandbox's control API over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from quell.incidents.errors import InvalidInput, Unavailable

_TIMEOUT = timedelta(seconds=40)  # a fault may restart processes


class HttpDrillGround:
    """What `python -m deployments.sandbox up` answers on its control port."""

    def __init__(self, url: str, timeout: timedelta = _TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout.total_seconds()

    def faults(self) -> Mapping[str, str]:
        known: dict[str, dict[str, Any]] = self._ask("GET", "/faults")["known"]
        return {name: str(said.get("target", "")) for name, said in known.items()}

    def active(self) -> Sequence[str]:
        return [str(one["name"]) for one in self._ask("GET", "/faults")["active"]]

    def inject(self, fault: str, parameters: Mapping[str, str | float | bool]) -> Mapping[str, str | float | bool]:
        return self._ask("POST", f"/faults/{quote(fault, safe='')}", dict(parameters))["params"]

    def clear(self, fault: str, target: str) -> None:
        self._ask("DELETE", f"/faults/{quote(fault, safe='')}?target={quote(target, safe='')}")

    def users(self, seconds: int) -> tuple[int, int]:
        total = self._ask("GET", f"/load?seconds={seconds}")["total"]
        return int(total["requests"]), int(total["errors"])

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            with httpx.Client(base_url=self._url, timeout=self._timeout, trust_env=False) as client:
                answer = client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"drill ground {self._url} does not answer ({error}): start the sandbox") from error
        if answer.status_code in (400, 404):
            raise InvalidInput(f"drill ground {self._url}: {answer.json().get('error', answer.text)}")
        if answer.is_error:
            raise Unavailable(f"drill ground {self._url} answered {answer.status_code}: {answer.text[:200]}")
        return answer.json()
