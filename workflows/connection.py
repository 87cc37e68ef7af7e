"""`connection/{id}`: keeps one phone number held by one host, and says what to do when it cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.holding import HoldConnection, HoldEnded
    from boton import names
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)


@dataclass(frozen=True, slots=True)
class ConnectionInput:
    connection_id: str


@workflow.defn(name=names.CONNECTION_WORKFLOW)
class ConnectionWorkflow:
    @workflow.init
    def __init__(self, connection: ConnectionInput) -> None:
        self._connection_id = connection.connection_id
        self._looked = False

    @workflow.signal(name=names.LOOK)
    def look(self) -> None:
        self._looked = True

    @workflow.run
    async def run(self, connection: ConnectionInput) -> None:
        while True:
            self._tell("held", "A connection host owns the number; its link process sends and receives.")
            ended = await self._hold()
            if ended.status == "stopped":
                self._tell("stopped", ended.reason or "The connection was ended.")
                return
            self._tell(ended.status, ended.reason or "Link the phone again; then this goes on.")
            await workflow.wait_condition(lambda: self._looked)
            self._looked = False
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(connection)

    async def _hold(self) -> HoldEnded:
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
