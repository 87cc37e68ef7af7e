"""Reads what the store and the simulator know of the messages, once it waits until nothing moves any more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.chaos.books import Claimed, Delivery, Told, choose_answer
from tests.chaos.patient import Patient
from tests.chaos.plan import Job, Kind, Letter

_LOOK_EVERY = 0.5
AT_REST = 150.0
"""Seconds without any progress after which nothing will come any more: more than the longest back-off, the sweeper's
round and the minute and a half after which what nobody could tell is asked again.
"""

_FINAL = frozenset({"delivered", "read", "failed", "cancelled", "expired", "refused", "unconfirmed"})
_MOVING = ("queued", "sending", "sent", "unconfirmed")


class Auditor:
    """accepted: ids by the jobs' keys; refused: keys of the jobs that were turned down."""

    def __init__(
        self, api: Patient, phones: Patient, accepted: Mapping[str, str], refused: set[str], *, forgetful: bool
    ) -> None:
        self._api = api
        self._phones = phones
        self._accepted = accepted
        self._refused = refused
        self._moving = tuple(status for status in _MOVING if status != "unconfirmed" or not forgetful)
        self._ledger: list[dict[str, Any]] = []

    @property
    def repeated(self) -> Counter[str]:
        """Requests to the API that were made again, by reason."""
        return self._api.repeated

    # ------------------------------------------------------------ waiting

    def await_rest(self, jobs: Iterable[Job]) -> list[str]:
        """Until everything is final, or nothing has become so for a long time; answers the keys of what is not."""
        pending = list(jobs)
        changed = time.monotonic()
        while pending and time.monotonic() - changed < AT_REST:
            self._follow_ledger()
            left = [job for job in pending if not self._is_final(job)]
            if len(left) < len(pending):
                changed = time.monotonic()
            pending = left
            time.sleep(_LOOK_EVERY)
        return [job.key for job in pending]

    def _is_final(self, job: Job) -> bool:
        if job.kind in (Kind.CUSTOMER, Kind.REMINDER):
            claims = self.read_claims([job])
            return all(code in claims and claims[code].status in _FINAL for code in _codes(job))
        if job.key not in self._accepted:
            return True
        send = self._api.fetch(f"/sends/{self._accepted[job.key]}")
        return send["finishedAt"] is not None and not any(send["counts"][status] for status in self._moving)

    # ------------------------------------------------------------ the store

    def read_claims(self, jobs: Iterable[Job]) -> dict[str, Claimed]:
        """What the store says of each message, by code."""
        claims: dict[str, Claimed] = {}
        for job in jobs:
            claims |= self._read_job(job)
        return claims

    def list_sends(self) -> list[str]:
        """The ids of all sends there are."""
        return [send["id"] for send in self._api.list_all("/sends", "sends")]

    def read_events(self) -> list[Told]:
        return [to_told(event) for event in self._api.list_events()]

    def _read_job(self, job: Job) -> dict[str, Claimed]:
        if job.key in self._refused:
            return dict.fromkeys(_codes(job), Claimed(status="refused"))
        match job.kind:
            case Kind.CUSTOMER:
                return self._read_answers(job.letters)
            case _ if job.key not in self._accepted:
                return {}
            case Kind.REMINDER:
                return self._read_reminder(job)
            case _:
                return self._read_send(job)

    def _read_send(self, job: Job) -> dict[str, Claimed]:
        codes = {letter.number: letter.code for letter in job.letters}
        recipients = self._api.list_all(f"/sends/{self._accepted[job.key]}/recipients", "recipients")
        return {codes[recipient["to"]]: _to_claimed(recipient) for recipient in recipients}

    def _read_reminder(self, job: Job) -> dict[str, Claimed]:
        [letter] = job.letters
        [firing] = self._api.fetch(f"/reminders/{self._accepted[job.key]}")["firings"]
        if firing["messageId"] is None:
            return {letter.code: Claimed(status=firing["status"])}
        [message] = [each for each in self._messages(letter.number) if each["id"] == firing["messageId"]]
        return {letter.code: _to_claimed(message)}

    def _read_answers(self, letters: tuple[Letter, ...]) -> dict[str, Claimed]:
        drafts = [message for message in self._messages(letters[0].number) if message["sender"] == "bot"]
        claims = {}
        for letter in letters:
            answer = choose_answer(_to_claimed(draft) for draft in drafts if letter.code in draft["text"])
            if answer is not None:
                claims[letter.code] = answer
        return claims

    def _messages(self, number: str) -> list[dict[str, Any]]:
        path = f"/chats/{number}@s.whatsapp.net/messages"
        answer = self._api.request("GET", path, params={"limit": 200})
        return [] if answer.status_code == 404 else list(answer.json()["messages"])

    # ------------------------------------------------------------ the ledger

    def read_ledger(self) -> list[Delivery]:
        self._follow_ledger()
        return [Delivery(to=entry["to"], text=entry["text"]) for entry in self._ledger]

    def _follow_ledger(self) -> None:
        after = self._ledger[-1]["seq"] if self._ledger else 0
        while page := self._phones.fetch("/ledger", after=after, limit=1000)["deliveries"]:
            self._ledger += page
            after = page[-1]["seq"]


def _codes(job: Job) -> list[str]:
    return [letter.code for letter in job.letters]


def _to_claimed(message: Mapping[str, Any]) -> Claimed:
    error = message["error"]
    return Claimed(status=message["status"], error=error["code"] if error else None)


def to_told(event: Mapping[str, Any]) -> Told:
    data = event["data"]
    id = data.get("reminderId" if event["type"] == "reminder.fired" else "sendId")
    return Told(seq=event["seq"], type=event["type"], id=id or "", text=data.get("text") or "")
