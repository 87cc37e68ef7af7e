"""What a web page of somebody else's could try against services on loopback."""

from __future__ import annotations

import httpx
import pytest

from tests.acceptance.fetching import fetch, open_client
from tests.acceptance.stack import Stack
from tests.acceptance.talk import Numbers


@pytest.mark.parametrize("service", ["api", "simulator"])
def test_other_hosts_name_is_refused(shared: Stack, service: str) -> None:
    """DNS rebinding: the page's own name leads to 127.0.0.1."""
    url = shared.up()[service]
    path = "/api/v1/status" if service == "api" else "/phones"
    headers = {"Authorization": f"Bearer {shared.up()['token']}"}
    assert fetch(url + path, headers=headers).status_code == 200
    answer = fetch(url + path, headers={**headers, "Host": "evil.example"})
    assert 400 <= answer.status_code < 500


def post(url: str, body: str, headers: dict[str, str]) -> httpx.Response:
    with open_client() as client:
        return client.post(url, content=body, headers=headers)


def test_form_of_another_page_sends_nothing(shared: Stack, numbers: Numbers) -> None:
    """A form may post text/plain anywhere without asking: JSON is taken only as JSON."""
    number, document = numbers.next(), shared.up()
    body = f'{{"to": "{document["business"]["phone"]}", "text": "de otra página"}}'
    headers = {"Content-Type": "text/plain"}
    refused = post(f"{document['simulator']}/phones/{number}/messages", body, headers)
    assert refused.status_code == 415
    assert shared.simulator.messages(number) == []
    headers["Authorization"] = f"Bearer {document['token']}"
    body = f'{{"to": "{number}", "message": "de otra página"}}'
    refused = post(f"{document['api']}/api/v1/send", body, headers)
    assert refused.status_code == 415
    assert refused.headers["content-type"].startswith("application/problem+json")


def test_only_loopback_is_listened_on(shared: Stack) -> None:
    """Ports that anything but this machine could reach."""
    wanted = {f"{port:04X}" for port in shared.ports.values()}
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            rows = [line.split() for line in lines][1:]
        listening |= {tuple(row[1].split(":")) for row in rows if row[3] == "0A"}
    addresses = {address for address, port in listening if port in wanted}
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}
