"""One run with chats, from the first message to the compared books."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from tests.acceptance.stack import Stack
from tests.chaos.auditor import AT_REST, Auditor, to_told
from tests.chaos.books import check_events
from tests.chaos.chats.bill import check_bill
from tests.chaos.chats.books import compare_chats
from tests.chaos.chats.model import SlowModel
from tests.chaos.chats.plan import ChatPlan
from tests.chaos.chats.report import ChatReport
from tests.chaos.chats.store import StoreView
from tests.chaos.chats.talks import Talks
from tests.chaos.mischief import Mischief
from tests.chaos.patient import Patient
from tests.chaos.phones import Phones
from tests.chaos.plan import Moment
from tests.chaos.run import rage
from tests.chaos.traffic import Traffic

_DEBOUNCE_SECONDS = 0.4
_LOST_ACKS = 0.05
_AIM_SECONDS = 15.0
"""A blow whose moment does not come falls all the same."""

_OF_TOOLS = {("conversation.ended", "done"): "summary", ("chat.handed_off", None): "reason"}
"""Events that tell what came of one, by type and status, and where."""


def run_chats(
    stack: Stack, plan: ChatPlan, model: SlowModel, say: Callable[[str], None] = lambda _: None
) -> ChatReport:
    """The stack runs, with the settings of the model; afterwards it runs still, without faults."""
    up = stack.up()
    with Patient(f"{up['api']}/api/v1", up["token"]) as api, Patient(up["simulator"]) as simulator:
        run = _Run(stack, plan, model, api, simulator)
        try:
            return run.have(say)
        finally:
            run.close()


class _Run:
    def __init__(self, stack: Stack, plan: ChatPlan, model: SlowModel, api: Patient, simulator: Patient) -> None:
        self._plan, self._model, self._api = plan, model, api
        self._began = time.monotonic()
        self._store = StoreView(stack.store_url)
        phones = Phones(simulator, stack.up()["business"]["phone"])
        self._openings = Traffic(api, phones)
        self._talks = Talks(api, phones, self._openings)
        self._auditor = Auditor(api, simulator, self._openings.accepted, self._openings.refused, forgetful=False)
        self._mischief = Mischief(
            stack,
            simulator,
            Random(f"weather:{plan.seed}"),
            forgetful=False,
            lost_acks=_LOST_ACKS,
            await_moment=self._await_moment,
        )

    def have(self, say: Callable[[str], None]) -> ChatReport:
        self._api.request("POST", "/config", json={"debounceSeconds": _DEBOUNCE_SECONDS})
        rage(self._plan.steps, self._talks.release, self._mischief, say)
        say("waiting until every customer has written everything")
        self._talks.await_end()
        say("waiting until nothing moves")
        self._await_rest(self._count_questions() - len(self._plan.last.questions))
        self._talks.release([self._plan.last])
        self._talks.await_end()
        return self._audit(self._await_rest(self._count_questions()))

    def close(self) -> None:
        self._talks.abandon()
        self._openings.abandon()
        self._store.close()

    # ------------------------------------------------------------ waiting

    def _await_moment(self, moment: Moment) -> Moment:
        """When a blow may fall; what it was then."""
        deadline = time.monotonic() + _AIM_SECONDS
        while not self._is(moment):
            if time.monotonic() > deadline:
                return Moment.ANY
            time.sleep(0.005)
        return moment

    def _is(self, moment: Moment) -> bool:
        match moment:
            case Moment.THINKING:
                return self._model.is_thinking
            case Moment.REPLYING:
                return self._store.is_replying()
            case Moment.ANY:
                return True

    def _await_rest(self, questions: int) -> int:
        """Until nothing moves any more; how much will not come to its end."""
        left, changed = -1, time.monotonic()
        while time.monotonic() - changed < AT_REST:
            if (now := self._store.count_unsettled(questions)) != left:
                left, changed = now, time.monotonic()
            if left == 0:
                break
            time.sleep(0.5)
        return left

    def _count_questions(self) -> int:
        return sum(len(talk.questions) for talk in self._plan.talks)

    # ------------------------------------------------------------ the books

    def _audit(self, unsettled: int) -> ChatReport:
        stored, events = self._store.read(), self._api.list_events()
        openings, ledger = self._plan.openings, self._auditor.read_ledger()
        claims = self._auditor.read_claims(openings)
        problems = check_events([to_told(event) for event in events], openings, self._openings.accepted, claims)
        return ChatReport(
            plan=self._plan,
            account=compare_chats(self._plan.talks, stored, ledger, _of_tools(events), claims),
            bill=check_bill(self._model.asked, stored.rounds, self._mischief.deaths),
            mischief=self._mischief,
            unsettled=unsettled,
            problems=self._talks.problems + self._openings.problems + problems,
            seconds=time.monotonic() - self._began,
        )


def _of_tools(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Their types and words."""
    found = [(event, _OF_TOOLS.get((event["type"], event["data"].get("status")))) for event in events]
    return [(event["type"], event["data"][field] or "") for event, field in found if field is not None]
