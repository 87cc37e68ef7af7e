"""A language model's server as the OpenAI API describes it, which thinks and misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.acceptance.ports import LOOPBACK


class ModelServer:
    """Answers "respuesta N a: <the last user message>". Set `thinking` to hold answers back until it is cleared,
    `refusals` to the HTTP statuses of the next answers; `says_nothing` makes it answer with empty texts.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refusals: list[int] = []
        self.says_nothing = False
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """Whoever asks meanwhile waits until the end."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def asked(self, text: str) -> int:
        """How many requests hold that text."""
        return sum(text in json.dumps(request, ensure_ascii=False) for request in self.requests)

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        self.requests.append(request)
        number = len(self.requests)
        self._may_answer.wait(60)
        if self.refusals:
            return self.refusals.pop(0), {"error": {"message": "not now", "type": "server_error"}}
        if self.says_nothing:
            return 200, _completion("")
        said = [message["content"] for message in request["messages"] if message["role"] == "user"]
        return 200, _completion(f"respuesta {number} a: {said[-1] if said else ''}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = server.answer(request)
                raw = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)
                except (BrokenPipeError, ConnectionResetError):
                    return  # whoever asked was killed

            def log_message(self, format: str, *args: Any) -> None:
                """Tests are quiet."""

        return Handler


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "prueba",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
