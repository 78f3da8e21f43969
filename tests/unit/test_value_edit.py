"""Setting one value: nothing else of the file changes, and what cannot be set is told with its place."""

import json
import tomllib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quell.adapters.value_edit import set_value
from quell.incidents.errors import InvalidInput

_YAML = """\
# what the team knows about it
port: 7422   # the shop's
upstreams:
  payment: {host: "10.0.0.4", port: 7431}
  - not a mapping
"""
_GOOD = """\
# what the team knows about it
port: 7422   # the shop's
name: 'checkout'
upstreams:
  payment: {host: "10.0.0.4", port: 7431}
retries: [1, 2, 5]
is_on: true
"""
_CFG = """\
backend be_checkout
  timeout server 2s   # not less than the bank takes
  server checkout-1 127.0.0.1:7421 check
  server checkout-2 127.0.0.1:7422 check
max_connections = 400
"""


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("port", "7500", "port: 7500   # the shop's"),
        ("name", "it's", "name: 'it''s'"),
        ("upstreams.payment.port", "80", '  payment: {host: "10.0.0.4", port: 80}'),
        ("upstreams.payment.host", "bank", '  payment: {host: "bank", port: 7431}'),
        ("retries.1", "3", "retries: [1, 3, 5]"),
        ("is_on", "false", "is_on: false"),
    ],
)
def test_yaml_changes_in_one_place_and_keeps_its_comments(key: str, value: str, line: str) -> None:
    edited = set_value(_GOOD, file="services/checkout.yaml", key=key, value=value)
    changed = [new for old, new in zip(_GOOD.splitlines(), edited.splitlines(), strict=True) if old != new]
    assert changed == [line]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("prot", "1", 'services/a.yaml: prot: no single value stands there; did you mean "port"?'),
        ("upstreams", "1", "no single value stands there"),
        ("port", "much", "the value is 7422, a number; 'much' is a text"),
        ("is_on", "1", "the value is True, a switch; 1 is a number"),
        ("port", "7422", "the value is there already"),
        ("port", "1\n2", "one line"),
        ("port", "{a: 1}", "would also change port.a"),
        ("port", "80 # the shop's", "everything after # would be a comment"),
    ],
)
def test_what_cannot_be_set_names_file_key_and_value(key: str, value: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"services/a\.yaml") as error:
        set_value(_GOOD, file="services/a.yaml", key=key, value=value)
    assert said in str(error.value)


def test_a_file_that_cannot_be_read_says_its_line() -> None:
    with pytest.raises(InvalidInput, match=r"services/a.yaml:5: this is not YAML"):
        set_value(_YAML, file="services/a.yaml", key="port", value="1")


def test_an_anchored_value_is_not_changed_behind_its_aliases() -> None:
    text = "base: &t 800\ncheckout: *t\n"
    with pytest.raises(InvalidInput, match=r"a.yaml"):
        set_value(text, file="a.yaml", key="base", value="900")


def test_json_and_toml() -> None:
    text = '{\n\t"limit": 5,\n\t"name": "a"\n}\n'
    assert json.loads(set_value(text, file="a.json", key="limit", value="50")) == {"limit": 50, "name": "a"}
    assert set_value(text, file="a.json", key="name", value="b").count("\t") == 2
    with pytest.raises(InvalidInput, match=r"a.json:2: limit: fifty is no number"):
        set_value(text, file="a.json", key="limit", value="fifty")
    toml = 'retries = 3  # was 9\n[pool]\nsize = 10\nname = "main"\n'
    assert set_value(toml, file="a.toml", key="pool.size", value="40") == toml.replace("size = 10", "size = 40")
    assert tomllib.loads(set_value(toml, file="a.toml", key="pool.name", value="b"))["pool"]["name"] == "b"
    assert set_value(toml, file="a.toml", key="retries", value="4").startswith("retries = 4  # was 9\n")
    with pytest.raises(InvalidInput, match=r'did you mean "pool.size"'):
        set_value(toml, file="a.toml", key="pool.siz", value="1")


def test_a_quoted_value_of_toml_may_hold_what_else_begins_a_comment() -> None:
    text = 'url = "http://a/#x" # the shop\'s\n'
    assert set_value(text, file="a.toml", key="url", value="b#c") == text.replace("http://a/#x", "b#c")


def test_tables_of_the_same_name_are_not_told_apart() -> None:
    text = "port = 1\n[[server]]\nport = 2\n[[server]]\nport = 3\n"
    assert set_value(text, file="a.toml", key="port", value="9") == text.replace("port = 1", "port = 9")
    with pytest.raises(InvalidInput, match=r"a\.toml: server\.0\.port: no single value stands there"):
        set_value(text, file="a.toml", key="server.0.port", value="9")


def test_other_texts_by_their_keyword() -> None:
    edited = set_value(_CFG, file="haproxy.cfg", key="timeout server", value="5s")
    assert edited == _CFG.replace("timeout server 2s ", "timeout server 5s ")
    assert "max_connections = 100\n" in set_value(_CFG, file="app.conf", key="max_connections", value="100")
    with pytest.raises(InvalidInput, match=r"haproxy.cfg: server: it stands on lines 3, 4"):
        set_value(_CFG, file="haproxy.cfg", key="server", value="x")
    with pytest.raises(InvalidInput, match="everything after # would be a comment"):
        set_value(_CFG, file="haproxy.cfg", key="timeout server", value="5s # longer")
    with pytest.raises(InvalidInput, match=r'did you mean "timeout server"'):
        set_value(_CFG, file="haproxy.cfg", key="timeout sever", value="5s")


_NAMES = st.text("abcdefgh_", min_size=1, max_size=6).filter(lambda name: name not in ("yes", "no"))


@given(
    st.dictionaries(_NAMES, st.dictionaries(_NAMES, st.integers(0, 10**6), min_size=1, max_size=4), min_size=1),
    st.data(),
)
def test_whatever_the_file_exactly_the_key_changes(content: dict[str, dict[str, int]], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(sorted(content)))
    other = data.draw(st.sampled_from(sorted(content[one])))
    wanted = {name: dict(values) for name, values in content.items()}
    wanted[one][other] += 1
    for name, text in (("a.yaml", yaml.safe_dump(content)), ("a.json", json.dumps(content, indent=1))):
        edited = set_value(text, file=name, key=f"{one}.{other}", value=str(wanted[one][other]))
        assert yaml.safe_load(edited) == wanted
