"""Matchers mean the same here and in the real Alertmanager: its own tool reads the same texts."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from quell.incidents.errors import InvalidInput
from quell.incidents.matcher import parse_matchers

pytestmark = pytest.mark.integration

# `amtool config routes test` reads one matcher from a route and says which receiver a label set reaches.
TEXTS = [
    'service="checkout"',
    "service=checkout",
    ' service = "checkout" ',
    "service=check out",
    'service=" checkout"',
    r'service="a\"b"',
    r'service="a\\b"',
    r'service="a\nb"',
    r'service="a\db"',
    r"service=a\\b",
    "service=a\\",
    'service="a,b"',
    "service={a}",
    'service="ü"',
    'service=~"check.*"',
    'service=~"check"',
    'service!~"check.*"',
    'service!="checkout"',
    "service=",
    'service=""',
    "service==checkout",
    'service=="checkout"',
    'service="checkout',
    'service=check"out',
    'service="check"out',
    "service",
    "2service=a",
    "ser:vice=a",
    'service=~"("',
    'service=~"(?=a)"',
    'service=~"a{2000}"',
    'service=~"a++"',
    'service=~"[[:alpha:]]"',
    'service=~"(?i)CHECKOUT"',
    r"service=~\d",
    r'service=~"\bcheck.*"',
    r'service=~"\pL+"',
    r'service=~"(c)\1"',
    'service=~"(a+)+"',
    'service=~"(?:a{100}){100}"',
    'service=~"(?P<x>checkout)"',
    'service=~"check[[:digit:]out]+"',
    "service=~checkout|payment",
]
VALUES = [
    "checkout",
    "payment",
    "",
    'a"b',
    "a\\b",
    "a\nb",
    "a\\db",
    "a\\\\b",
    "a\\",
    "a,b",
    "{a}",
    "ü",
    "check out",
    "=checkout",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_matcher_selects_what_alertmanager_selects(text: str, tmp_path: Path) -> None:
    program = shutil.which("amtool")
    assert program is not None, "amtool is not installed: apt-get install prometheus-alertmanager"
    config = {
        "route": {"receiver": "no", "routes": [{"receiver": "yes", "matchers": [text]}]},
        "receivers": [{"name": "no"}, {"name": "yes"}],
    }
    file = tmp_path / "alertmanager.json"  # JSON is YAML
    file.write_text(json.dumps(config), encoding="utf-8")
    try:
        (ours,) = parse_matchers(text)
    except InvalidInput:
        refused = subprocess.run([program, "check-config", file], capture_output=True, text=True, check=False)
        assert refused.returncode != 0, f"Alertmanager takes {text}"
        return
    for value in VALUES:
        label = "service=" + json.dumps(value, ensure_ascii=False)
        asked = [program, "config", "routes", "test", f"--config.file={file}", label]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert ours.matches({"service": value}) is (said.stdout.strip() == "yes"), value
