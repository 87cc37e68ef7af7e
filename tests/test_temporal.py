"""What goes into Temporal and what does not: failures without contents, a sandbox without adapters, the namespace."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import openai
import pydantic
import pytest
import pytest_asyncio
import sqlalchemy
from temporalio import activity, workflow
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from boton.errors import Conflict
from boton.names import SEARCH_ATTRIBUTES
from boton.temporal import RETENTION, fetch_namespace_id, prepare_namespace, sandbox_runner
from tests.readable import read_history
from tests.temporal_server import shared_server
from workflows.chat import ChatWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.send import SendWorkflow

SECRET = "la clave del turno de Juana"


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    yield await shared_server().connect()


# ---------------------------------------------------------------- failures


def integrity_error() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (text varchar primary key)"))
        for _ in range(2):
            connection.execute(sqlalchemy.text("insert into t values (:text)"), {"text": SECRET})


def validation_error() -> None:
    class Body(pydantic.BaseModel):
        number: int

    Body.model_validate({"number": SECRET})


def api_status_error() -> None:
    request = httpx.Request("POST", "http://model/v1")
    response = httpx.Response(400, request=request, json={"error": SECRET})
    raise openai.BadRequestError(SECRET, response=response, body={"error": SECRET})


def plain_error() -> None:
    raise ValueError(SECRET)


def chained_error() -> None:
    try:
        plain_error()
    except ValueError as error:
        raise RuntimeError(f"while answering {SECRET}") from error


def hidden_chain() -> None:
    try:
        plain_error()
    except ValueError:
        raise KeyError(SECRET)  # noqa: B904 - what is meant: an error while another is handled


def own_error_over_foreign() -> None:
    try:
        integrity_error()
    except sqlalchemy.exc.IntegrityError as error:
        raise Conflict("This phone belongs to another active connection.") from error


def error_with_note() -> None:
    error = ValueError(SECRET)
    error.add_note(SECRET)
    raise error


def error_group() -> None:
    raise ExceptionGroup(SECRET, [ValueError(SECRET), RuntimeError(SECRET)])


def application_error_over_foreign() -> None:
    try:
        plain_error()
    except ValueError as error:
        raise ApplicationError("the model is busy", type="ModelBusy") from error


FAILURES: dict[str, Callable[[], None]] = {
    "IntegrityError": integrity_error,
    "ValidationError": validation_error,
    "BadRequestError": api_status_error,
    "ValueError": plain_error,
    "RuntimeError": chained_error,
    "KeyError": hidden_chain,
    "Conflict": own_error_over_foreign,
    "noted": error_with_note,
    "ExceptionGroup": error_group,
    "ModelBusy": application_error_over_foreign,
}


@activity.defn(name="fail")
async def fail(kind: str) -> None:
    FAILURES[kind]()


@workflow.defn(name="FailInActivity")
class FailInActivity:
    @workflow.run
    async def run(self, kind: str) -> None:
        await workflow.execute_activity(
            "fail", kind, start_to_close_timeout=timedelta(seconds=20), retry_policy=RetryPolicy(maximum_attempts=1)
        )


@workflow.defn(name="FailByItself", failure_exception_types=[Exception])
class FailByItself:
    @workflow.run
    async def run(self, kind: str) -> None:
        FAILURES[kind]()


async def history_of_failure(client: Client, kind: str, workflow_type: str) -> str:
    queue = f"failures-{uuid.uuid4()}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[FailInActivity, FailByItself],
        activities=[fail],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        handle = await client.start_workflow(workflow_type, kind, id=queue, task_queue=queue)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    return read_history(await handle.fetch_history())


@pytest.mark.parametrize("workflow_type", ["FailInActivity", "FailByItself"])
@pytest.mark.parametrize("kind", FAILURES)
async def test_failures_carry_no_contents(client: Client, kind: str, workflow_type: str) -> None:
    history = await history_of_failure(client, kind, workflow_type)
    assert SECRET not in history
    assert "Juana" not in history
    assert kind == "noted" or kind in history


async def test_our_own_errors_keep_their_sentence(client: Client) -> None:
    history = await history_of_failure(client, "Conflict", "FailInActivity")
    assert "This phone belongs to another active connection." in history
    assert "IntegrityError" in history


# ---------------------------------------------------------------- the namespace


async def test_preparing_a_namespace_twice_is_once(client: Client) -> None:
    await prepare_namespace(client, embedded=True)
    await prepare_namespace(client, embedded=True)
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION == timedelta(days=7)


async def test_namespace_id_is_the_same_as_long_as_the_server_is(client: Client) -> None:
    first = await fetch_namespace_id(client)
    assert first
    assert await fetch_namespace_id(await shared_server().connect()) == first


# ---------------------------------------------------------------- the sandbox

_WORKFLOW = """
from temporalio import workflow
{imports}

@workflow.defn(name="Reaching")
class Reaching:
    @workflow.run
    async def run(self) -> None: ...
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import sqlmodel",
        "import httpx",
        "import openai",
        "from sqlalchemy import select",
        "import prometheus_client",
        "from boton.store.engine import Database",
        "from boton.whatsapp.simulator import SimulatorGateway",
        "from boton.llm.openai_model import OpenAIModel",
    ],
)
async def test_workflow_that_reaches_an_adapter_does_not_load(
    client: Client, imports: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"reaching_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(_WORKFLOW.format(imports=imports))
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(name)
    with pytest.raises(RuntimeError, match="Failed validating workflow"):
        Worker(client, task_queue="reaching", workflows=[module.Reaching], workflow_runner=sandbox_runner())


async def test_workflow_that_reaches_no_adapter_loads(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"reaching_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(_WORKFLOW.format(imports="from boton.domain.sends import Send"))
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(name)
    assert Worker(client, task_queue="reaching", workflows=[module.Reaching], workflow_runner=sandbox_runner())


async def test_our_workflows_load(client: Client) -> None:
    workflows = [SendWorkflow, ChatWorkflow, ConnectionWorkflow]
    assert Worker(client, task_queue="loading", workflows=workflows, workflow_runner=sandbox_runner())
