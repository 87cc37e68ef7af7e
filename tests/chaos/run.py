"""One run on one stack, from the first request to the compared books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from random import Random

from tests.acceptance.stack import Stack
from tests.chaos.auditor import Auditor
from tests.chaos.books import check_events, compare
from tests.chaos.mischief import Mischief
from tests.chaos.patient import Patient
from tests.chaos.plan import Act, Job, Plan
from tests.chaos.report import Report
from tests.chaos.traffic import Traffic

SETTINGS = {"SLOW_LANE_429_SECONDS": "2", "SLOW_LANE_463_SECONDS": "3"}
"""Of a stack that chaos is to run on, without BOTON_: a refusal is not to last for a day."""

_DEBOUNCE_SECONDS = 0.3
_TRY_AGAIN = 0.5


def run_chaos(stack: Stack, plan: Plan, say: Callable[[str], None] = lambda _: None) -> Report:
    """The stack runs; afterwards it runs still, without faults."""
    up, began = stack.up(), time.monotonic()
    with ExitStack() as clients:
        api = clients.enter_context(Patient(f"{up['api']}/api/v1", up["token"]))
        phones = clients.enter_context(Patient(up["simulator"]))
        api.request("POST", "/config", json={"debounceSeconds": _DEBOUNCE_SECONDS})
        traffic = Traffic(api, phones, up["business"]["phone"])
        random = Random(f"weather:{plan.seed}")
        mischief = Mischief(stack, phones, random, forgetful=plan.forgetful)
        try:
            _rage(plan, traffic, mischief, say)
            traffic.finish()
        finally:
            traffic.abandon()
        return _audit(plan, traffic, mischief, _Clients(api, phones), began, say)


class _Clients:
    def __init__(self, api: Patient, phones: Patient) -> None:
        self.api = api
        self.phones = phones


def _rage(plan: Plan, traffic: Traffic, mischief: Mischief, say: Callable[[str], None]) -> None:
    """Blow after blow, each followed by new requests. One that is not possible now waits for its turn."""
    mischief.begin()
    traffic.release(plan.first)
    try:
        acts, slices = [act for act, _ in plan.steps], [jobs for _, jobs in plan.steps]
        for at, jobs in enumerate(slices):
            act = _strike(acts, mischief)
            say(f"{at + 1}/{len(slices)} {act.deed} {act.part}{act.code or ''}")
            traffic.release(jobs)
    finally:
        mischief.end()


def _strike(acts: list[Act], mischief: Mischief) -> Act:
    """Performs the first act that is possible, and takes it off the list."""
    threading.Event().wait(acts[0].wait)
    while True:
        for act in acts:
            if mischief.perform(act):
                acts.remove(act)
                return act
        threading.Event().wait(_TRY_AGAIN)


def _audit(
    plan: Plan, traffic: Traffic, mischief: Mischief, clients: _Clients, began: float, say: Callable[[str], None]
) -> Report:
    jobs = [_as_asked(job, traffic.unwritten) for job in plan.jobs]
    auditor = Auditor(clients.api, clients.phones, traffic.accepted, traffic.refused, forgetful=plan.forgetful)
    say("waiting until nothing moves")
    unsettled = auditor.await_rest(jobs)
    say("comparing the books")
    account = compare(jobs, auditor.read_claims(jobs), auditor.read_ledger())
    problems = traffic.problems + check_events(auditor.read_events(), jobs, traffic.accepted)
    problems += [f"the API answered {status} {times} times" for status, times in clients.api.failures().items()]
    return Report(
        plan=plan,
        account=account,
        mischief=mischief,
        unsettled=unsettled,
        problems=problems + _strangers(auditor.list_sends(), traffic.accepted),
        replayed=traffic.replayed,
        repeated=clients.api.repeated,
        seconds=time.monotonic() - began,
    )


def _as_asked(job: Job, unwritten: set[str]) -> Job:
    """The job without the questions that were never asked."""
    return replace(job, letters=tuple(letter for letter in job.letters if letter.code not in unwritten))


def _strangers(sends: list[str], accepted: dict[str, str]) -> list[str]:
    """Sends that no answer told of: some request was carried out twice."""
    known = set(accepted.values())
    return [f"nobody was told of send {id}" for id in sends if id not in known]
