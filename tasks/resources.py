"""Where a task finds its tools: configuration, store, metrics, actuators and the clock, opened once per process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from quell.actuator import Actuator
from quell.adapters.actuators.plugins import open_actuators
from quell.adapters.metrics.kept_fleet import KeptFleets
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.metrics.recent_window import RecentWindows
from quell.adapters.probe import HttpProber
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config
from quell.config.load import load_config
from quell.ports import Clock, MetricSource, Prober, Store

HASTY = timedelta(seconds=2)
CONFIG_VARIABLE = "QUELL_CONFIG"
DATA_VARIABLE = "QUELL_DATA"  # the folder for what this machine may lose; `quell up --data` sets it


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    config: Config
    store: Store
    metrics: MetricSource
    actuators: Mapping[str, Actuator]
    clock: Clock
    windows: RecentWindows = field(default_factory=RecentWindows)
    fleets: KeptFleets = field(default_factory=KeptFleets)
    hasty_metrics: MetricSource | None = None  # the same metrics, asked once and not waited for; None: as they are
    prober: Prober | None = None  # None: no instance is asked directly


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_resources(config: Config, data: Path | None = None) -> Resources:
    """Open everything that the configuration names. Nothing is contacted before it is used, except the database.

    Recent rows of the signals, and what was learned of them, are kept in the `data` folder; without one each sweep asks
    for whole windows and judges all rows since the fit.
    """
    c = config.connections
    return Resources(
        config=config,
        store=SqlStore(c.store),
        metrics=PrometheusSource(c.prometheus, timeout=c.timeout),
        hasty_metrics=PrometheusSource(c.prometheus, timeout=min(HASTY, c.timeout), attempts=1),
        actuators=open_actuators(config),
        prober=HttpProber(),
        clock=utc_now,
        windows=RecentWindows(_kept_folder(data, "windows", c.prometheus) if data else None),
        fleets=KeptFleets(_kept_folder(data, "fleets", c.prometheus) if data else None),
    )


def _kept_folder(data: Path, what: str, server: str) -> Path:
    """Each metric server has its own: another one answers the same query with other rows."""
    return data / what / blake2b(server.encode(), digest_size=6).hexdigest()


@lru_cache(maxsize=1)
def resources() -> Resources:
    """The resources of this process, from the folder that QUELL_CONFIG names (default: config), with QUELL_DATA."""
    data = os.environ.get(DATA_VARIABLE)
    return open_resources(
        load_config(Path(os.environ.get(CONFIG_VARIABLE, "config"))), data=Path(data) if data else None
    )
