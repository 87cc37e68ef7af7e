"""Prometheus' text format over HTTP: served, fetched, and merged from several processes. Standard library only."""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LOOPBACK = "127.0.0.1"
_SUFFIXES = ("", "_bucket", "_sum", "_count", "_total", "_created")
_SAMPLE = re.compile(
    r"(?P<name>[A-Za-z_:][\w:]*)(?P<labels>\{)?"
    r"(?P<rest>(?(labels).*\}|)[ \t]+(?:[-+]?\d[\d.eE+-]*|NaN|[-+]?Inf)(?:[ \t]+-?\d+)?)"
)


_HAS_PROCESS = re.compile(r'(?:^|,)process="')


def merge_expositions(by_process: Mapping[str, str]) -> str:
    """One exposition out of several: each sample gets a `process` label unless it bears one, and HELP and TYPE stand
    once per family.
    """
    families: dict[str, _Family] = {}
    for process, text in by_process.items():
        _read_into(families, process, text)
    return _to_text(families)


def join_expositions(texts: Iterable[str]) -> str:
    """Like `merge_expositions`, for texts whose samples are told apart already: nothing is added to them."""
    families: dict[str, _Family] = {}
    for text in texts:
        _read_into(families, None, text)
    return _to_text(families)


def _to_text(families: Mapping[str, _Family]) -> str:
    lines = [
        line for family in families.values() if family.samples for line in (*family.head.values(), *family.samples)
    ]
    return "\n".join([*lines, ""])


class _Family:
    """What belongs together under one name: HELP and TYPE by keyword, then the samples."""

    def __init__(self) -> None:
        self.head: dict[str, str] = {}
        self.samples: list[str] = []


def _read_into(families: dict[str, _Family], process: str | None, text: str) -> None:
    current = ""
    label = None if process is None else process.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            keyword, current = line[2:6], line.split(" ", 3)[2]
            families.setdefault(current, _Family()).head.setdefault(keyword, line)
        elif line and not line.startswith("#"):
            sample = _SAMPLE.fullmatch(line.strip())
            if sample is None:
                continue
            current = current if sample["name"] in {current + suffix for suffix in _SUFFIXES} else sample["name"]
            families.setdefault(current, _Family()).samples.append(_labelled(sample, label))


def _labelled(sample: re.Match[str], label: str | None) -> str:
    if label is None or (sample["labels"] and _HAS_PROCESS.search(sample["rest"])):
        return sample[0]
    if not sample["labels"]:
        return f'{sample["name"]}{{process="{label}"}}{sample["rest"]}'
    comma = "" if sample["rest"].lstrip().startswith("}") else ","
    return f'{sample["name"]}{{process="{label}"{comma}{sample["rest"]}'


def fetch_exposition(port: int, timeout: float = 1.0) -> str | None:
    """GET /metrics of a process on this machine; None when it does not answer in time."""
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return body if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class MetricsServer:
    """A loopback HTTP server in a daemon thread that knows one path, /metrics."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.port: int = server.server_address[1]
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stops listening; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()


def serve_text(read: Callable[[], str], port: int) -> MetricsServer:
    """Serves what `read` answers at that moment. Raises OSError when the port cannot be bound."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = read().encode() if found else b"try /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape is no event."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """The scraper went away before the answer: its matter."""

    return MetricsServer(Server((_LOOPBACK, port), Handler))


def pick_loopback_port() -> int:
    """A port that is free now, below the range that outgoing connections are given, so that it stays free."""
    for _ in range(200):
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe:
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 15000 and 32000")
