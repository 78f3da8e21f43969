"""What a guard can ask of a file: text, agreement with other files, certificates; and where a finding points to."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.misconfigurations import certificate
from deployments.cli.guard import guard as gate
from quell.adapters.documents import HeldFiles, TextDocument, parse_all
from quell.adapters.guards import check_text, read_guard
from quell.incidents.errors import InvalidInput
from quell.resolution.gate import check_document, neighbours
from quell.resolution.guard import Finding, Guard
from quell.resolution.quantity import UNITS, read_quantity
from quell.resolution.reference import Place, values_at

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HEAD = "name: g\nincident: INC-7\nfiles: '*'\nmessage: mend it\n"
CFG = """# the load balancer
defaults
  timeout server 15s
  retries 2

backend be_shop
  option httpchk GET /health   # never without
  server shop-1 127.0.0.1:7411 check weight 100
  server shop-2 127.0.0.1:7412 check

backend be_pay
  option httpchk GET /health
  server pay-1 127.0.0.1:7431 check

frontend fe_shop
  bind 127.0.0.1:7400
  default_backend be_shop
"""


def made(checks: str) -> Guard:
    return read_guard(HEAD + checks, source="guards/g.yaml")


def findings(checks: str, text: str, *, name: str = "haproxy.cfg") -> list[tuple[int, str]]:
    return [(f.line, f.problem) for f in check_text([made(checks)], name, text, now=NOW)]


PAY_CHECK = "  option httpchk GET /health\n  server pay"
TIMEOUT = r"each: 'timeout server (\S+)', unit: time"
DEFAULT = "{each: 'default_backend (?P<value>\\S+)', one_of: [be_shop]}"


@pytest.mark.parametrize(
    ("assertion", "old", "new", "line", "said"),
    [
        (r"{each: '^\s*server\s', must: '\bcheck\b'}", "7412 check", "7412", 9, r"lacks \bcheck\b"),
        (r"{each: '^\s*server\s', must_not: '\bbackup\b'}", "7412 check", "7412 backup", 9, "must not have"),
        ("{section: '^backend be_', require: 'httpchk'}", PAY_CHECK, "  server pay", 11, "be_pay: no line matches"),
        (r"{forbid: '^\s*retries\s+[1-9]\d'}", "retries 2", "retries 20", 4, "is forbidden"),
        (f"{{{TIMEOUT}, minimum: 5s}}", "15s", "150ms", 3, "150ms is less than the minimum of 5s"),
        (f"{{{TIMEOUT}, maximum: 1m}}", "15s", "90000", 3, "90000 is greater than the maximum of 1m"),
        (f"{{{TIMEOUT}, minimum: 5s}}", "15s", "soon", 3, "soon is not a quantity in time"),
        (DEFAULT, "_backend be_shop", "_backend be_pay", 17, "be_pay is not one of be_shop"),
    ],
)
def test_text_that_breaks_an_assertion_is_named_with_its_line(
    assertion: str, old: str, new: str, line: int, said: str
) -> None:
    checks = f"text: [{assertion}]\n"
    assert findings(checks, CFG) == []
    assert old in CFG
    ((at, problem),) = findings(checks, CFG.replace(old, new))
    assert at == line and said in problem


def test_a_comment_neither_keeps_nor_breaks_an_assertion() -> None:
    """`server a # check` has no health check, whatever the comment says."""
    must = r"text: [{each: '^\s*server\s', must: '\bcheck\b'}]"
    assert findings(must, "  server a 1.1.1.1:80 # check\n") == [(1, r"'server a 1.1.1.1:80' lacks \bcheck\b")]
    assert findings("text: [{forbid: danger}]", "# danger\nfine # danger\n") == []


def test_a_section_ends_where_the_next_one_begins_also_in_ini_files() -> None:
    checks = r"text: [{section: '^\[db\]', heads: '^\[', each: '^pool = (\d+)', minimum: '5'}]"
    assert findings(checks, "[db]\npool = 9\n[web]\npool = 1\n") == []
    assert [line for line, _ in findings(checks, "[db]\npool = 2\n[web]\npool = 9\n")] == [2]


def among(checks: str, texts: Mapping[str, str], name: str) -> list[str]:
    files = HeldFiles(texts=texts)
    return [str(f) for f in check_document([made(checks)], files.read(name), files, NOW)]


def test_every_name_in_a_map_must_exist_as_a_backend() -> None:
    checks = r"references: [{pattern: '^\S+\s+(\S+)$', exist_in: {files: haproxy.cfg, pattern: '^backend\s+(\S+)'}}]"
    checks = checks + "\nfiles: '*.map'\n"
    texts = {"haproxy.cfg": CFG, "hosts.map": "shop.example be_shop\npay.example be_pay\n"}
    one = read_guard(HEAD.replace("files: '*'\n", "") + checks, source="guards/g.yaml")
    files = HeldFiles(texts=texts)
    assert check_document([one], files.read("hosts.map"), files, NOW) == ()
    files = HeldFiles(texts={**texts, "hosts.map": "shop.example be_shop\npay.example be_paymnt\n"})
    (found,) = check_document([one], files.read("hosts.map"), files, NOW)
    assert str(found).startswith("hosts.map:2: be_paymnt is not among") and "INC-7" in str(found)
    assert [document.name for document in neighbours([one], ["haproxy.cfg"], files)] == ["hosts.map"]
    assert neighbours([one], ["hosts.map"], files) == ()


def test_every_port_of_one_file_must_be_served_in_another_of_another_format() -> None:
    checks = r"references: [{pattern: '^\s*server\s.*:(\d+)', exist_in: {files: 'inv.*', path: 'services.*.ports.*'}}]"
    ports = "[services.shop]\nports = [7411, 7412]\n[services.pay]\nports = [7431]\n"
    assert among(checks, {"haproxy.cfg": CFG, "inv.toml": ports}, "haproxy.cfg") == []
    (said,) = among(checks, {"haproxy.cfg": CFG, "inv.toml": ports.replace("7412", "7413")}, "haproxy.cfg")
    assert said.startswith("haproxy.cfg:9: 7412 is not among the values of services.*.ports.* in inv.*")


def test_a_reference_to_a_file_that_is_not_there_fails_closed() -> None:
    checks = r"references: [{pattern: 'backend (\S+)', exist_in: {files: nowhere.yaml, keys: backends}}]"
    assert len(among(checks, {"a.cfg": "use backend one\n"}, "a.cfg")) == 1


class Lineless(TextDocument):
    """A document that cannot say where anything stands."""

    def line_of(self, path: object, part: int = 0) -> int:
        raise AssertionError("a line was asked for, though nothing is wrong")


def test_no_line_is_looked_for_while_nothing_is_wrong() -> None:
    """Finding a line reads the file again: an inventory of 1,000 took 17 s when each value asked for its own."""
    guard = made("references: [{path: port, exist_in: {files: inv.yaml, path: '*.port'}}]")
    inventory = Lineless(name="inv.yaml", text="a: {port: 7411}\nb: {port: 7412}\n")

    class Files:
        def matching(self, glob: str) -> list[TextDocument]:
            return [inventory]

    document = Lineless(name="x.yaml", text="port: 7412\n")
    assert check_document([guard], document, Files(), NOW) == ()


def test_names_of_keys_are_values_too() -> None:
    document = TextDocument(name="a.yaml", text="flags:\n  one: true\n  two: {owner: x}\n")
    assert [(v.text, v.line_in(document)) for v in values_at(Place(keys="flags"), document)] == [("one", 2), ("two", 3)]


PEM = certificate("shop.example", days=40)


@pytest.mark.parametrize(
    ("rule", "days_from_now", "said"),
    [
        ("{days_left: 14}", 0, ""),
        ("{days_left: 14, names: [shop.example]}", 0, ""),
        ("{days_left: 14}", 30, "limit 14"),
        ("{days_left: 0}", 41, "expired on"),
        ("{days_left: 0}", -400, "is not valid before"),
        ("{days_left: 0, names: [pay.example]}", 0, "is not for pay.example"),
    ],
)
def test_a_certificate_must_be_valid_long_enough_and_for_the_right_names(
    rule: str, days_from_now: int, said: str
) -> None:
    now = datetime.now(UTC) + timedelta(days=days_from_now)
    text = "# the shop's\n" + PEM
    found = check_text([made(f"certificate: {rule}\n")], "a.pem", text, now=now)
    assert [f.line for f in found] == ([2] if said else [])
    assert all(said in f.problem for f in found)


def test_a_file_without_a_certificate_where_one_must_be_is_a_finding() -> None:
    assert findings("certificate: {days_left: 1}", "nothing\n", name="a.pem") == [(1, "it holds no certificate")]
    with pytest.raises(InvalidInput, match=r"a\.pem:2: this is no certificate"):
        findings("certificate: {days_left: 1}", f"#\n{PEM[:60]}!!{PEM[60:]}", name="a.pem")


def located(schema: str, name: str, text: str) -> list[tuple[int, str]]:
    found: tuple[Finding, ...] = check_text([made(f"schema: {schema}\n")], name, text, now=NOW)
    return [(f.line, ".".join(map(str, f.path))) for f in found]


SCHEMA = "{properties: {pool: {properties: {size: {type: integer, minimum: 5}}}}}"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "x: 1\npool:\n  # why\n  size: 2\n", 4),
        ("a.json", '{\n\t"x": [1, 2],\n\t"pool": {\n\t\t"size": 2\n\t}\n}\n', 4),
        ("a.toml", "x = 1\n\n[pool]\nsize = 2\n", 4),
        ("two.yaml", "pool:\n  size: 9\n---\npool:\n  size: 2\n", 5),
        ("a.yaml", "base: &b\n  size: 2\npool:\n  <<: *b\n", 3),
    ],
)
def test_a_finding_has_the_line_of_the_key_in_every_format(name: str, text: str, line: int) -> None:
    assert located(SCHEMA, name, text) == [(line, "pool.size")]


def test_the_tables_of_a_toml_array_are_told_apart() -> None:
    schema = "{properties: {server: {items: {properties: {port: {maximum: 9}}}}}}"
    text = "[[server]]\nport = 1\n\n[[server]]\nport = 99\n"
    assert located(schema, "a.toml", text) == [(5, "server.1.port")]


def test_of_a_key_that_is_written_twice_the_one_that_counts_is_named() -> None:
    assert located("{properties: {a: {maximum: 5}}}", "a.yaml", "a: 1\nb: 2\na: 9\n") == [(3, "a")]


def test_yaml_is_read_as_json_schema_knows_it() -> None:
    """Dates stay text, keys stay as written, unknown tags are looked through: a schema can speak of all of them."""
    text = "on: 2026-01-02\n7411: !Ref port\nyes: !custom {a: 1}\nnone: ~\nlist: [1.5, 0x10, true]\n"
    expected = {
        "on": "2026-01-02",
        "7411": "port",
        "yes": {"a": 1},
        "none": None,
        "list": [1.5, 16, True],
    }
    assert parse_all(text, name="a.yaml") == (expected,)


def test_quantities_are_compared_by_what_they_mean() -> None:
    schema = "{properties: {memory: {quantity: {unit: size, minimum: 256Mi}}}}"
    assert located(schema, "a.yaml", "memory: 1Gi\n") == []
    assert located(schema, "a.yaml", "memory: 300M\n") == []
    assert located(schema, "a.yaml", "memory: 64000Ki\n") == [(1, "memory")]
    assert located(schema, "a.yaml", "memory: much\n") == [(1, "memory")]
    assert located("{properties: {quantity: {maximum: 5}}}", "a.yaml", "quantity: 6\n") == [(1, "quantity")]


@given(st.sampled_from(sorted(UNITS)), st.floats(0, 1e6, allow_nan=False), st.data())
def test_a_quantity_is_its_number_times_its_unit(unit: str, number: float, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(sorted(UNITS[unit])))
    assert read_quantity(f"{number}{suffix}", unit) == pytest.approx(number * UNITS[unit][suffix])
    assert read_quantity(f"{number} parsecs", unit) is None


@pytest.mark.parametrize(
    ("checks", "line", "said"),
    [
        ("schema: {type: nonsense}", 5, "not JSON Schema"),
        ("schema: {properties: {a: {quantity: {unit: furlong}}}}", 5, "unit furlong is not known"),
        ("text:\n- each: '('\n  must: x\n", 6, "text 1: each '(' is not a regular expression"),
        ("text:\n- require: x\n- each: x\n", 7, "text 2: each says nothing"),
        ("text:\n- must: x\n", 6, "text 1: it asserts nothing"),
        ("text:\n- each: x\n  minimum: '5'\n", 6, "has no group"),
        ("text:\n- each: (x)\n  minimum: soon\n", 6, "minimum 'soon' is not a quantity"),
        ("text:\n- eech: x\n", 6, "unknown key eech"),
        ("text: x\n", 5, "begin each entry with a dash"),
        ("references:\n- path: a.b\n", 6, "exist_in is missing"),
        ("references:\n- path: a\n  keys: b\n  exist_in: {files: x, path: y}\n", 6, "give exactly one"),
        ("references:\n- path: a\n  exist_in: {files: x, pattern: y}\n", 6, "has no group"),
        ("certificate: {days_left: soon}", 5, "days_left 'soon', must be 0..3650"),
        ("state: accepted\n", 1, "checks nothing"),
        ("schema: {}\nstate: maybe\n", 6, "has state maybe"),
        ("schema: {}\nproof: [x]\n", 6, "has a proof that is not"),
    ],
)
def test_a_bad_guard_file_names_its_line_the_key_and_what_to_do(checks: str, line: int, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_guard(HEAD + checks, source="guards/g.yaml")
    assert str(caught.value).startswith(f"guards/g.yaml:{line}: ") and said in str(caught.value)


def test_two_guards_of_one_name_stop_the_gate(tmp_path: Path) -> None:
    (tmp_path / "guards").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"guards/{name}.yaml").write_text(HEAD + "schema: {type: object}\n")
    (tmp_path / "x.yaml").write_text("a: 1\n")
    (said,) = gate([tmp_path / "x.yaml"])
    assert said == "guards/b.yaml:1: guard g exists already in guards/a.yaml"


def test_a_folder_stands_for_all_files_below_it(tmp_path: Path) -> None:
    (tmp_path / "guards").mkdir()
    (tmp_path / "guards/g.yaml").write_text(HEAD.replace("'*'", "'*.json'") + "schema: {required: [a]}\n")
    for name in ("one/x.json", "two/deep/y.json", ".hidden/z.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    assert [line.partition(" ")[0] for line in gate([tmp_path])] == ["one/x.json:1:", "two/deep/y.json:1:"]


def test_guards_are_not_held_against_guards(tmp_path: Path) -> None:
    """`*.yaml` crosses folders: without this a guard would refuse its own file."""
    (tmp_path / "guards").mkdir()
    (tmp_path / "guards/g.yaml").write_text(HEAD.replace("'*'", "'*.yaml'") + "schema: {required: [service]}\n")
    (tmp_path / "a.yaml").write_text("service: a\n")
    assert gate([tmp_path]) == [] and gate([tmp_path / "guards/g.yaml"]) == []


def test_a_change_of_one_file_shows_what_it_breaks_in_another(tmp_path: Path) -> None:
    """Removing a backend is checked on haproxy.cfg alone; the map that names it is what breaks."""
    (tmp_path / "guards").mkdir()
    checks = r"references: [{pattern: '^\S+\s+(\S+)$', exist_in: {files: haproxy.cfg, pattern: '^backend\s+(\S+)'}}]"
    (tmp_path / "guards/g.yaml").write_text(HEAD.replace("'*'", "'*.map'") + checks)
    (tmp_path / "hosts.map").write_text("pay.example be_pay\n")
    (tmp_path / "haproxy.cfg").write_text(CFG)
    assert gate([tmp_path / "haproxy.cfg"]) == []
    (tmp_path / "haproxy.cfg").write_text(CFG.replace("backend be_pay", "backend be_payment"))
    (said,) = gate([tmp_path / "haproxy.cfg"])
    assert said.startswith("hosts.map:1: be_pay is not among")
