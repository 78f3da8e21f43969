"""Proposals: general enough for the next mistake of the kind, and never in the way of what was fine before."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quell.adapters.documents import HeldFiles, TextDocument
from quell.adapters.guards import check_text, read_guard, write_guard
from quell.resolution.bound import find_bound
from quell.resolution.evidence import BadChange
from quell.resolution.guard import Guard
from quell.resolution.line_change import changed_lines
from quell.resolution.proposal import propose
from quell.resolution.proving import Ground, prove

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CFG = """global
  maxconn 4000

defaults
  timeout connect 1s
  timeout server 15s
  retries 2

frontend fe_shop
  bind 127.0.0.1:7400
  http-request set-var(txn.lim) var(txn.cl),map_str_int(/etc/maps/limits.map,1000000)
  http-request set-var(txn.shed) str(shed),map_str_int(/etc/maps/knobs.map,0)
  default_backend be_shop

backend st_admit
  stick-table type string len 64 size 100k

backend be_shop
  option httpchk GET /health
  server shop-1 127.0.0.1:7411 check
  server shop-2 127.0.0.1:7412 check

backend be_pay
  option httpchk GET /health
  server pay-1 127.0.0.1:7431 check
"""


def ask(
    name: str,
    good: str,
    bad: str,
    *,
    history: Sequence[str] = (),
    others: Mapping[str, str] | None = None,
    globs: Sequence[str] = (),
) -> tuple[tuple[Guard, ...], tuple[str, ...]]:
    around = dict(others or {})
    change = BadChange(
        service="shop",
        incident="INC-1",
        commit="3f2a1bc09d",
        good=TextDocument(name=name, text=good),
        bad=TextDocument(name=name, text=bad),
        globs=(*globs, name),
        history=[TextDocument(name=name, text=text) for text in history],
        others=[TextDocument(name=other, text=text) for other, text in around.items()],
    )
    ground = Ground(
        bad=change.bad,
        around_bad=HeldFiles(texts={**around, name: bad}),
        around_good=HeldFiles(texts={**around, name: good}),
        now=NOW,
    )
    found, missing = propose(change, ground)
    assert all(prove(one.guard, ground).is_proved for one in found)
    return tuple(one.guard for one in found), missing


def stops(guards: Sequence[Guard], name: str, text: str, others: Mapping[str, str] | None = None) -> bool:
    return bool(check_text(guards, name, text, others=others, now=NOW))


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


LINES = [
    # the limit is in the file's own unit, and other units are understood
    ("timeout server 15s", "timeout server 150ms", "timeout server 900ms", "timeout server 8s"),
    ("retries 2", "retries 40", "retries 25", "retries 3"),
    ("maxconn 4000", "maxconn 40", "maxconn 9", "maxconn 3000"),
    # a name that is declared nowhere, and one that is
    ("default_backend be_shop", "default_backend be_shpo", "default_backend nowhere", "default_backend be_pay"),
    # what a server's line must not have
    ("7412 check", "7412 check backup", "7412 backup check", "7412 check weight 9"),
]


@pytest.mark.parametrize(("good", "bad", "alike", "fine"), LINES)
def test_a_line_that_was_wrong_once_is_stopped_with_another_value_too(
    good: str, bad: str, alike: str, fine: str
) -> None:
    guards, missing = ask("haproxy.cfg", CFG, replaced(CFG, good, bad))
    assert len(guards) == 1 and not missing
    assert stops(guards, "haproxy.cfg", replaced(CFG, good, alike))
    assert not stops(guards, "haproxy.cfg", replaced(CFG, good, fine))


def test_a_check_that_one_server_lost_is_asked_of_every_server() -> None:
    guards, _ = ask("haproxy.cfg", CFG, replaced(CFG, "7412 check", "7412"))
    assert stops(guards, "haproxy.cfg", replaced(CFG, "7431 check", "7431"))
    assert not stops(guards, "haproxy.cfg", CFG + "  server pay-2 127.0.0.1:7432 check\n")


def test_a_line_that_one_backend_lost_is_asked_of_all_that_serve_but_not_of_tables() -> None:
    lost = "  option httpchk GET /health\n"
    pay = CFG.rindex(lost)
    guards, _ = ask("haproxy.cfg", CFG, CFG[:pay] + CFG[pay + len(lost) :])
    assert stops(guards, "haproxy.cfg", replaced(CFG, lost, ""))
    assert not stops(guards, "haproxy.cfg", CFG.replace("GET /health", "GET /ready"))


def test_names_that_changed_places_keep_them() -> None:
    bad = CFG.replace("limits.map", "x").replace("knobs.map", "limits.map").replace("/x,", "/knobs.map,")
    guards, _ = ask("haproxy.cfg", CFG, bad)
    assert len(guards) == 1 and len(guards[0].text) == 2
    assert stops(guards, "haproxy.cfg", replaced(CFG, "maps/limits.map", "maps/shed.map"))
    assert not stops(guards, "haproxy.cfg", replaced(CFG, "limits.map,1000000", "limits.map,5000"))


def test_the_swap_of_two_values_in_a_map_guards_the_others_as_well() -> None:
    good = "a.example be_a\nb.example be_b\nc.example be_c\nd.example be_d\n"
    bad = "a.example be_b\nb.example be_a\nc.example be_c\nd.example be_d\n"
    guards, _ = ask("hosts.map", good, bad)
    assert stops(guards, "hosts.map", "a.example be_a\nb.example be_b\nc.example be_d\nd.example be_c\n")
    assert not stops(guards, "hosts.map", good + "e.example be_a\n")


def test_a_limit_in_a_map_holds_for_every_client() -> None:
    good = "mobile 400\nweb 900\nfeed 250\n"
    guards, _ = ask("limits.map", good, good.replace("400", "4"))
    assert stops(guards, "limits.map", good + "new 7\n") and not stops(guards, "limits.map", good + "new 200\n")


def test_swapped_limits_that_are_each_fine_elsewhere_are_told_apart_by_their_client() -> None:
    guards, _ = ask("limits.map", "mobile 400\nfeed 20\n", "mobile 20\nfeed 400\n")
    assert len(guards) == 2
    assert stops(guards, "limits.map", "mobile 30\nfeed 20\n") and not stops(
        guards, "limits.map", "mobile 300\nfeed 20\n"
    )


INVENTORY = "instances:\n  shop-1: {port: 7411}\n  shop-2: {port: 7412}\n  pay-1: {port: 7431}\n"


def test_a_port_must_be_served_somewhere_when_all_good_ones_are() -> None:
    others = {"inventory.yaml": INVENTORY}
    guards, _ = ask("haproxy.cfg", CFG, replaced(CFG, ":7412", ":7512"), others=others)
    (reference,) = guards[0].references
    assert reference.files == "inventory.yaml" and reference.target.path == "instances.*.port"
    assert stops(guards, "haproxy.cfg", replaced(CFG, ":7431", ":7499"), others)
    grown = {"inventory.yaml": INVENTORY + "  pay-2: {port: 7432}\n"}
    assert not stops(guards, "haproxy.cfg", CFG + "  server pay-2 127.0.0.1:7432 check\n", grown)


TIMES = "x:\n  a: {timeout_ms: 800}\n  b: {timeout_ms: 900}\n"


def test_a_timeout_that_happens_to_be_the_same_elsewhere_is_no_name() -> None:
    """Twice 800 ms is no agreement: tied together, neither could ever be changed alone."""
    guards, _ = ask("a.yaml", "timeout_ms: 800\n", "timeout_ms: 8\n", others={"b.yaml": TIMES})
    assert [g.references for g in guards] == [()] and not stops(guards, "a.yaml", "timeout_ms: 700\n")


def test_a_name_that_one_other_file_happens_to_hold_as_well_is_no_list_of_names() -> None:
    others = {"b.yaml": "db: {host: db-1.example}\n"}
    guards, _ = ask("a.yaml", "host: db-1.example\n", "host: db-9.example\n", others=others)
    assert [g.references for g in guards] == [()]


def test_a_service_with_a_single_instance_is_found_in_the_inventory_too() -> None:
    nested = "services:\n  shop:\n    at:\n      shop-1: {port: 7411}\n      shop-2: {port: 7412}\n"
    others = {"inventory.yaml": nested + "  pay:\n    at:\n      pay-1: {port: 7431}\n"}
    guards, _ = ask("haproxy.cfg", CFG, replaced(CFG, ":7412", ":9"), others=others)
    assert [g.references[0].target.path for g in guards] == ["services.*.at.*.port"]


def test_a_port_that_nothing_else_knows_is_pinned_not_bounded() -> None:
    """More or less of a port means nothing: 7511 is no better than 7512."""
    guards, _ = ask("haproxy.cfg", CFG, replaced(CFG, ":7412", ":7512"))
    assert stops(guards, "haproxy.cfg", replaced(CFG, ":7412", ":7413"))
    guards, _ = ask("a.yaml", "port: 7412\nx: 1\n", "port: 7512\nx: 1\n", history=["port: 7410\nx: 1\n"])
    assert stops(guards, "a.yaml", "port: 7413\nx: 1\n") and not stops(guards, "a.yaml", "port: 7410\nx: 1\n")


def test_an_upstream_must_be_a_name_of_the_inventory() -> None:
    good = '{"routes": [{"path": "/", "upstream": "shop"}, {"path": "/pay", "upstream": "pay"}]}\n'
    others = {"inventory.yaml": "services:\n  shop: {team: a}\n  pay: {team: b}\n  list: {team: a}\n"}
    bad = good.replace('"pay"', '"pay-old"')
    guards, _ = ask("routes.json", good.replace("shop", "shop"), bad, others={**others})
    assert guards[0].references and stops(guards, "routes.json", good.replace('"shop"', '"shpo"'), others)
    assert not stops(guards, "routes.json", good.replace('"shop"', '"list"'), others)


def test_history_says_how_far_a_value_may_go() -> None:
    good, bad = "timeout_ms: 800\n", "timeout_ms: 8\n"
    (alone,), _ = ask("a.yaml", good, bad)
    (known,), _ = ask("a.yaml", good, bad, history=["timeout_ms: 1000\n", "timeout_ms: 600\n"])
    assert alone.schema["properties"]["timeout_ms"]["minimum"] == 80
    assert known.schema["properties"]["timeout_ms"]["minimum"] == 300


def test_what_was_fine_once_is_never_refused() -> None:
    """5 ran well a month ago, so a limit that refuses it is wrong: the guard must tell 2 from 5, not from 800."""
    (guard,), _ = ask("a.yaml", "t: 800\n", "t: 2\n", history=["t: 5\n"])
    assert not stops([guard], "a.yaml", "t: 5\n") and stops([guard], "a.yaml", "t: 2\n")


def test_a_flag_may_be_what_it_was_before() -> None:
    guards, _ = ask("f.yaml", "pricing: stable\n", "pricing: beta\n", history=["pricing: classic\n"])
    assert stops(guards, "f.yaml", "pricing: alpha\n") and not stops(guards, "f.yaml", "pricing: classic\n")
    guards, _ = ask("f.yaml", "one_page: false\n", "one_page: true\n")
    assert stops(guards, "f.yaml", "one_page: maybe\n")


def test_a_whole_probe_that_went_is_one_guard() -> None:
    good = "spec:\n  probe:\n    path: /health\n    port: 80\n  image: a\n"
    guards, _ = ask("d.yaml", good, "spec:\n  image: a\n")
    assert len(guards) == 1 and guards[0].schema["properties"]["spec"]["required"] == ["probe"]
    assert not stops(guards, "d.yaml", good.replace("/health", "/ready"))


def test_a_limit_of_one_item_of_a_list_holds_for_every_item() -> None:
    good = "containers:\n- {name: a, memory: 512Mi}\n- {name: b, memory: 1Gi}\n"
    guards, _ = ask("d.yaml", good, good.replace("512Mi", "32Mi"))
    assert stops(guards, "d.yaml", good.replace("1Gi", "40000Ki"))
    assert not stops(guards, "d.yaml", good.replace("1Gi", "300Mi"))


def test_an_added_retry_is_held_below_what_it_was() -> None:
    guards, _ = ask("c.toml", "[a]\nx = 1\n", "[a]\nx = 1\nretries = 50\n")
    assert stops(guards, "c.toml", "[a]\nretries = 80\n") and not stops(guards, "c.toml", "[a]\nretries = 2\n")


def test_a_file_that_could_not_even_be_parsed_is_guarded() -> None:
    guards, _ = ask("a.yaml", "a: 1\n", "a: [1\n")
    assert guards and write_guard(guards[0])


def test_a_line_that_only_moved_or_a_comment_is_no_change() -> None:
    assert changed_lines("a 1\nb 2\n", "b 2\na 1 # why\n") == ()
    assert ask("haproxy.cfg", CFG, CFG + "# nothing\n") == ((), ())


def test_several_changes_of_one_commit_get_a_guard_each() -> None:
    bad = replaced(replaced(CFG, "timeout server 15s", "timeout server 10ms"), "retries 2", "retries 90")
    guards, _ = ask("haproxy.cfg", CFG, bad)
    assert sorted(g.text[0].each for g in guards) == [
        r"^\s*retries\s+(?P<value>[^\s;]+)",
        r"^\s*timeout\s+server\s+(?P<value>[^\s;]+)",
    ]


@pytest.mark.parametrize(("good", "bad", "alike", "fine"), LINES)
def test_a_proposal_survives_its_file(good: str, bad: str, alike: str, fine: str) -> None:
    guards, _ = ask("haproxy.cfg", CFG, replaced(CFG, good, bad))
    assert [read_guard(write_guard(guard), source=guard.source) for guard in guards] == list(guards)


WORDS = st.sampled_from(["timeout", "server", "retries", "option", "check", "be_a", "10.0.0.1:80", "5s", "7", "200ms"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=8).map("\n".join)


@settings(deadline=None)  # a whole proposal, on a machine that may be busy
@given(TEXTS, TEXTS, TEXTS)
def test_whatever_happened_to_a_text_what_is_proposed_is_proved_and_can_be_written(
    good: str, bad: str, before: str
) -> None:
    guards, _ = ask("x.cfg", good, bad, history=[before])
    assert not stops(guards, "x.cfg", good)
    assert [read_guard(write_guard(guard), source=guard.source) for guard in guards] == list(guards)


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.lists(st.floats(0.001, 1e6), max_size=5))
def test_a_bound_refuses_the_bad_value_and_nothing_that_was_fine(good: float, bad: float, known: list[float]) -> None:
    bound = find_bound(good, bad, known)
    fine = [good, *known]
    if bound is None:
        assert min(fine) <= bad <= max(fine)
        return
    assume(bound.value not in (bad,))
    if bound.is_minimum:
        assert bad < bound.value <= min(fine)
    else:
        assert max(fine) <= bound.value < bad


LEAVES = st.one_of(st.integers(0, 99), st.booleans(), st.none(), st.sampled_from(["be_a", "be_b", "512Mi", "5s"]))
TREES = st.recursive(
    LEAVES, lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(st.sampled_from("abc"), t, max_size=3))
)


@settings(deadline=None)  # a whole proposal, on a machine that may be busy
@given(st.dictionaries(st.sampled_from("xyz"), TREES), st.dictionaries(st.sampled_from("xyz"), TREES))
def test_whatever_happened_to_a_tree_what_is_proposed_is_proved_and_can_be_read_back(
    good: dict[str, object], bad: dict[str, object]
) -> None:
    before, after = yaml.safe_dump(good), yaml.safe_dump(bad)
    guards, _ = ask("x.yaml", before, after)
    assert not stops(guards, "x.yaml", before)
    assert [read_guard(write_guard(guard), source=guard.source) for guard in guards] == list(guards)


def test_a_section_of_an_ini_file_has_limits_of_its_own() -> None:
    """The pool of [web] may be 2; only that of [db] is too small with 1."""
    good = "[db]\npool = 20\n\n[web]\npool = 2\n"
    guards, _ = ask("app.ini", good, replaced(good, "pool = 20", "pool = 2"))
    assert stops(guards, "app.ini", replaced(good, "pool = 20", "pool = 1"))
    assert not stops(guards, "app.ini", replaced(good, "pool = 20", "pool = 15"))


NGINX = """http {
  server {
    listen 443 ssl;
    proxy_read_timeout 60s;
  }
}
"""
ENV = "TIMEOUT_MS=800\nPOOL=20\nDB_PORT=5432\nFLAG=false\n"
INI = "[db]\npool = 20\n\n[web]\nworkers = 4\n"


@pytest.mark.parametrize(
    ("name", "text", "good", "bad", "alike", "fine"),
    [
        ("nginx.conf", NGINX, "60s;", "600ms;", "1s;", "50s;"),
        ("nginx.conf", NGINX, "443 ssl;", "443;", "8443;", "443 ssl http2;"),
        ("app.env", ENV, "=800", "=8", "=12", "=600"),
        ("app.env", ENV, "POOL=20", "POOL=1", "POOL=2", "POOL=15"),
        ("app.env", ENV, "=5432", "=5433", "=6432", "=5432"),
        ("app.env", ENV, "=false", "=true", "=yes", "=false"),
        ("app.env", ENV, "POOL=20\n", "", "", "POOL=18\n"),
        ("app.ini", INI, "pool = 20", "pool = 1", "pool = 2", "pool = 15"),
        ("hosts.yaml", "hosts: [a1.ex, b1.ex]\n", "b1.ex", "c1.ex", "d1.ex", "a1.ex"),
        ("hosts.yaml", "hosts: [a1.ex, b1.ex]\n", ", b1.ex", "", "", ", c1.ex"),
    ],
)
def test_other_formats_are_understood_as_well(name: str, text: str, good: str, bad: str, alike: str, fine: str) -> None:
    guards, missing = ask(name, text, replaced(text, good, bad))
    assert len(guards) == 1 and not missing
    assert stops(guards, name, replaced(text, good, alike))
    assert not stops(guards, name, replaced(text, good, fine))
