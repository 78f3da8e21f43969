"""From plain data to a checked model: pydantic's findings, put into one line each with file, line and nearest name."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from quell.config.problem import KeyPath, Problem, did_you_mean
from quell.config.source import Source

M = TypeVar("M", bound=BaseModel)


def parse(source: Source, model: type[M]) -> tuple[M | None, list[Problem]]:
    """The model, or None and every problem found."""
    if not source.is_read:
        return None, list(source.problems)
    try:
        return model.model_validate(source.data), list(source.problems)
    except ValidationError as error:
        return None, [*source.problems, *problems_of(error, source, model)]


def problems_of(error: ValidationError, source: Source, model: type[BaseModel], under: KeyPath = ()) -> list[Problem]:
    """What pydantic found, as problems; `under` is the key under which the model's data stand in the file."""
    return [_problem(source, model, dict(detail), under) for detail in error.errors(include_url=False)]


def _problem(source: Source, model: type[BaseModel], detail: Mapping[str, Any], under: KeyPath) -> Problem:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    return source.problem((*under, *path), _text(detail, path, model))


def _text(detail: Mapping[str, Any], path: KeyPath, model: type[BaseModel]) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "quell":
            return context["text"]
        case "missing":
            return "is required and missing"
        case "extra_forbidden":
            return "unknown key" + _known_keys(str(path[-1]), keys_at(model, path[:-1]))
        case "literal_error" | "enum":
            known = re.findall(r"'([^']*)'", context["expected"])
            return f'"{value}" is not one of {", ".join(known)}{did_you_mean(str(value), known)}'
        case "string_pattern_mismatch" if path[-1:] == ("server",):
            return f'"{value}" is not a server: write backend/server as HAProxy names them'
        case _:
            is_shown = isinstance(value, str | int | float | bool) and "secret" not in str(path[-1:])
            what = detail["msg"].removeprefix("Input ")
            return f"{what[:1].lower()}{what[1:]} (is {value!r})" if is_shown else f"{what[:1].lower()}{what[1:]}"


def _known_keys(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or (f" (known: {', '.join(known)})" if known else "")


def keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the model allows at a place, as people write them."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            return []
        field = next((f for name, f in current.model_fields.items() if part in (name, f.alias)), None)
        # an entry of a mapping or a list is no field: the model is then the one of the mapping's values
        current = _inner_model(field.annotation) if field is not None else current
    return [f.alias or name for name, f in current.model_fields.items()] if current else []


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside `X | None`, `list[X]`, `dict[str, X]` or `X`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _inner_model(inner)) is not None:
            return found
    return None
