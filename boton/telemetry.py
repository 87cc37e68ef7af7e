"""Logs and metrics of one process. Labels and log fields never hold a message's text, a token or a full number.

Entry points construct `Metrics` and pass it on; importing this module does nothing and costs little.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from boton.domain.connections import ConnectionStatus
from boton.domain.jid import mask
from boton.domain.pacing import REFUSAL_LABELS, refusal_label
from boton.errors import BotonError
from boton.metrics_text import MetricsServer, fetch_exposition, join_expositions, serve_text

if TYPE_CHECKING:
    from temporalio.runtime import Runtime

_QUIET = ("httpx", "httpcore", "openai", "uvicorn", "uvicorn.access", "temporalio", "alembic", "asyncio", "multipart")
_FRAMES = 4
"""How many places of a traceback a log line names: enough to find the line, short enough to read."""

log = logging.getLogger(__name__)


def configure_logging(process: str, level: int = logging.INFO) -> None:
    """One line per event on stderr: `time LEVEL process event key=value…`; `extra=` gives the pairs.

    Libraries speak from WARNING on. An uncaught exception is one line too, without its message.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("boton").critical("process died", exc_info=(kind, error, trace))


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_LONG_NUMBER = re.compile(r"(?<![\w.])\d{8,15}(?![\w.])|(?<!\w)\d{8,15}(?=@)")


class LineFormatter(logging.Formatter):
    """Writes a record as one line. Whatever looks like a phone number is masked, whoever logged it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = [record.getMessage(), *_fields(record)]
        if record.exc_info and record.exc_info[1] is not None:
            body.append(_describe(record.exc_info[1]))
        text = " ".join(" ".join(body).split())
        return f"{moment} {record.levelname} {self._process} {_LONG_NUMBER.sub(lambda m: mask(m[0]), text)}"


def _fields(record: logging.LogRecord) -> Iterable[str]:
    for key, value in vars(record).items():
        if key not in _STANDARD and isinstance(value, str | int | float):
            yield f'{key}="{value}"' if isinstance(value, str) and " " in value else f"{key}={value}"


def _describe(error: BaseException) -> str:
    """Class and place. The message only of our own errors: those of libraries quote parameters and input."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    at = "<".join(f"{'/'.join(frame.filename.rsplit('/', 2)[-2:])}:{frame.lineno}" for frame in reversed(frames))
    detail = f' detail="{error.detail}"' if isinstance(error, BotonError) else ""
    return f"error={type(error).__name__}{detail} at={at}"


class Metrics:
    """What one process counts. Every argument is a word from our own enums or a route template, never free text."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        fast = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
        slow = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120)
        self._requests = Counter(
            "boton_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._latency = Histogram(
            "boton_http_request_seconds", "Time to answer.", ["method", "route"], buckets=fast, registry=registry
        )
        self._messages = Counter(
            "boton_messages",
            "Messages that reached a status that is told.",
            ["direction", "kind", "status"],
            registry=registry,
        )
        self._queue_age = Gauge("boton_queue_age_seconds", "Age of the oldest message that is due.", registry=registry)
        self._send_seconds = Histogram(
            "boton_send_seconds", "From claim to record of one message.", ["outcome"], buckets=fast, registry=registry
        )
        self._model_calls = Counter("boton_llm_calls", "Calls of the language model.", registry=registry)
        self._model_errors = Counter(
            "boton_llm_errors", "Calls without a usable answer, by error code.", ["code"], registry=registry
        )
        self._model_tokens = Counter(
            "boton_llm_tokens", "Tokens as the server counted them.", ["direction"], registry=registry
        )
        self._model_seconds = Histogram("boton_llm_seconds", "Duration of a call.", buckets=slow, registry=registry)
        self._connections = Gauge(
            "boton_connections", "Active connections of this process.", ["status"], registry=registry
        )
        self._numbers = Gauge(
            "boton_numbers",
            "Active numbers by status, of the whole store: every worker says the same, so take the max.",
            ["status"],
            registry=registry,
        )
        self._lanes_closed = Gauge(
            "boton_slow_lanes_closed",
            "Active numbers whose slow lane a refusal has closed, of the whole store: take the max.",
            ["code"],
            registry=registry,
        )
        self._reconnects = Counter("boton_reconnects", "Sessions opened after the first.", registry=registry)
        self._turns = Counter("boton_turns", "Turns of the bot, by how they ended.", ["outcome"], registry=registry)
        self._takeovers = Counter("boton_takeovers", "Chats that a human took over.", registry=registry)
        self._slow_lane_open = Gauge(
            "boton_slow_lane_open",
            "1 in a link whose number may write to new contacts, else 0; summed, how many may.",
            registry=registry,
        )
        self._unread = Counter(
            "boton_events_unread",
            "Times that WhatsApp told something which this version cannot read; it is kept for one that can.",
            registry=registry,
        )
        self._refusals = Counter(
            "boton_refusals", "Times that WhatsApp refused a number, by its code.", ["code"], registry=registry
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the template (`/api/v1/chats/{jid}`), never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def count_message(self, direction: str, kind: str, status: str, count: int = 1) -> None:
        """domain.messages: Direction, MessageKind, MessageStatus."""
        self._messages.labels(direction, kind, status).inc(count)

    def observe_send(self, outcome: str, seconds: float) -> None:
        """`outcome` is the MessageStatus that was recorded."""
        self._send_seconds.labels(outcome).observe(seconds)

    def set_queue_age(self, seconds: float) -> None:
        """Since when the oldest unfinished send is due; 0 when there is none."""
        self._queue_age.set(seconds)

    def count_model_answer(self, seconds: float, tokens_in: int, tokens_out: int) -> None:
        self._count_model_call(seconds, tokens_in, tokens_out)

    def count_model_error(self, code: str, seconds: float, tokens_in: int = 0, tokens_out: int = 0) -> None:
        """`code` of a ModelError. Tokens: of an answer that was of no use."""
        self._count_model_call(seconds, tokens_in, tokens_out)
        self._model_errors.labels(code).inc()

    def _count_model_call(self, seconds: float, tokens_in: int, tokens_out: int) -> None:
        self._model_calls.inc()
        self._model_seconds.observe(seconds)
        self._model_tokens.labels("in").inc(tokens_in)
        self._model_tokens.labels("out").inc(tokens_out)

    def set_connections(self, by_status: Mapping[str, int]) -> None:
        """How many connections this process knows in each ConnectionStatus; statuses left out are gone."""
        self._connections.clear()
        for status, count in by_status.items():
            self._connections.labels(status).set(count)

    def set_numbers(self, by_status: Mapping[str, int]) -> None:
        """How many active numbers the store has in each ConnectionStatus, 0 included: alerts compare with it."""
        for status in ConnectionStatus:
            self._numbers.labels(status.value).set(by_status.get(status.value, 0))

    def set_lanes_closed(self, by_refusal: Mapping[str, int]) -> None:
        """How many active numbers' slow lanes are closed, by REFUSAL_LABELS, 0 included."""
        for label in REFUSAL_LABELS:
            self._lanes_closed.labels(label).set(by_refusal.get(label, 0))

    def count_reconnect(self) -> None:
        self._reconnects.inc()

    def count_turn(self, outcome: str) -> None:
        """domain.conversations: TurnStatus."""
        self._turns.labels(outcome).inc()

    def count_takeovers(self, count: int) -> None:
        self._takeovers.inc(count)

    def count_unread(self) -> None:
        self._unread.inc()

    def set_slow_lane(self, open: bool) -> None:
        """Whether the slow lane of this process's number takes messages, or a refusal has closed it."""
        self._slow_lane_open.set(open)

    def count_refusal(self, code: str) -> None:
        """`code`: WhatsApp's own; those of a ban count as one, and so do those that mean nothing here."""
        self._refusals.labels(refusal_label(code)).inc()

    def exposition(self) -> str:
        """Everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry).decode()


def serve_metrics(
    metrics: Metrics, port: int, sdk_port: int | None = None, more: Iterable[Callable[[], str]] = ()
) -> MetricsServer | None:
    """GET /metrics of this process on 127.0.0.1:`port` (0: any free one), from a daemon thread.

    `sdk_port` is where `sdk_runtime` listens: its text is appended, as is that of each callable in `more`.
    None when the port is taken: work goes on without metrics, a warning says so.
    """
    sources = [metrics.exposition, *more]
    if sdk_port is not None:
        sources.append(lambda: fetch_exposition(sdk_port) or "")
    try:
        return serve_text(lambda: join_expositions(source() for source in sources), port)
    except OSError:
        log.warning("metrics are not served: the port is in use, set BOTON_METRICS_PORT", extra={"port": port})
        return None


def sdk_runtime() -> tuple[Runtime, int]:
    """A Temporal runtime that exposes the SDK's own metrics on a loopback port, and that port. One for a process."""
    from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

    from boton.metrics_text import pick_loopback_port

    port = pick_loopback_port()
    config = PrometheusConfig(bind_address=f"127.0.0.1:{port}", durations_as_seconds=True)
    return Runtime(telemetry=TelemetryConfig(metrics=config)), port
