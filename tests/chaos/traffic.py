"""Carries out the jobs of a plan, many at once, and remembers what was answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.chaos.patient import Patient
from tests.chaos.phones import Phones
from tests.chaos.plan import Job, Kind, Twist

_AT_ONCE = 24
_PAUSE_SECONDS = (0.2, 2.0)


class Traffic:
    """accepted: the id that each job was given, by its key. refused: jobs that were answered with 422. unwritten: codes
    of questions that were never asked, because the one before had no answer. problems: what may not happen.
    """

    def __init__(self, api: Patient, phones: Phones) -> None:
        self._api = api
        self._phones = phones
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="traffic")
        self._futures: list[Future[None]] = []
        self.accepted: dict[str, str] = {}
        self.refused: set[str] = set()
        self.unwritten: set[str] = set()
        self.replayed = 0
        self.problems: list[str] = []

    def release(self, jobs: Iterable[Job]) -> None:
        self._futures += [self._threads.submit(self.do, job) for job in jobs]

    def await_answers(self) -> None:
        """Returns when every job so far is done."""
        wait(self._futures)

    def abandon(self) -> None:
        """Ends, and drops what was not begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def do(self, job: Job) -> None:
        """Now, on the caller's thread."""
        try:
            self._act(job)
        except Exception as error:  # noqa: BLE001 - the report tells it
            self.problems.append(f"{job.key}: {type(error).__name__}: {error}")

    def _act(self, job: Job) -> None:
        match job.kind:
            case Kind.CUSTOMER:
                self._ask(job)
            case Kind.REMINDER:
                self._create(job, "/reminders", reminder_body(job))
                if job.twist is Twist.CANCEL:
                    self._call("DELETE", f"/reminders/{self.accepted[job.key]}")
            case _:
                self._create(job, "/send", send_body(job))
                self._meddle(job)

    # ------------------------------------------------------------ requests

    def _create(self, job: Job, path: str, body: dict[str, Any]) -> None:
        """Posts until it is answered, always with the same key; the twin at the same moment."""
        answers: list[tuple[int, str]] = []

        def post() -> None:
            answer = self._api.request("POST", path, json=body, headers={"Idempotency-Key": job.key})
            answers.append((answer.status_code, answer.json().get("id", answer.text)))

        if job.twist is Twist.TWIN:
            _at_once(post, post)
        else:
            post()
        if job.twist is Twist.AGAIN:
            post()
        self._take_answers(job, answers)

    def _take_answers(self, job: Job, answers: list[tuple[int, str]]) -> None:
        self.replayed += len(answers) - 1
        if len(set(answers)) != 1:
            self.problems.append(f"{job.key}: the same request was answered differently: {answers}")
        for status, id in answers[:1]:
            if status in (201, 202):
                self.accepted[job.key] = id
            elif status == 422 and job.expires_in is not None:
                self.refused.add(job.key)  # it had expired by the time that somebody listened
            else:
                raise AssertionError(f"{status} {id}")

    def _meddle(self, job: Job) -> None:
        if job.twist not in (Twist.PAUSE, Twist.CANCEL):
            return
        send, random = f"/sends/{self.accepted[job.key]}", Random(job.key)
        _let_pass(random)
        if job.twist is Twist.CANCEL:
            self._call("POST", f"{send}/cancel")
        elif self._call("POST", f"{send}/pause"):
            self._check_rest(send, random)
            self._call("POST", f"{send}/resume")

    def _check_rest(self, send: str, random: Random) -> None:
        """A paused send: what was on its way ends, and nothing more leaves."""
        waiting = self._api.fetch(send)["counts"]["queued"]
        _let_pass(random)
        still = self._api.fetch(send)["counts"]["queued"]
        if still < waiting:
            self.problems.append(f"{send}: {waiting - still} messages left while it was paused")

    def _call(self, method: str, path: str) -> bool:
        """False when it was too late: what has ended can be neither paused nor cancelled."""
        answer = self._api.request(method, path)
        assert answer.status_code in (200, 409), f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.status_code == 200

    # ------------------------------------------------------------ customers

    def _ask(self, job: Job) -> None:
        """Each question once the one before was answered: two at once would get one answer."""
        for at, letter in enumerate(job.letters):
            question = f"pregunta {letter.code}"
            self._phones.write(letter.number, question)
            if at + 1 < len(job.letters) and not self._phones.await_text(letter.number, f"«{question}»"):
                self.unwritten |= {later.code for later in job.letters[at + 1 :]}
                return


def send_body(job: Job) -> dict[str, Any]:
    now = datetime.now(UTC)
    to = [{"to": letter.number, "variables": {"code": letter.code}} for letter in job.letters]
    what = "instruction" if job.kind is Kind.OPENING else "message"
    body: dict[str, Any] = {"to": to if len(to) > 1 else to[0], what: "Aviso {{code}}"}
    if job.send_in is not None:
        body["sendAt"] = _stamp(now + timedelta(seconds=job.send_in))
    if job.expires_in is not None:
        body["expiresAt"] = _stamp(now + timedelta(seconds=job.expires_in))
    return body


def reminder_body(job: Job) -> dict[str, Any]:
    [letter] = job.letters
    at = datetime.now(UTC) + timedelta(seconds=job.send_in or 0)
    return {"to": letter.number, "message": f"Recordatorio {letter.code}", "at": _stamp(at)}


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _let_pass(random: Random) -> None:
    """So long a pause has to last that something could go wrong in it."""
    threading.Event().wait(random.uniform(*_PAUSE_SECONDS))


def _at_once(*steps: Callable[[], None]) -> None:
    threads = [threading.Thread(target=step) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
