"""What clients usually send, as it is kept in the store: one document for each load balancer."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from quell.ports import Document, Transaction
from quell.response.usual import Usual

USUAL = "usual"  # the kind of the document


def read_usual(tx: Transaction, actuator: str) -> Mapping[str, Usual]:
    found = tx.documents.get(f"{USUAL} {actuator}")
    clients: Mapping[str, Any] = found.body["clients"] if found else {}
    return {name: Usual(**values) for name, values in clients.items()}


def write_usual(tx: Transaction, actuator: str, usual: Mapping[str, Usual], at: datetime) -> None:
    body = {"clients": {name: asdict(one) for name, one in usual.items()}}
    tx.documents.put(Document(id=f"{USUAL} {actuator}", kind=USUAL, updated_at=at, body=body))
