"""`chat/{id}`: the bot's side of one chat. Woken by "look", it does what the store says is due, then waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from activities.chatting import AdvanceChat, NextStep, RunTool
    from activities.sending import BatchStep, SendMessages
    from boton import names
    from workflows import policies
    from workflows.chat_before_tools import ChatBeforeTools

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_REST = timedelta(seconds=60)
"""A chat without a timer of its own ends its run after this long; the next message starts another."""

_LONGEST_QUIET = timedelta(seconds=20)
"""A customer who never stops writing is answered after this long all the same."""

_AFTER_TROUBLE = timedelta(minutes=1)
"""When the store failed for long, or for good: whatever it is, it is not asked in a tight loop."""

_SHORTEST_WAIT = timedelta(seconds=1)
"""Temporal knows no shorter timer; and the store's clock may be behind."""

_STEPS_A_RUN = 200
"""Of the kind that Temporal's own suggestion does not count: a run that is woken for ever stays small."""


@dataclass(frozen=True, slots=True)
class ChatInput:
    """turns: how many this chat has had in earlier runs of this workflow. quiet_since, quiet_until: the customer may be
    writing still, as the run before knew.
    """

    chat_id: str
    turns: int = 0
    quiet_since: datetime | None = None
    quiet_until: datetime | None = None


@workflow.defn(name=names.CHAT_WORKFLOW)
class ChatWorkflow:
    """The store says what is due; this run waits for the customer to be quiet, for tools, for its own timers."""

    @workflow.init
    def __init__(self, chat: ChatInput) -> None:
        self._chat_id = chat.chat_id
        self._turns = chat.turns
        self._looked = True
        self._quiet_since = chat.quiet_since
        self._quiet_until = chat.quiet_until
        self._steps = 0
        self._ended = ""
        self._gone = False

    @workflow.signal(name=names.LOOK)
    def look(self, quiet_seconds: float = 0.0) -> None:
        """The store changed. quiet_seconds: for so long the customer may be writing still."""
        self._looked = True
        if quiet_seconds > 0:
            self._quiet_since = self._quiet_since or workflow.now()
            self._quiet_until = workflow.now() + timedelta(seconds=quiet_seconds)

    @workflow.run
    async def run(self, chat: ChatInput) -> int:
        """Answers how many turns the bot took."""
        if not workflow.patched("turns-with-tools"):
            return await ChatBeforeTools(chat.chat_id, chat.turns, self._take_look, self._renew).run()
        until: datetime | None = None
        while self._looked or until is not None:
            await self._wait_for_quiet()
            self._looked = False
            until = await self._do_what_is_due()
            if self._gone:
                self._tell("gone", "The customer has another chat too, of which this one is a part now.")
                return self._turns
            await self._wait(until)
        self._tell("idle", "Nothing is owed; the customer's next message starts a new run.")
        return self._turns

    async def _wait_for_quiet(self) -> None:
        """Until the customer has written nothing for a while: a burst is one turn."""
        while self._quiet_until is not None and self._quiet_since is not None:
            until = min(self._quiet_until, self._quiet_since + _LONGEST_QUIET)
            if until <= workflow.now():
                break
            self._tell("waiting", "The customer may be writing still.")
            await self._sleep_while(until, self._quiet_until)
        self._quiet_since = self._quiet_until = None

    async def _sleep_while(self, until: datetime, quiet_until: datetime) -> None:
        await _sleep(until, lambda: self._quiet_until != quiet_until)

    async def _do_what_is_due(self) -> datetime | None:
        """Until the chat rests; when its next timer is. A phone that is away for days needs several runs."""
        while True:
            self._renew_in_time()
            step = await self._advance()
            self._steps += 1
            self._ended = step.ended or self._ended
            match step.state:
                case "run":
                    await asyncio.gather(*(self._run_tool(call) for call in step.calls))
                case "send" if not await self._send(step):
                    continue
                case "again":
                    return workflow.now()
                case "gone":
                    self._gone = True
                    return None
                case _:
                    return self._rest(step)

    async def _advance(self) -> NextStep:
        self._tell("thinking", "The store says what is due; the language model writes it.")
        try:
            step: NextStep = await workflow.execute_activity(
                "advance_chat",
                AdvanceChat(self._chat_id),
                result_type=NextStep,
                start_to_close_timeout=policies.MODEL_TIMEOUT,
                heartbeat_timeout=policies.LINK_HEARTBEAT,
                retry_policy=policies.MODEL,
                summary="does what is due: reads the chat and asks the language model",
            )
        except ActivityError as error:
            if _is_the_models(error):
                return await self._give_up(error)
            return NextStep(state="rest", until=workflow.now() + _AFTER_TROUBLE)  # what is due is due still
        return step

    async def _give_up(self, error: ActivityError) -> NextStep:
        """What is due afterwards is looked at anew."""
        cause = error.cause
        code = cause.type or "model_error" if isinstance(cause, ApplicationError) else "model_timeout"
        self._looked = True
        step: NextStep = await workflow.execute_activity(
            "give_up_turn",
            AdvanceChat(self._chat_id, code=code),
            result_type=NextStep,
            start_to_close_timeout=policies.STORE_TIMEOUT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="the model gave no answer: the chat is left to a human",
        )
        return step

    async def _run_tool(self, call: RunTool) -> None:
        self._tell("thinking", "A tool that the language model asked for is run.")
        await workflow.execute_activity(
            "run_tool",
            call,
            start_to_close_timeout=policies.TOOL_TIMEOUT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary=f"runs tool {call.position + 1} of the model's answer {call.number + 1}",
        )

    async def _send(self, step: NextStep) -> bool:
        """Whether nothing of it waits to be sent any more."""
        self._tell("replying", "The reply is with the phone's link process.")
        try:
            sent = await self._send_over(step)
        except ActivityError as error:
            if not _is_untaken(error):
                raise
            return False
        self._turns += sent.state == "done"
        return sent.state == "done"

    async def _send_over(self, step: NextStep) -> BatchStep:
        sent: BatchStep = await workflow.execute_activity(
            "send_messages",
            SendMessages(step.message_ids),
            result_type=BatchStep,
            task_queue=names.fast_queue(step.connection_id),
            schedule_to_start_timeout=policies.LINK_ABSENT,
            start_to_close_timeout=policies.BATCH_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="claims, sends and records the reply",
        )
        return sent

    def _rest(self, step: NextStep) -> datetime | None:
        """Says who is to speak next; answers when the chat's next timer is."""
        if step.holder == "human":
            status, told = "handed_off", "A human holds the chat; the bot is silent until it is handed back."
        else:
            status, told = step.conversation or "waiting", "Waits for the customer's next message."
        timer = f" Acts by itself at {step.until:%Y-%m-%d %H:%M} UTC." if step.until is not None else ""
        self._tell(status, told + timer)
        known = workflow.info().typed_search_attributes.get(_STATUS)
        if known != status:
            workflow.upsert_search_attributes([_STATUS.value_set(status)])
        return step.until

    async def _wait(self, until: datetime | None) -> None:
        """For a look, at most until the timer; without one, for a while."""
        await _sleep(until or workflow.now() + _REST, lambda: self._looked)

    def _renew_in_time(self) -> None:
        if workflow.info().is_continue_as_new_suggested() or self._steps >= _STEPS_A_RUN:
            self._renew(self._turns)

    def _renew(self, turns: int) -> NoReturn:
        """A new run looks at the store first, so that a look that came meanwhile is not lost."""
        workflow.continue_as_new(ChatInput(self._chat_id, turns, self._quiet_since, self._quiet_until))

    def _take_look(self) -> bool:
        looked, self._looked = self._looked, False
        return looked

    def _tell(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI; it costs no history event."""
        ended = f"last conversation: {self._ended} · " if self._ended else ""
        workflow.set_current_details(f"**{status}** · turns: {self._turns} · {ended}{next_step}")


def _is_the_models(error: ActivityError) -> bool:
    """Whether it was the language model that gave no answer, and not the store."""
    cause = error.cause
    return not isinstance(cause, ApplicationError) or (cause.type or "").startswith("Model")


def _is_untaken(error: ActivityError) -> bool:
    """Whether no link was there to take the messages."""
    return isinstance(error.cause, ActivityTimeout) and error.cause.type is TimeoutType.SCHEDULE_TO_START


async def _sleep(until: datetime, interrupted: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        await workflow.wait_condition(interrupted, timeout=max(until - workflow.now(), _SHORTEST_WAIT))
