"""A real HTTP server that speaks Chat Completions, and misbehaves when told to."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler"], None]


class ModelServer:
    """`behave` is what it does with each request, `requests` the bodies it has read, `keys` their bearer tokens,
    `repeats` their idempotency keys.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.repeats: list[str | None] = []
        self.released = threading.Event()
        self.behave: Behaviour = completes("Hola, ¿en qué puedo ayudarte?")


def completes(content: str | None, *, calls: list[Any] | None = None, finish_reason: str = "stop") -> Behaviour:
    """Answers as OpenAI does."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls is not None:
        message["tool_calls"] = calls
    return answers(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "test",
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
    )


def call(id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call as a server writes it; without an id where it is None."""
    told = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return told if id is None else {"id": id, **told}


def answers(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Behaviour:
    return writes(json.dumps(body).encode(), status, headers)


def writes(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def hangs(handler: Handler) -> None:
    """Reads the request and stays silent until the test is over."""
    handler.model_server.released.wait(30)


def trickles(handler: Handler) -> None:
    """Keeps sending a byte now and then, so that no time-out between two bytes ever strikes."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.model_server.released.wait(0.02):
        handler.wfile.write(b" ")


def hangs_up(handler: Handler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


def breaks_off(handler: Handler) -> None:
    """Closes the connection in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A server on a free port of 127.0.0.1; gone at the end, with every request that still hangs."""
    http = _Server(("127.0.0.1", 0), Handler)
    server = ModelServer(f"http://127.0.0.1:{http.server_port}/v1")
    http.model_server = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 resets connections of a busy moment

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent where the client has gone: one that is killed resets its connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """asked: the body of the request."""

    protocol_version = "HTTP/1.1"
    asked: dict[str, Any]

    @property
    def model_server(self) -> ModelServer:
        return self.server.model_server  # type: ignore[attr-defined, no-any-return]

    def do_POST(self) -> None:
        server = self.model_server
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the client has gone while it asked")
        self.asked = json.loads(body)
        server.requests.append({"path": self.path, **self.asked})
        server.keys.append(self.headers.get("Authorization"))
        server.repeats.append(self.headers.get("Idempotency-Key"))
        try:
            server.behave(self)
        except OSError:  # the client has gone, which is what some tests are about
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""
