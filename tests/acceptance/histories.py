"""Every workflow's history as an operator can export it, and the search for what must not be in it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from tests.acceptance.fetching import fetch, open_client
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack

_NUMBER = re.compile(r"(?<![0-9A-Za-z.:-])\+?[1-9][0-9]{9,14}(?![0-9A-Za-z.:-])")
"""A full phone number standing by itself: not a part of an id, a decimal or a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: `listed` as the list of workflows shows it, `events` its whole history."""

    id: str
    listed: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def summary(self) -> str:
        return str(_decode(self.events[0].get("userMetadata", {}).get("summary", {})) or "")

    @property
    def attributes(self) -> dict[str, Any]:
        fields = self.listed.get("searchAttributes", {}).get("indexedFields", {})
        return {name: _decode(payload) for name, payload in fields.items()}


def fetch_runs(stack: Stack) -> list[Run]:
    """All runs that Temporal knows, running or closed, through the HTTP API of its UI."""
    base = _base(stack)
    with open_client() as client:
        listed = list(_pages(client, base, "executions"))
        return [_fetch_run(client, base, one) for one in listed]


def run_status(stack: Stack, workflow_id: str) -> str:
    """RUNNING, COMPLETED… of the newest run, as Temporal lists it; empty while there is none."""
    with open_client() as client:
        listed = _pages(client, _base(stack), "executions")
        statuses = [str(one["status"]) for one in listed if one["execution"]["workflowId"] == workflow_id]
    return statuses[0].removeprefix("WORKFLOW_EXECUTION_STATUS_") if statuses else ""


def _base(stack: Stack) -> str:
    return f"{stack.up()['temporalUi']}/api/v1/namespaces/default/workflows"


def _fetch_run(client: httpx.Client, base: str, listed: dict[str, Any]) -> Run:
    execution = listed["execution"]
    url = f"{base}/{quote(execution['workflowId'], safe='')}/history?execution.runId={execution['runId']}"
    return Run(id=execution["workflowId"], listed=listed, events=list(_pages(client, url, "events")))


def _pages(client: httpx.Client, url: str, things: str) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        answer = client.get(url, params={"nextPageToken": token, **dict(httpx.URL(url).params)} if token else None)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        yield from (body.get("history") or body).get(things, [])
        token = body.get("nextPageToken") or ""
        if not token:
            return


def assert_clean(runs: list[Run], simulator: Simulator) -> None:
    """No text, name or number that the simulator knows, and no number at all, is in what Temporal keeps."""
    forbidden = personal_data(simulator)
    assert len(forbidden) > 5, "nothing was said: this would prove nothing"
    for run in runs:
        told = "\n".join([json.dumps(run.listed), json.dumps(run.events), *decoded(run.listed), *decoded(run.events)])
        assert [said for said in forbidden if said in told and _by_itself(said).search(told)] == [], run.id
        assert _NUMBER.findall(told) == [], run.id


def _by_itself(said: str) -> re.Pattern[str]:
    """Not inside another word: a customer's "stop" is not told by "stopped"."""
    return re.compile(rf"(?<!\w){re.escape(said)}(?!\w)")


def personal_data(simulator: Simulator) -> set[str]:
    """Numbers, names and texts of everybody, those of the business too."""
    phones = fetch(f"{simulator.url}/phones", params={"limit": 500}).json()["phones"]
    found = {simulator.business}
    for phone in phones:
        said = [message["text"] for message in simulator.messages(phone["number"])]
        found |= {phone["number"], phone["name"] or "", *(text for text in said if len(text) > 3)}
    return found - {""}


def decoded(document: Any) -> Iterator[str]:
    """What is readable of every base64 payload in a document."""
    match document:
        case dict():
            for value in document.values():
                yield from decoded(value)
        case list():
            for value in document:
                yield from decoded(value)
        case str():
            yield _plain(document)


def _plain(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _decode(payload: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(payload["data"])) if "data" in payload else None
