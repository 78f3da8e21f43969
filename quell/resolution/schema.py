"""A schema: JSON Schema for structured files, and one keyword more that compares quantities with units."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError

from quell.incidents.errors import InvalidInput
from quell.resolution.document import KeyPath
from quell.resolution.quantity import UNITS, read_quantity

QUANTITY = "quantity"
_LONGEST = 300  # characters of a problem; jsonschema quotes whole files otherwise


def _check_quantity(_: Any, rule: Mapping[str, Any], instance: object, __: Any) -> Iterator[ValidationError]:
    """`quantity: {unit: size, minimum: 256Mi}`; what is no quantity breaks it, as JSON Schema's minimum would not."""
    unit = str(rule.get("unit", "number"))
    value = read_quantity(instance, unit)
    if value is None:
        yield ValidationError(f"{instance!r} is not a quantity in {unit}")
        return
    low, high = read_quantity(rule.get("minimum"), unit), read_quantity(rule.get("maximum"), unit)
    if low is not None and value < low:
        yield ValidationError(f"{instance} is less than the minimum of {rule['minimum']}")
    if high is not None and value > high:
        yield ValidationError(f"{instance} is greater than the maximum of {rule['maximum']}")


_Validator: Any = cast(Any, validators).extend(Draft202012Validator, {QUANTITY: _check_quantity})


def make_validator(schema: Mapping[str, Any]) -> Any:
    return _Validator(schema)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises InvalidInput, subject first, for what is no JSON Schema."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise InvalidInput(f"schema is not JSON Schema: {f'{where}: ' if where else ''}{error.message}") from error
    for rule in _quantities(schema):
        unit = str(rule.get("unit", "number"))
        if unit not in UNITS:
            raise InvalidInput(f"schema: unit {unit} is not known; there are {', '.join(UNITS)}")
        for name in ("minimum", "maximum"):
            if name in rule and read_quantity(rule[name], unit) is None:
                raise InvalidInput(f"schema: {name} {rule[name]!r} is not a quantity in {unit}")


def problems_in(validator: Any, content: object) -> Iterator[tuple[KeyPath, str]]:
    """Where the content breaks the schema, as (path of the key, what is wrong)."""
    for error in validator.iter_errors(content):
        text = str(error.message)
        yield tuple(error.absolute_path), text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _quantities(schema: object, *, is_rule: bool = True) -> Iterator[Mapping[str, Any]]:
    """Every `quantity` rule; a property that is called quantity is none."""
    if isinstance(schema, dict):
        for key, value in cast(dict[str, Any], schema).items():
            if key == QUANTITY and is_rule and isinstance(value, dict):
                yield cast(dict[str, Any], value)
            else:
                yield from _quantities(value, is_rule=key not in ("properties", "patternProperties"))
    elif isinstance(schema, list):
        for item in cast(list[object], schema):
            yield from _quantities(item)
