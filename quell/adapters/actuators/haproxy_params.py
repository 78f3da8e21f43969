"""The parameters of HAProxy's levers: whole numbers within limits."""

from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step


def whole_number(step: Step, name: str, low: int, high: int) -> int:
    value = step.params.get(name)
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise InvalidInput(
            f"{step.action} of {step.target}: {name} is {value!r}, it must be a whole number {low}..{high}"
        )
    return number
