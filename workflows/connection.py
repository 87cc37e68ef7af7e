"""`connection/{id}`: has its phone linked, keeps the number held by one host, and says what to do when it cannot be."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.connecting import AdvanceConnection, ConnectionStep, PairConnection, UnlinkConnection
    from activities.holding import HoldConnection, HoldEnded
    from boton import names
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)

_SUMMARIES = {
    "pair_connection": "a host has the phone linked",
    "hold_connection": "a host keeps the link process running",
    "unlink_connection": "a host has the phone forget the device",
}
_LINK_AGAIN = "Link the phone again; then this goes on."


@dataclass(frozen=True, slots=True)
class ConnectionInput:
    connection_id: str


@workflow.defn(name=names.CONNECTION_WORKFLOW)
class ConnectionWorkflow:
    @workflow.init
    def __init__(self, connection: ConnectionInput) -> None:
        self._connection_id = connection.connection_id
        self._looked = False
        self._given_up: HoldEnded | None = None
        self._rests = 0

    @workflow.signal(name=names.LOOK)
    def look(self) -> None:
        self._looked = True

    @workflow.run
    async def run(self, connection: ConnectionInput) -> None:
        if not workflow.patched("the-store-says-what-is-next"):
            await self._run_before_linking(connection)
            return
        while True:
            self._looked = False
            step = await self._advance()
            match step.next:
                case "pair":
                    self._tell("linking", step.reason or "The phone is being linked.")
                    self._given_up = await self._do_until_changed(step, self._start("pair_connection", PairConnection))
                case "hold" if self._given_up is not None:
                    await self._rest(self._given_up)
                case "hold":
                    self._tell("held", "A connection host owns the number; its link process sends and receives.")
                    doing = self._start("hold_connection", HoldConnection, HoldEnded)
                    self._given_up = await self._do_until_changed(step, doing)
                case "unlink":
                    await self._unlink(step)
                case "wait":
                    self._given_up = None
                    self._tell(step.status, step.reason or _LINK_AGAIN)
                    await workflow.wait_condition(lambda: self._looked)
                case _:
                    self._tell("stopped", step.reason or "The connection was ended.")
                    return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(connection)

    async def _advance(self) -> ConnectionStep:
        step: ConnectionStep = await workflow.execute_activity(
            "advance_connection",
            AdvanceConnection(self._connection_id),
            result_type=ConnectionStep,
            start_to_close_timeout=policies.STORE_TIMEOUT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="reads what is next: link the phone, hold the number, or wait for somebody",
        )
        return step

    async def _rest(self, ended: HoldEnded) -> None:
        """A number that a host gave up although it is to be held: its gateway is off there, for instance."""
        self._given_up = None
        self._tell(ended.status, ended.reason or _LINK_AGAIN)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._looked, timeout=policies.HOST_REST)

    async def _unlink(self, step: ConnectionStep) -> None:
        """The phone is told that it has a device less; where that cannot be done now, later."""
        self._tell("stopped", step.reason or "The connection was ended.")
        doing = self._start("unlink_connection", UnlinkConnection, bool)
        if await self._do_until_changed(step, doing) is False:
            self._rests += 1
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._looked, timeout=policies.rest_after(self._rests))

    def _start(self, activity: str, given: type, result: type | None = None) -> workflow.ActivityHandle[Any]:
        """What a host does for as long as it takes."""
        return workflow.start_activity(
            activity,
            given(self._connection_id),
            result_type=result,
            task_queue=names.CONNECTIONS_QUEUE,
            start_to_close_timeout=policies.HOLD_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=_SUMMARIES[activity],
        )

    async def _do_until_changed(self, step: ConnectionStep, doing: workflow.ActivityHandle[Any]) -> Any:
        """Its result; None when the store meanwhile says that something else is next, which ends it."""
        while not doing.done():
            await workflow.wait_condition(lambda: self._looked or doing.done())
            if not doing.done() and await self._is_over(step):
                doing.cancel()
                with contextlib.suppress(ActivityError):
                    await doing
                return None
        return await doing

    async def _is_over(self, step: ConnectionStep) -> bool:
        self._looked = False
        return (await self._advance()).next != step.next

    # ---------------------------------------------------------------- runs from before phones could be linked

    async def _run_before_linking(self, connection: ConnectionInput) -> None:
        while True:
            self._tell("held", "A connection host owns the number; its link process sends and receives.")
            ended = await self._hold_before_linking()
            if ended.status == "stopped":
                self._tell("stopped", ended.reason or "The connection was ended.")
                return
            self._tell(ended.status, ended.reason or _LINK_AGAIN)
            await workflow.wait_condition(lambda: self._looked)
            self._looked = False
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(connection)

    async def _hold_before_linking(self) -> HoldEnded:
        ended: HoldEnded = await workflow.execute_activity(
            "hold_connection",
            HoldConnection(self._connection_id),
            result_type=HoldEnded,
            task_queue=names.CONNECTIONS_QUEUE,
            start_to_close_timeout=policies.HOLD_TIMEOUT,
            heartbeat_timeout=policies.LINK_HEARTBEAT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="a host keeps the number's link process running",
        )
        return ended

    def _tell(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI."""
        workflow.set_current_details(f"**{status}** · {next_step}")
        workflow.upsert_search_attributes([_STATUS.value_set(status)])
