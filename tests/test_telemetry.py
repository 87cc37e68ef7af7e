"""Logs that never tell a text or a number; metrics that Prometheus can read."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from boton.domain.connections import ConnectionStatus
from boton.errors import NotFound
from boton.metrics_text import fetch_exposition, merge_expositions, pick_loopback_port
from boton.telemetry import LineFormatter, Metrics, serve_metrics
from tests.temporal_server import shared_server
from tests.waiting import SECONDS


def _line(**kwargs: object) -> str:
    record = logging.LogRecord("boton.x", logging.WARNING, __file__, 1, "send accepted", (), None)
    record.__dict__.update(kwargs)
    return LineFormatter("api").format(record)


def test_an_event_is_one_line_of_time_level_process_event_and_fields() -> None:
    line = _line(send="snd_01M8", total=3, why="not now")
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'WARNING api send accepted send=snd_01M8 total=3 why="not now"'


@pytest.mark.parametrize("value", ["5491138620812", "5491138620812@s.whatsapp.net", "+5491138620812", 5491138620812])
def test_what_looks_like_a_phone_number_is_masked(value: object) -> None:
    line = _line(phone=value)
    assert "38620" not in line
    assert "549" in line


def test_ids_are_not_mistaken_for_phone_numbers() -> None:
    assert "snd_01KB2345678901234567890123" in _line(send="snd_01KB2345678901234567890123")


def test_a_foreign_error_is_named_with_its_place_but_not_its_message() -> None:
    try:
        raise ValueError("hola, soy Juan\nsecond line")
    except ValueError as error:
        line = _line(exc_info=(ValueError, error, error.__traceback__))
    assert "error=ValueError" in line
    assert "test_telemetry.py:" in line
    assert "Juan" not in line
    assert "\n" not in line


def test_an_error_of_our_own_tells_its_detail() -> None:
    error = NotFound("send", "snd_1")
    assert "There is no send snd_1." in _line(exc_info=(NotFound, error, None))


def test_an_uncaught_exception_dies_in_one_line_without_its_message() -> None:
    code = "from boton.telemetry import configure_logging as c; c('worker'); raise ValueError('secret text')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CRITICAL worker process died error=ValueError" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_importing_telemetry_loads_no_heavy_library() -> None:
    heavy = "('prometheus_client', 'temporalio', 'httpx')"
    code = f"import sys, boton.telemetry; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def _counted() -> Metrics:
    metrics = Metrics()
    metrics.count_request("GET", "/api/v1/chats/{jid}", 200, 0.01)
    metrics.count_message("outgoing", "reply", "sent", 2)
    metrics.observe_send("sent", 0.02)
    metrics.set_queue_age(1.5)
    metrics.count_model_answer(1.2, 10, 20)
    metrics.count_model_error("model_busy", 3.0)
    metrics.set_connections({"connected": 1})
    metrics.count_reconnect()
    metrics.count_turn("closed")
    metrics.count_takeovers(1)
    metrics.set_slow_lane(True)
    metrics.count_refusal("463")
    return metrics


def _samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("process", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_tokens_of_useless_answers_are_counted_too() -> None:
    metrics = Metrics()
    metrics.count_model_answer(1.2, 10, 20)
    metrics.count_model_error("model_malformed", 3.0, 11, 7)
    counted = [line for line in metrics.exposition().splitlines() if line.startswith("boton_llm_tokens_total{")]
    assert sorted(line.split()[-1] for line in counted) == ["21.0", "27.0"]


def test_each_count_of_the_contract_is_in_the_exposition() -> None:
    samples = _samples(_counted().exposition())
    assert samples["boton_messages_total", ""] == 2
    assert samples["boton_queue_age_seconds", ""] == 1.5
    assert samples["boton_llm_calls_total", ""] == 2
    for name in (
        "boton_http_requests_total",
        "boton_http_request_seconds_count",
        "boton_send_seconds_count",
        "boton_llm_errors_total",
        "boton_llm_tokens_total",
        "boton_llm_seconds_count",
        "boton_connections",
        "boton_reconnects_total",
        "boton_turns_total",
        "boton_takeovers_total",
        "boton_refusals_total",
    ):
        assert (name, "") in samples
    assert samples["boton_slow_lane_open", ""] == 1


def test_a_closed_slow_lane_is_not_open() -> None:
    metrics = _counted()
    metrics.set_slow_lane(False)
    assert _samples(metrics.exposition())["boton_slow_lane_open", ""] == 0


def test_refusals_are_counted_by_a_few_codes_only() -> None:
    metrics = Metrics()
    for code in ("463", "429", "429", "101", "104", "420", "anything"):
        metrics.count_refusal(code)
    lines = metrics.exposition().splitlines()
    assert [line for line in lines if line.startswith("boton_refusals_total{")] == [
        'boton_refusals_total{code="463"} 1.0',
        'boton_refusals_total{code="429"} 2.0',
        'boton_refusals_total{code="ban"} 2.0',
        'boton_refusals_total{code="other"} 2.0',
    ]


def test_a_connection_status_that_nobody_has_any_more_is_gone() -> None:
    metrics = _counted()
    metrics.set_connections({"banned": 1})
    assert 'status="connected"' not in metrics.exposition()


def test_merged_expositions_are_valid_and_tell_the_processes_apart() -> None:
    text = merge_expositions({"api": _counted().exposition(), "worker": _counted().exposition()})
    samples = _samples(text)
    assert samples["boton_takeovers_total", "api"] == 1
    assert samples["boton_takeovers_total", "worker"] == 1
    assert text.count("# TYPE boton_takeovers_total ") == 1
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(families) == len(set(families))


def test_merging_keeps_labels_with_braces_quotes_and_bare_samples() -> None:
    text = merge_expositions({"a": 'x{t="}\\"{"} 1\ny 2 1700000000000\nz{} 3\n# a comment\nnot a sample?\n'})
    assert 'x{process="a",t="}\\"{"} 1' in text
    assert 'y{process="a"} 2 1700000000000' in text
    assert 'z{process="a"} 3' in text
    assert _samples(text)["x", "a"] == 1


def test_a_process_serves_its_metrics_with_more_appended() -> None:
    server = serve_metrics(_counted(), 0, more=[lambda: "extra_metric 7\n"])
    assert server is not None
    try:
        text = fetch_exposition(server.port, SECONDS)
        assert text is not None
        assert _samples(text)["extra_metric", ""] == 7
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/other")
    finally:
        server.close()
    assert fetch_exposition(server.port) is None


def test_a_port_in_use_costs_the_metrics_but_not_the_work(caplog: pytest.LogCaptureFixture) -> None:
    first = serve_metrics(Metrics(), 0)
    assert first is not None
    try:
        assert serve_metrics(Metrics(), first.port) is None
    finally:
        first.close()
    assert "BOTON_METRICS_PORT" in caplog.text


async def test_the_temporal_sdk_is_part_of_the_exposition() -> None:
    await shared_server().connect()
    code = """
import asyncio, os, sys
from boton.metrics_text import fetch_exposition
from boton.telemetry import Metrics, sdk_runtime, serve_metrics
from boton.temporal import TemporalAddress, connect
async def main():
    runtime, port = sdk_runtime()
    await connect(TemporalAddress(target=sys.argv[1]), runtime=runtime)
    served, text = serve_metrics(Metrics(), 0, port), ""
    while "temporal_request" not in text:  # neither is waited for long
        text = fetch_exposition(served.port) or ""
    print(text)
asyncio.run(main())
sys.stdout.flush()
os._exit(0)  # Temporal's native threads sometimes crash while the interpreter is taken apart
"""
    command = [sys.executable, "-c", code, shared_server().target]
    text = await asyncio.to_thread(subprocess.check_output, command, text=True, timeout=SECONDS)
    assert "boton_takeovers_total 0.0" in text
    list(text_string_to_metric_families(text))


def test_picked_ports_are_free_and_below_the_range_of_outgoing_connections() -> None:
    assert all(15_000 <= pick_loopback_port() < 32_768 for _ in range(20))


def test_every_status_of_a_number_is_told_so_that_alerts_have_something_to_compare() -> None:
    metrics = Metrics()
    metrics.set_numbers({"connected": 2, "banned": 1})
    metrics.set_numbers({"connected": 3})
    told = metrics.exposition()
    assert 'boton_numbers{status="connected"} 3.0' in told
    assert 'boton_numbers{status="banned"} 0.0' in told
    assert told.count("boton_numbers{") == len(ConnectionStatus)


def test_closed_slow_lanes_are_told_by_the_refusal_that_closed_them() -> None:
    metrics = Metrics()
    metrics.set_lanes_closed({"ban": 1, "463": 2})
    metrics.set_lanes_closed({"ban": 1})
    told = metrics.exposition()
    assert 'boton_slow_lanes_closed{code="ban"} 1.0' in told
    assert 'boton_slow_lanes_closed{code="463"} 0.0' in told
