"""`send/{id}`: carries out one accepted POST /send, batch by batch, until every message is final."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.chatting import ComposeOpenings
    from activities.sending import BatchStep, SendBatch
    from boton import names
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_SHORTEST_WAIT = timedelta(seconds=1)
"""The store's clock may be behind Temporal's: what is not due yet there must not be asked for in a tight loop."""

_NOT_OWNER_WAIT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class SendInput:
    """Ids and counts only. settled: attempts that ended in earlier runs of this workflow."""

    send_id: str
    connection_id: str
    fast: bool = False
    settled: int = 0


@workflow.defn(name=names.SEND_WORKFLOW)
class SendWorkflow:
    """The store says what is due; this run waits, asks for batches and has openings written."""

    @workflow.init
    def __init__(self, send: SendInput) -> None:
        self._send = send
        self._settled = send.settled
        self._looked = False

    @workflow.signal(name=names.LOOK)
    def look(self) -> None:
        self._looked = True

    @workflow.run
    async def run(self, send: SendInput) -> int:
        """Answers how many attempts were made."""
        while True:
            self._tell("sending", "The next batch is with the phone's link process.")
            step = await self._send_batch()
            self._settled += step.settled
            if step.state == "done":
                self._tell("finished", "Every message is final.")
                return self._settled
            await self._act_on(step)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(
                    SendInput(send.send_id, send.connection_id, fast=send.fast, settled=self._settled)
                )

    async def _send_batch(self) -> BatchStep:
        queue = names.fast_queue if self._send.fast else names.slow_queue
        step: BatchStep = await workflow.execute_activity(
            "send_batch",
            SendBatch(self._send.send_id),
            result_type=BatchStep,
            task_queue=queue(self._send.connection_id),
            start_to_close_timeout=policies.BATCH_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="claims, sends and records what is due",
        )
        return step

    async def _act_on(self, step: BatchStep) -> None:
        match step.state:
            case "compose":
                await self._write_openings(step.message_ids)
            case "paused":
                self._tell("paused", "Goes on when it is resumed.")
                await self._wait(None)
            case "wait" if step.until is not None:
                self._tell("waiting", f"Goes on at {step.until:%Y-%m-%d %H:%M:%S} UTC.")
                await self._wait(max(step.until - workflow.now(), _SHORTEST_WAIT))
            case "not_owner":
                await self._wait(_NOT_OWNER_WAIT)

    async def _write_openings(self, message_ids: tuple[str, ...]) -> None:
        self._tell("writing", f"The bot writes {len(message_ids)} opening messages.")
        try:
            await workflow.execute_activity(
                "compose_openings",
                ComposeOpenings(message_ids),
                start_to_close_timeout=policies.MODEL_TIMEOUT,
                heartbeat_timeout=policies.LINK_HEARTBEAT,
                retry_policy=policies.MODEL,
                summary=f"asks the language model for {len(message_ids)} openings",
            )
        except ActivityError as error:
            await workflow.execute_activity(
                "give_up_openings",
                ComposeOpenings(message_ids, code=_code(error)),
                start_to_close_timeout=policies.STORE_TIMEOUT,
                retry_policy=policies.UNTIL_IT_WORKS,
                summary="the model gave no answer: these openings fail",
            )

    async def _wait(self, timeout: timedelta | None) -> None:
        """Until the store changed or, at the latest, until the time-out."""
        try:
            await workflow.wait_condition(lambda: self._looked, timeout=timeout)
        except TimeoutError:
            return
        finally:
            self._looked = False

    def _tell(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI."""
        workflow.set_current_details(f"**{status}** · attempts ended: {self._settled} · {next_step}")
        if workflow.info().typed_search_attributes.get(_STATUS) != status and status != "writing":
            workflow.upsert_search_attributes([_STATUS.value_set(status)])


def _code(error: ActivityError) -> str:
    cause = error.cause
    return cause.type or "model_error" if isinstance(cause, ApplicationError) else "model_timeout"
