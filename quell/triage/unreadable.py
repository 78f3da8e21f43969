"""What nobody could read, kept so that a later Quell may: the body as it came, and the form it was sent in."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quell.incidents.errors import InvalidInput
from quell.triage.form import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """`form` says how the body would have to be read; a single alert out of a batch has the plain form."""

    form: Form
    body: bytes

    def payload(self) -> Mapping[str, Any]:
        """As JSON can hold it: text where it is text."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            return {"form": str(self.form), "base64": base64.b64encode(self.body).decode()}
        return {"form": str(self.form), "text": text}


def read_unreadable(payload: Mapping[str, Any]) -> Unreadable:
    body = base64.b64decode(payload["base64"]) if "base64" in payload else str(payload["text"]).encode()
    return Unreadable(form=Form(payload["form"]), body=body)


def parse_json(body: bytes) -> object:
    """The body as JSON. Raises NotJson."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotJson(f"body is not JSON ({error}): send a JSON object") from error


class NotJson(InvalidInput):
    """The body is no JSON at all: nothing in it can be kept."""
