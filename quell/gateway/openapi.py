"""What the OpenAPI document says beside what FastAPI finds out itself: how errors are answered, and what records hold.

tests/integration/test_openapi.py holds every answer of the gateway against it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import TimedeltaSchema

from quell.gateway.view import IncidentView
from quell.incidents.alert import Alert
from quell.incidents.decision import Decision
from quell.incidents.incident import Incident

Schema = dict[str, Any]

NO_NUL: Schema = {"pattern": "^[^\\x00]*$"}  # the one character that PostgreSQL's text cannot have
TIME_OR_NONE: Schema = {"anyOf": [{"type": "string", "format": "date-time"}, {"enum": ["", None]}]}
ERROR: Schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string", "minLength": 1}}}
_SECONDS: Schema = {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer", "minimum": 1}}
_HEADERS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"description": "How to say who it is.", "required": True, "schema": {"type": "string"}}},
    405: {"Allow": {"description": "The methods taken here.", "required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentList:
    """A page of incidents; `next` is the `after` of the page that follows, `count` stops where `is_more` begins."""

    incidents: tuple[Incident, ...]
    next: str | None
    count: int
    is_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertList:
    """A page of an incident's alerts."""

    alerts: tuple[Alert, ...]
    next: str | None
    count: int


def problems(said: Mapping[int, str], schemas: Mapping[int, Schema] | None = None) -> dict[int | str, Schema]:
    """The error answers of an operation: what each means, in the form that all errors have or the given one."""
    return {
        status: {
            "description": text,
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
            "content": {"application/json": {"schema": (schemas or {}).get(status, ERROR)}},
        }
        for status, text in said.items()
    }


def record(name: str, text: str) -> Schema:
    """An answer with one of `record_schemas`."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def record_schemas() -> Schema:
    """The schemas of what is answered, by name, made from the very types that are written."""
    kinds = (IncidentList, AlertList, _whole_incident(), Decision)
    adapters = [(kind.__name__, "serialization", TypeAdapter[Any](kind)) for kind in kinds]
    _, found = TypeAdapter.json_schemas(
        adapters,  # pyright: ignore[reportArgumentType]  # it names the mode's literal type
        schema_generator=_AsWritten,
        ref_template="#/components/schemas/{model}",
    )
    schemas: Schema = found["$defs"]
    _without(schemas["Decision"], "code_step")  # nobody needs to know when a code was made
    return schemas


def _whole_incident() -> type:
    """One incident as the API tells it: the view of the page, with alerts instead of their groups."""
    fields: Iterable[tuple[str, Any]] = (
        get_type_hints(IncidentView) | {"alerts": tuple[Alert, ...], "alert_count": int}
    ).items()
    return make_dataclass("WholeIncident", fields, kw_only=True, namespace={"__doc__": "An incident with everything."})


def _without(schema: Schema, name: str) -> None:
    del schema["properties"][name]
    schema["required"].remove(name)


class _AsWritten(GenerateJsonSchema):
    """Every field is written, and durations as seconds."""

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return True

    def timedelta_schema(self, schema: TimedeltaSchema) -> JsonSchemaValue:  # noqa: ARG002 - the signature is pydantic's
        return {"type": "number", "description": "seconds"}
