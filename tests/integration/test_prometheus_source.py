"""PrometheusSource against a real server, and against one that misbehaves."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from quell.adapters.metrics.prometheus import PrometheusSource
from quell.incidents.errors import InvalidInput, Unavailable

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=5)
SAMPLES = 12_000  # of `ticks`, every 5 s: more than one answer may hold


@pytest.fixture(scope="module")
def source(backfilled_prometheus: Callable[[str], str]) -> Iterator[PrometheusSource]:
    end = int(NOW.timestamp())
    ticks = [f'ticks{{instance="a"}} {i} {end - (SAMPLES - 1 - i) * 5}' for i in range(SAMPLES)]
    # b appears late; c never has numbers
    late = [f'late{{instance="b"}} {i} {end - (9 - i) * 5}' for i in range(10)]
    odd = [f'odd{{kind="{k}"}} {k} {end}' for k in ("NaN", "+Inf", "-Inf")]
    text = ["# TYPE ticks gauge", *ticks, "# TYPE late gauge", *late, "# TYPE odd gauge", *odd, "# EOF", ""]
    found = PrometheusSource(backfilled_prometheus("\n".join(text)), timeout=timedelta(seconds=10))
    yield found
    found.close()


def test_a_range_is_a_matrix_on_the_asked_grid(source: PrometheusSource) -> None:
    matrix = source.range("ticks", start=NOW - 3 * STEP, end=NOW, step=STEP)
    assert matrix.labels == ({"__name__": "ticks", "instance": "a"},)
    assert matrix.timestamps.tolist() == [(NOW - k * STEP).timestamp() for k in (3, 2, 1, 0)]
    assert matrix.values[:, 0].tolist() == [SAMPLES - 4, SAMPLES - 3, SAMPLES - 2, SAMPLES - 1]


def test_a_range_above_11000_points_is_asked_in_parts_and_joined(source: PrometheusSource) -> None:
    start = NOW - (SAMPLES - 1) * STEP
    matrix = source.range("ticks", start=start, end=NOW, step=STEP)
    assert np.array_equal(matrix.values[:, 0], np.arange(SAMPLES))
    assert np.allclose(np.diff(matrix.timestamps), 5.0)


def test_a_series_that_is_missing_from_one_part_is_nan_there(source: PrometheusSource) -> None:
    start = NOW - (SAMPLES - 1) * STEP
    matrix = source.range('{__name__=~"ticks|late"}', start=start, end=NOW, step=STEP)
    late = [one.get("instance") for one in matrix.labels].index("b")
    assert np.isnan(matrix.values[:-10, late]).all()
    assert matrix.values[-10:, late].tolist() == list(range(10))


def test_the_joined_answer_equals_a_single_one(source: PrometheusSource) -> None:
    coarse = source.range("ticks", start=NOW - timedelta(hours=16), end=NOW, step=timedelta(seconds=10))
    fine = source.range("ticks", start=NOW - timedelta(hours=16), end=NOW, step=STEP)
    assert len(coarse.timestamps) <= 11_000 < len(fine.timestamps)
    assert np.array_equal(fine.values[::2], coarse.values)


def test_a_start_between_milliseconds_loses_no_sample(source: PrometheusSource) -> None:
    start = NOW - timedelta(seconds=50) + timedelta(microseconds=123_456)
    matrix = source.range("ticks", start=start, end=NOW, step=timedelta(seconds=0.7))
    assert not np.isnan(matrix.values).any()
    assert len(matrix.timestamps) == 72


def test_an_instant_query_gives_the_last_values(source: PrometheusSource) -> None:
    assert source.instant("ticks", at=NOW).values.tolist() == [[SAMPLES - 1]]
    assert source.instant("vector(3)", at=NOW).labels == ({},)
    assert source.instant("3 + 4", at=NOW).values.tolist() == [[7.0]]
    assert source.instant("nothing_of_that_name", at=NOW).values.shape == (1, 0)


def test_not_a_number_and_infinity_are_read_as_such(source: PrometheusSource) -> None:
    matrix = source.instant("odd", at=NOW)
    values = {one["kind"]: value for one, value in zip(matrix.labels, matrix.values[0], strict=True)}
    assert np.isnan(values["NaN"]) and values["+Inf"] == np.inf and values["-Inf"] == -np.inf


def test_metric_names_are_those_of_the_server(source: PrometheusSource) -> None:
    assert source.metric_names() == {"ticks", "late", "odd"}


def test_a_bad_query_is_refused_in_prometheus_own_words(source: PrometheusSource) -> None:
    with pytest.raises(InvalidInput, match="unclosed left parenthesis"):
        source.range("sum(ticks", start=NOW - STEP, end=NOW, step=STEP)


def test_a_query_that_fails_while_it_runs_is_invalid_too(source: PrometheusSource) -> None:
    with pytest.raises(InvalidInput, match="label_replace"):
        source.instant('label_replace(ticks, "a-b", "", "", "(")', at=NOW)


def test_a_step_of_zero_is_refused_before_asking(source: PrometheusSource) -> None:
    with pytest.raises(InvalidInput, match=r"step of query 'ticks' is 0.0 s"):
        source.range("ticks", start=NOW, end=NOW, step=timedelta(0))


def test_an_unreachable_server_is_named_with_what_to_do() -> None:
    unreachable = PrometheusSource("http://127.0.0.1:9", timeout=timedelta(seconds=1), attempts=2)
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9 cannot be reached .* check that it runs"):
        unreachable.instant("up")
    unreachable.close()


@contextmanager
def misbehaving(*answers: tuple[int, bytes]) -> Iterator[tuple[PrometheusSource, list[str]]]:
    """A server that gives these answers in turn, the last one for ever, and the paths that it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = PrometheusSource(f"http://127.0.0.1:{server.server_port}", timeout=timedelta(seconds=2))
    try:
        yield found, asked
    finally:
        found.close()
        server.shutdown()
        server.server_close()
        thread.join()


GOOD = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2.5"]}]}}'


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(status: int) -> None:
    with misbehaving((status, b"busy"), (200, GOOD)) as (source, asked):
        assert source.instant("up").values.tolist() == [[2.5]]
        assert len(asked) == 2


def test_a_lasting_fault_is_unavailable_with_its_status() -> None:
    with misbehaving((503, b"overloaded")) as (source, asked):
        with pytest.raises(Unavailable, match=r"answered 503 \(overloaded\): try again later"):
            source.instant("up")
        assert len(asked) == 3


def test_what_is_not_prometheus_says_so_and_is_not_asked_again() -> None:
    with misbehaving((200, b"<html>welcome</html>")) as (source, asked):
        with pytest.raises(Unavailable, match="is this a Prometheus query API"):
            source.instant("up")
        assert len(asked) == 1


def test_a_server_that_drips_is_given_up_after_the_timeout_and_not_read_for_ever() -> None:
    """httpx limits the time between two bytes: one byte every 0.1 s went on for as long as the server liked."""

    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    stopped.wait(0.1)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url, limit = f"http://127.0.0.1:{server.server_port}", timedelta(seconds=1)
    source = PrometheusSource(url, timeout=limit, attempts=2)
    begun = time.monotonic()
    with pytest.raises(
        Unavailable, match=r"did not answer in time \(only \d+ bytes came within 1 s\) after 2 attempts"
    ):
        source.instant("up")
    assert time.monotonic() - begun < 5
    source.close()
    stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


MATRIX = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[%s]},%s]}}'


def test_a_range_is_read_however_the_server_spaces_and_writes_its_numbers() -> None:
    body = MATRIX % (
        b'[10, "1e3"],\n [15.001,"+Inf"], [20,"NaN"],[30,"-2.5"]',
        b'{"metric":{},"values":[]},{"metric":{}}',
    )
    with misbehaving((200, body)) as (source, _):
        moments = [datetime.fromtimestamp(at, UTC) for at in (10, 30)]
        found = source.range("up", start=moments[0], end=moments[1], step=STEP)
    assert found.labels == ({"a": "b"}, {}, {})
    assert np.array_equal(found.values[:, 0], [1000.0, np.inf, np.nan, np.nan, -2.5], equal_nan=True)
    assert np.isnan(found.values[:, 1:]).all()


@pytest.mark.parametrize("samples", [b'[10,"1"],[15,"many"],[20,"3"]', b'[10],[15,"2"]', b'[10,"1"],[15,""]'])
def test_samples_that_are_no_numbers_are_no_answer(samples: bytes) -> None:
    with misbehaving((200, MATRIX % (samples, b'{"metric":{}}'))) as (source, _):
        moments = [datetime.fromtimestamp(at, UTC) for at in (10, 30)]
        with pytest.raises(Unavailable, match=r"with no matrix: .*samples are no"):
            source.range("up", start=moments[0], end=moments[1], step=STEP)


def test_a_partial_answer_is_used_and_its_warning_logged(caplog: pytest.LogCaptureFixture) -> None:
    partial = GOOD[:-1] + b',"warnings":["store eu-1 did not answer"]}'
    with misbehaving((200, partial)) as (source, _):
        found = source.instant("up")
    assert found.values.tolist() == [[2.5]] and found.warnings == ("store eu-1 did not answer",)
    assert "store eu-1 did not answer" in caplog.text
