"""Whether the parts work: the store, Temporal, the workers, the phone numbers' connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, timedelta
from typing import TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from api.services import Check
from boton import names
from boton.clock import utc_now
from boton.domain.connections import ConnectionStatus
from boton.ports import BusinessStore, ConnectionStore

A = TypeVar("A")

OK = "ok"

NUMBERS = "numbers"
"""Told, but no reason to be unready: one business's logged-out phone must not take the API from all the others."""

_PATIENCE = 1.0
"""Seconds for each check; they run side by side."""
_RPC = timedelta(seconds=_PATIENCE)
_POLLED_LATELY = timedelta(seconds=70)
"""A worker's long poll lasts 60 s: one that lives was seen since."""


class Down(Exception):
    """The part does not work; the message says what is wrong, for an operator."""


async def inspect(checks: Mapping[str, Check]) -> dict[str, str]:
    """`ok` or `down: …` for each part."""
    answers = await asyncio.gather(*(_judge(check) for check in checks.values()))
    return dict(zip(checks, answers, strict=True))


async def _judge(check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check()
    except TimeoutError:
        return f"down: no answer within {_PATIENCE:.0f} s"
    except Down as error:
        return f"down: {error}"
    except Exception as error:  # noqa: BLE001 - a check that breaks is an answer too
        return f"down: {type(error).__name__}"
    return OK


def check_store(businesses: BusinessStore) -> Check:
    async def check() -> None:
        await businesses.list_businesses()

    return check


def check_temporal(client: Client) -> Check:
    async def check() -> None:
        await _ask(client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=_RPC))

    return check


def check_workers(client: Client) -> Check:
    async def check() -> None:
        if not await _is_polled(client, names.WORK_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW):
            raise Down("no worker is running; start `boton worker`")

    return check


def check_numbers(connections: ConnectionStore) -> Check:
    """Every active number is connected."""

    async def check() -> None:
        active = await connections.list_active_connections()
        away = sum(connection.as_seen(utc_now()).status is not ConnectionStatus.CONNECTED for connection in active)
        if away:
            raise Down(f"{away} of {len(active)} phone numbers not connected")

    return check


def check_connections(client: Client) -> Check:
    """There is a host that holds the connections."""

    async def check() -> None:
        if not await _is_polled(client, names.CONNECTIONS_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
            raise Down("no connection host is running; start `boton connections`")

    return check


async def _is_polled(client: Client, queue: str, kind: TaskQueueType.ValueType) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    answer = await _ask(client.workflow_service.describe_task_queue(request, timeout=_RPC))
    oldest = utc_now() - _POLLED_LATELY
    return any(poller.last_access_time.ToDatetime(tzinfo=UTC) >= oldest for poller in answer.pollers)


async def _ask(call: Awaitable[A]) -> A:
    """The answer of Temporal. Raises Down."""
    try:
        return await call
    except (RPCError, RuntimeError) as error:  # RuntimeError: a lazy client that could not connect
        raise Down("Temporal does not answer") from error
