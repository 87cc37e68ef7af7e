"""One run on one stack, from the first request to the compared books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from tests.acceptance.stack import Stack
from tests.chaos.auditor import Auditor
from tests.chaos.books import check_events, compare
from tests.chaos.mischief import Mischief
from tests.chaos.patient import Patient
from tests.chaos.phones import Phones
from tests.chaos.plan import Act, Job, Plan
from tests.chaos.report import Report
from tests.chaos.traffic import Traffic

T = TypeVar("T")

SETTINGS = {"SLOW_LANE_429_SECONDS": "2", "SLOW_LANE_463_SECONDS": "3"}
"""Of a stack that chaos is to run on, without BOTON_: a refusal is not to last for a day."""

_DEBOUNCE_SECONDS = 0.3
_TRY_AGAIN = 0.5


def run_chaos(stack: Stack, plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """The stack runs; afterwards it runs still, without faults."""
    up, began = stack.up(), time.monotonic()
    with Patient(f"{up['api']}/api/v1", up["token"]) as api, Patient(up["simulator"]) as phones:
        api.request("POST", "/config", json={"debounceSeconds": _DEBOUNCE_SECONDS})
        traffic = Traffic(api, Phones(phones, up["business"]["phone"]))
        auditor = Auditor(api, phones, traffic.accepted, traffic.refused, forgetful=plan.forgetful)
        mischief = Mischief(stack, phones, Random(f"weather:{plan.seed}"), forgetful=plan.forgetful)
        try:
            rage(plan.steps, traffic.release, mischief, say)
            unsettled = _await_rest(plan, traffic, auditor, say)
        finally:
            traffic.abandon()
        return _audit(plan, traffic, mischief, auditor, unsettled, began)


def rage(
    steps: Sequence[tuple[T, Act]], release: Callable[[T], None], mischief: Mischief, say: Callable[[str], None]
) -> None:
    """New requests, a blow, new requests… A blow that is not possible now waits for its turn."""
    mischief.begin()
    acts = [act for _, act in steps]
    try:
        for at, (jobs, planned) in enumerate(steps):
            release(jobs)
            threading.Event().wait(planned.wait)
            act = _strike(acts, mischief)
            say(f"{at + 1}/{len(steps)} {act.deed} {act.part}{act.code or ''}")
    finally:
        mischief.end()


def _strike(acts: list[Act], mischief: Mischief) -> Act:
    """Performs the first act that is possible, and takes it off the list."""
    while True:
        for act in acts:
            if mischief.perform(act):
                acts.remove(act)
                return act
        threading.Event().wait(_TRY_AGAIN)


def _await_rest(plan: Plan, traffic: Traffic, auditor: Auditor, say: Callable[[str], None]) -> list[str]:
    """Until nothing moves, and what was asked for after that has arrived: no second copy may still be on its way."""
    say("waiting until every request is answered")
    traffic.await_answers()
    say("waiting until nothing moves")
    unsettled = auditor.await_rest(_as_asked(plan.jobs, traffic.unwritten))
    traffic.release(plan.last)
    traffic.await_answers()
    return unsettled + auditor.await_rest(plan.last)


def _audit(
    plan: Plan, traffic: Traffic, mischief: Mischief, auditor: Auditor, unsettled: list[str], began: float
) -> Report:
    jobs = _as_asked(plan.jobs + plan.last, traffic.unwritten)
    claims = auditor.read_claims(jobs)
    problems = traffic.problems + check_events(auditor.read_events(), jobs, traffic.accepted, claims)
    return Report(
        plan=plan,
        account=compare(jobs, claims, auditor.read_ledger()),
        mischief=mischief,
        unsettled=unsettled,
        problems=problems + _strangers(auditor.list_sends(), traffic.accepted),
        replayed=traffic.replayed,
        repeated=auditor.repeated,
        seconds=time.monotonic() - began,
    )


def _as_asked(jobs: Iterable[Job], unwritten: set[str]) -> list[Job]:
    """Without the questions that were never asked."""
    return [
        replace(job, letters=tuple(letter for letter in job.letters if letter.code not in unwritten)) for job in jobs
    ]


def _strangers(sends: list[str], accepted: dict[str, str]) -> list[str]:
    """Sends that no answer told of: some request was carried out twice."""
    known = set(accepted.values())
    return [f"nobody was told of send {id}" for id in sends if id not in known]
