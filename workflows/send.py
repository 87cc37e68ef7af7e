"""`send/{id}`: carries out one accepted POST /send, batch by batch, until every message is final."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.chatting import ComposeOpenings
    from activities.sending import BatchStep, SendBatch
    from boton import names
    from boton.domain.sends import Progress
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_SHORTEST_WAIT = timedelta(seconds=1)
"""The store's clock may be behind Temporal's: what is not due yet there must not be asked for in a tight loop."""

_NOT_OWNER_WAIT = timedelta(seconds=2)
_AFTER_REPLIES = {"transactional": Priority(priority_key=4), "marketing": Priority(priority_key=5)}
"""Below the default, which replies have: of those that wait for a slot of the link, a reply is the next, and marketing
the last.
"""

_BUSIEST_FIRST = ("writing", "sending", "waiting", "paused")

_REASONS = {
    "scheduled": "It is scheduled",
    "quiet_hours": "Quiet hours",
    "daily_limit": "The number's daily limit is reached",
    "slow_lane_closed": "WhatsApp refused the number, which writes to no new contacts for now",
    "in_flight": "The last messages are on their way",
}
"""In plain words; see WaitReason."""


@dataclass(frozen=True, slots=True)
class SendInput:
    """Ids and counts only. settled: attempts that ended in earlier runs of this workflow. category: of the send."""

    send_id: str
    connection_id: str
    lanes: tuple[str, ...] = ("slow",)
    settled: int = 0
    category: str = "transactional"


@workflow.defn(name=names.SEND_WORKFLOW)
class SendWorkflow:
    """The store says what is due; this run waits, asks for batches and has openings written, lane by lane."""

    @workflow.init
    def __init__(self, send: SendInput) -> None:
        self._send = send
        self._settled = send.settled
        self._progress: Progress | None = None
        self._doing: dict[str, tuple[str, str]] = {}
        self._looks = 0
        self._connection_id = send.connection_id
        self._finished = False
        self._renews = False

    @workflow.signal(name=names.LOOK)
    def look(self, connection_id: str = "") -> None:
        """The store changed. connection_id: over which number the send goes now; NOWHERE: over none, it has ended."""
        self._looks += 1
        self._connection_id = connection_id or self._connection_id
        self._finished = self._finished or connection_id == names.NOWHERE

    @workflow.run
    async def run(self, send: SendInput) -> int:
        """Answers how many attempts were made."""
        carrying_out = asyncio.gather(*(self._carry_out(lane) for lane in send.lanes))
        await workflow.wait_condition(lambda: carrying_out.done() or self._has_moved())
        if not self._has_moved():
            await carrying_out
        if not self._finished:
            workflow.continue_as_new(replace(send, connection_id=self._connection_id, settled=self._settled))
        self._show("finished", "Every message is final.")
        return self._settled

    def _has_moved(self) -> bool:
        """To another number: nobody serves the queues of the old one any more, and a new run asks the new one's."""
        return self._connection_id != self._send.connection_id

    async def _carry_out(self, lane: str) -> None:
        """Batch after batch in one lane, until the whole send is finished or the history long."""
        while not (self._finished or self._renews):
            looks = self._looks
            self._tell(lane, "sending", "The next batch is with the phone's link process.")
            step = await self._send_batch(lane)
            self._settled += step.settled
            self._progress = step.progress or self._progress
            self._finished = self._finished or step.state == "done"
            await self._act_on(lane, step, looks)
            self._renews = self._renews or workflow.info().is_continue_as_new_suggested()

    async def _send_batch(self, lane: str) -> BatchStep:
        queue = names.fast_queue if lane == "fast" else names.slow_queue
        step: BatchStep = await workflow.execute_activity(
            "send_batch",
            SendBatch(self._send.send_id, lane),
            result_type=BatchStep,
            task_queue=queue(self._send.connection_id),
            start_to_close_timeout=policies.BATCH_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            priority=_AFTER_REPLIES[self._send.category],
            summary=f"claims, sends and records what is due ({lane} lane)",
        )
        return step

    async def _act_on(self, lane: str, step: BatchStep, looks: int) -> None:
        """looks: how often this run had been woken before the batch: one that came meanwhile is not lost."""
        match step.state:
            case "compose":
                await self._write_openings(lane, step.message_ids)
            case "paused":
                self._tell(lane, "paused", "Goes on when it is resumed.")
                await self._wait(None, looks)
            case "wait" if step.until is not None:
                reason = _REASONS.get(step.reason, "Nothing is due now")
                self._tell(lane, "waiting", f"{reason}; goes on at {step.until:%Y-%m-%d %H:%M:%S} UTC.")
                await self._wait(max(step.until - workflow.now(), _SHORTEST_WAIT), looks)
            case "lane_done":
                self._rest(lane)
                await self._wait(None, looks)
            case "not_owner":
                await self._wait(_NOT_OWNER_WAIT, looks)

    async def _write_openings(self, lane: str, message_ids: tuple[str, ...]) -> None:
        self._tell(lane, "writing", f"The bot writes {len(message_ids)} opening messages.")
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

    async def _wait(self, timeout: timedelta | None, looks: int) -> None:
        """Until the store changed, the send ended in the other lane or, at the latest, until the time-out."""
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._looks > looks or self._finished or self._renews, timeout=timeout
            )

    def _tell(self, lane: str, status: str, next_step: str) -> None:
        """What a lane does now."""
        self._doing[lane] = (status, next_step)
        self._show_lanes()

    def _rest(self, lane: str) -> None:
        """A lane has nothing to do; the other one has."""
        self._doing.pop(lane, None)
        self._show_lanes()

    def _show_lanes(self) -> None:
        """With both at it, the busier one names the send's status."""
        if not self._doing:
            return
        status = min((status for status, _ in self._doing.values()), key=_BUSIEST_FIRST.index)
        several = len(self._doing) > 1
        steps = [f"{lane} lane: {step}" if several else step for lane, (_, step) in sorted(self._doing.items())]
        self._show(status, " · ".join(steps))

    def _show(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI."""
        told = _in_words(self._progress) if self._progress is not None else ""
        workflow.set_current_details(f"**{status}** · {told}attempts ended: {self._settled} · {next_step}")
        if workflow.info().typed_search_attributes.get(_STATUS) != status and status != "writing":
            workflow.upsert_search_attributes([_STATUS.value_set(status)])


def _in_words(progress: Progress) -> str:
    words = f"{progress.done} of {progress.total} messages are final · "
    if progress.rate is not None:
        words += f"{progress.rate:g} a minute · "
    if progress.estimated_end is not None and progress.done < progress.total:
        words += f"expected end {progress.estimated_end:%Y-%m-%d %H:%M} UTC · "
    return words


def _code(error: ActivityError) -> str:
    cause = error.cause
    return cause.type or "model_error" if isinstance(cause, ApplicationError) else "model_timeout"
