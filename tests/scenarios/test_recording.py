"""Where the demo's programs are missing, a recording is played, says that it is one, and fails when nothing happens."""

import io
import json
import math
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from deployments.demo import __main__ as demo
from deployments.demo import recording
from deployments.demo.account import Account
from deployments.demo.recorded import EVENTS, LEVERS
from deployments.demo.scorecard import ALERT_PATH_MILESTONES, MILESTONES

pytestmark = pytest.mark.scenario
AT_ONCE = math.inf


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(recording.FOLDER, tmp_path / "recording"))


def test_without_its_programs_the_demo_plays_the_recording_and_says_so(
    no_programs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recording, "play", partial(recording.play, speed=AT_ONCE))
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(demo, "program_environment", lambda: {"PATH": os.environ["PATH"]})  # no /usr/sbin either
    code = demo.main()
    text = capsys.readouterr().out
    assert code == 0, text
    assert "not installed here: haproxy, prometheus, promtool, prometheus-alertmanager, git" in text
    assert "This is a RECORDING" in text and "apt-get install haproxy prometheus" in text


def test_the_account_tells_every_milestone_and_what_was_not_asked(no_programs: None) -> None:
    code, text = played(recording.FOLDER)
    assert code == 0, text
    beginning, end = text[:1500], text[-1500:]
    for part in (beginning, end):
        assert "HAProxy, git and Prometheus" in part and "not asked" in part and "recording" in part.lower()
    for name, _ in (*MILESTONES, *ALERT_PATH_MILESTONES):
        row = next(line for line in text.splitlines() if line.startswith(f"│ {name}"))
        assert "recording: " in row and "missing" not in row
    for said in (
        "suspect 1: checkout-2",
        "isolate be_checkout/checkout-2",
        "why approval: it takes 33%",
        "bob approves with a one-time code",
        "MIT-1 is effective",
        "post-mortem written",
        "rule file not checked and not kept, no promtool here",
        "throttle client:batch-importer",
        "the timeline is whole",
    ):
        assert said in text, text


def test_a_recording_in_which_nothing_goes_wrong_does_not_pass(copy: Path) -> None:
    """The change and the reports are still there: what must be missing is trouble in the signals."""
    replace_by_calm(copy)
    code, text = played(copy)
    assert code == 1
    assert "an anomalous verdict: not within" in text and "the replay did not pass" in text


def test_an_effect_that_the_recorded_haproxy_does_not_show_did_not_happen(copy: Path) -> None:
    file = copy / f"{LEVERS}.parquet"
    levers = pd.read_parquet(file)
    levers["be_checkout/checkout-2"] = 1.0
    levers.to_parquet(file)
    code, text = played(copy)
    assert code == 1
    assert "MIT-1 is undone, not applied" in text and "missing: contained" in text


def played(folder: Path) -> tuple[int, str]:
    account, output = Account(), io.StringIO()
    account.console = Console(file=output, width=240, highlight=False, soft_wrap=True)
    code = recording.play(account, folder, speed=AT_ONCE)
    return code, output.getvalue()


def replace_by_calm(folder: Path) -> None:
    """Every signal repeats its calm part to the end, and Alertmanager never said a word."""
    events = json.loads((folder / EVENTS).read_text())
    fault = pd.Timestamp(events["moments"]["bad configuration"]).timestamp()
    for file in folder.glob("*.parquet"):
        if file.stem != LEVERS:
            table = pd.read_parquet(file)
            values = table.drop(columns="timestamp")
            calm = values[table["timestamp"] < fault]
            repeated = pd.concat([calm] * (len(table) // len(calm) + 1), ignore_index=True)[: len(table)]
            repeated.insert(0, "timestamp", table["timestamp"])
            repeated.to_parquet(file)
    events["came_in"] = [event for event in events["came_in"] if "alertmanager" not in event["path"]]
    (folder / EVENTS).write_text(json.dumps(events))
