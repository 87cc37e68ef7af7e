"""Starts and wakes workflows, for the API, the links and the sweeper. Safe at any time, as often as one likes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from boton import names
from boton.domain.messages import Lane
from boton.domain.sends import SendCategory
from workflows.chat import ChatInput
from workflows.connection import ConnectionInput
from workflows.reminder import ReminderInput
from workflows.send import SendInput

_BUSINESS = SearchAttributeKey.for_keyword(names.SEARCH_BUSINESS)
_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_LATELY_SECONDS = 60.0
_REMEMBERED = 10_000
_RPC_TIMEOUT = timedelta(seconds=5)


class TemporalStarter:
    """The WorkflowStarter port over a Temporal client. A run that exists already is woken, not doubled."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lately = _Lately()

    async def start_send(
        self,
        send_id: str,
        business_id: str,
        connection_id: str,
        *,
        lanes: Sequence[Lane],
        category: SendCategory = SendCategory.TRANSACTIONAL,
        wake: bool = False,
    ) -> None:
        await self._start(
            names.SEND_WORKFLOW,
            SendInput(send_id, connection_id, tuple(lane.value for lane in lanes), category=category.value),
            id=names.send_workflow(send_id),
            business_id=business_id,
            summary="Sends what one POST /send asked for",
            status="sending",
            start_signal=names.LOOK if wake else None,
            signal_args=[connection_id] if wake else [],
        )

    async def end_send(self, send_id: str) -> None:
        await self._signal(names.send_workflow(send_id), [names.NOWHERE])

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        """One that was looked at lately runs still, as a rule: a signal is all it needs then."""
        id, arguments = names.chat_workflow(chat_id), [quiet_seconds] if quiet_seconds else []
        if not (self._lately.has(id) and await self._signal(id, arguments)):
            await self._start(
                names.CHAT_WORKFLOW,
                ChatInput(chat_id),
                id=id,
                business_id=business_id,
                summary="The bot's side of one chat",
                status="waiting",
                start_signal=names.LOOK,
                signal_args=arguments,
            )
        self._lately.add(id)

    async def _signal(self, id: str, arguments: Sequence[Any]) -> bool:
        """Whether a run of it took the look."""
        try:
            await self._client.get_workflow_handle(id).signal(names.LOOK, args=arguments, rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        await self._start(
            names.REMINDER_WORKFLOW,
            ReminderInput(reminder_id, due_at),
            id=names.reminder_workflow(reminder_id),
            business_id=business_id,
            summary="Waits for a reminder's time, then has it sent",
            start_signal=names.LOOK if wake else None,
        )

    async def look_at_connection(self, connection_id: str, business_id: str) -> None:
        await self._start(
            names.CONNECTION_WORKFLOW,
            ConnectionInput(connection_id),
            id=names.connection_workflow(connection_id),
            business_id=business_id,
            summary="Keeps one phone number connected",
            start_signal=names.LOOK,
        )

    async def _start(
        self,
        workflow: str,
        arg: Any,
        *,
        id: str,
        business_id: str,
        summary: str,
        status: str = "started",
        start_signal: str | None = None,
        signal_args: Sequence[Any] = (),
    ) -> None:
        """status: what the run does first: changing it at once would cost each run some milliseconds (measured)."""
        await self._client.start_workflow(
            workflow,
            arg,
            id=id,
            task_queue=names.WORK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=start_signal,
            start_signal_args=signal_args,
            static_summary=summary,
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(_BUSINESS, business_id), SearchAttributePair(_STATUS, status)]
            ),
            rpc_timeout=_RPC_TIMEOUT,
        )


class _Lately:
    """Workflows that were signalled within the last minute, the newest of them."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def has(self, id: str) -> bool:
        return self._until.get(id, 0.0) > time.monotonic()

    def add(self, id: str) -> None:
        self._until[id] = time.monotonic() + _LATELY_SECONDS
        self._until.move_to_end(id)
        if len(self._until) > _REMEMBERED:
            self._until.popitem(last=False)
