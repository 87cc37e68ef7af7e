"""How `chat/{id}` went before turns had tools: for runs that began then. Goes when none of them can run any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.chatting import AdvanceChat, Drafts
    from activities.sending import BatchStep, SendMessages
    from boton import names
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_REST = timedelta(seconds=60)


class ChatBeforeTools:
    """take_look: whether the run was woken, which is forgotten then. renew: continues as a new run."""

    def __init__(
        self, chat_id: str, turns: int, take_look: Callable[[], bool], renew: Callable[[int], NoReturn]
    ) -> None:
        self._chat_id = chat_id
        self._turns = turns
        self._take_look = take_look
        self._renew = renew
        self._looks = False

    async def run(self) -> int:
        """Answers how many turns the bot took."""
        while self._looks or self._take_look():
            self._looks = False
            await self._answer_all()
            await self._rest()
        self._tell("idle", "Nothing is owed; the customer's next message starts a new run.")
        return self._turns

    async def _answer_all(self) -> None:
        """Until nothing is owed. A phone that is away for days, or a customer who never stops, needs several runs."""
        while (drafts := await self._compose()).message_ids:
            self._tell("replying", "The reply is with the phone's link process.")
            step = await self._send(drafts)
            self._turns += step.state == "done"
            self._continue_in_time()
        self._continue_in_time()

    def _continue_in_time(self) -> None:
        """A new run looks at the store first, so a look that came meanwhile is not lost."""
        if workflow.info().is_continue_as_new_suggested():
            self._renew(self._turns)

    async def _compose(self) -> Drafts:
        self._tell("thinking", "The language model writes the answer to what came in.")
        try:
            drafts: Drafts = await workflow.execute_activity(
                "compose_turn",
                AdvanceChat(self._chat_id),
                result_type=Drafts,
                start_to_close_timeout=policies.MODEL_TIMEOUT,
                heartbeat_timeout=policies.LINK_HEARTBEAT,
                retry_policy=policies.MODEL,
                summary="reads what is owed and asks the language model",
            )
        except ActivityError as error:
            await self._give_up(error)
            return Drafts()
        return drafts

    async def _give_up(self, error: ActivityError) -> None:
        cause = error.cause
        code = cause.type or "model_error" if isinstance(cause, ApplicationError) else "model_timeout"
        await workflow.execute_activity(
            "give_up_turn",
            AdvanceChat(self._chat_id, code=code),
            start_to_close_timeout=policies.STORE_TIMEOUT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="the model gave no answer: the turn is dropped",
        )

    async def _send(self, drafts: Drafts) -> BatchStep:
        step: BatchStep = await workflow.execute_activity(
            "send_messages",
            SendMessages(drafts.message_ids),
            result_type=BatchStep,
            task_queue=names.fast_queue(drafts.connection_id),
            start_to_close_timeout=policies.BATCH_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="claims, sends and records the reply",
        )
        return step

    async def _rest(self) -> None:
        self._tell("waiting", "Answered; waits a minute for the customer's next message.")
        try:
            await workflow.wait_condition(self._is_woken, timeout=_REST, timeout_summary="rest")
        except TimeoutError:
            return

    def _is_woken(self) -> bool:
        self._looks = self._looks or self._take_look()
        return self._looks

    def _tell(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI. Only the resting states cost a history event."""
        workflow.set_current_details(f"**{status}** · turns: {self._turns} · {next_step}")
        known = workflow.info().typed_search_attributes.get(_STATUS)
        if status in {"waiting", "idle"} and known != status:
            workflow.upsert_search_attributes([_STATUS.value_set(status)])
