"""A client of the REST API, as an integrator would write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from tests.acceptance.fetching import open_client

_UNFINISHED = {"queued", "sending"}


class Api:
    """`url` without a path. Every call opens its own connection: the API's process may be another one by then."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._base = f"{url}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with open_client(headers=self._headers) as client:
            return client.request(method, self._base + path, **options)

    def get(self, path: str, **query: Any) -> Any:
        return _body(self.request("GET", path, params=query), 200)

    def patch_chat(self, number: str, **change: Any) -> Any:
        return _body(self.request("PATCH", f"/chats/{jid(number)}", json=change), 200)

    def configure(self, **change: Any) -> Any:
        return _body(self.request("POST", "/config", json=change), 200)

    def send(self, to: str | Sequence[str], **content: Any) -> Any:
        """Accepted: the 202's document."""
        body = {"to": to if isinstance(to, str) else list(to), **content}
        return _body(self.request("POST", "/send", json=body), 202)

    def recipients(self, send_id: str) -> list[dict[str, Any]]:
        """All of them, page by page."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            page = self.get(f"/sends/{send_id}/recipients", page=len(found) // 50, pageSize=50)
            found += page["recipients"]
            more = page["hasMore"]
        return found

    def statuses(self, send_id: str) -> set[str]:
        """Every status that a recipient of the send has."""
        return {recipient["status"] for recipient in self.recipients(send_id)}

    def is_finished(self, send_id: str) -> bool:
        return bool(self.get(f"/sends/{send_id}")["status"] == "finished")

    def are_delivered(self, send_id: str) -> bool:
        return self.statuses(send_id) <= {"delivered", "read"}

    def messages(self, number: str) -> list[dict[str, Any]]:
        """The chat's newest messages; none while there is no chat."""
        answer = self.request("GET", f"/chats/{jid(number)}/messages", params={"limit": 200})
        return [] if answer.status_code == 404 else list(_body(answer, 200)["messages"])

    def last_seq(self) -> int:
        """The number of the newest event."""
        seq, more = 0, True
        while more:
            page = self.get("/events", after=seq, limit=1000)
            seq, more = page["lastSeq"], page["hasMore"]
        return seq


def jid(number: str) -> str:
    return f"{number}@s.whatsapp.net"


def _body(answer: httpx.Response, expected: int) -> Any:
    assert answer.status_code == expected, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json()
