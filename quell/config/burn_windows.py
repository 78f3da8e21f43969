"""The windows in which error budgets are watched: data of this package, checked when read."""

from functools import cache
from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import Field

from quell.config.schema import Model
from quell.config.value import PositiveDuration
from quell.incidents.slo import BurnUrgency, BurnWindow


class _Window(Model):
    long: PositiveDuration
    short: PositiveDuration
    budget_share: Annotated[float, Field(gt=0, le=1)]
    urgency: BurnUrgency


class _File(Model):
    windows: Annotated[list[_Window], Field(min_length=1)]


@cache
def burn_windows() -> tuple[BurnWindow, ...]:
    """The recommended windows, the most urgent first."""
    text = files("quell.config").joinpath("burn_windows.yaml").read_text(encoding="utf-8")
    found = _File.model_validate(yaml.safe_load(text))
    return tuple(
        BurnWindow(long=w.long, short=w.short, budget_share=w.budget_share, urgency=w.urgency) for w in found.windows
    )
