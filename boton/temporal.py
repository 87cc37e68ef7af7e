"""How BOTON talks to Temporal: one connection, one data converter, one sandbox, used by every process and by tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client, TLSConfig
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import FailureError
from temporalio.runtime import Runtime
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxMatcher, SandboxRestrictions

from boton.errors import BotonError
from boton.names import SEARCH_ATTRIBUTES

RETENTION = timedelta(days=7)
"""How long the embedded server keeps finished runs (one takes about 23 KB)."""

_PASSED_THROUGH = ("activities", "boton.domain", "boton.errors", "boton.ids", "boton.names", "boton.ports", "ulid")
_FORBIDDEN = ("sqlmodel", "sqlalchemy", "httpx", "openai", "prometheus_client", "neonize")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalAddress:
    """Where Temporal is. The TLS parts are PEM files; with an API key TLS is on even without them."""

    target: str
    namespace: str = "default"
    api_key: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def tls(self) -> TLSConfig | bool:
        if not (self.tls_ca or self.tls_cert or self.tls_key):
            return self.api_key is not None
        return TLSConfig(
            server_root_ca_cert=self.tls_ca.read_bytes() if self.tls_ca else None,
            client_cert=self.tls_cert.read_bytes() if self.tls_cert else None,
            client_private_key=self.tls_key.read_bytes() if self.tls_key else None,
        )


class NamelessFailureConverter(DefaultFailureConverter):
    """Failures without contents: foreign errors print parameters and input, so only their class name goes out.

    Our own errors and Temporal's carry ids and plain words, never a message's text; they keep their sentence.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        if not isinstance(exception, BotonError | FailureError):
            failure.message = type(exception).__name__


DATA_CONVERTER = replace(DataConverter.default, failure_converter_class=NamelessFailureConverter)


async def connect(address: TemporalAddress, *, lazy: bool = False, runtime: Runtime | None = None) -> Client:
    """A client. lazy: connects with its first call, so that a process can start while Temporal is away."""
    return await Client.connect(
        address.target,
        namespace=address.namespace,
        api_key=address.api_key,
        tls=address.tls(),
        data_converter=DATA_CONVERTER,
        lazy=lazy,
        runtime=runtime,
    )


def sandbox_runner() -> SandboxedWorkflowRunner:
    """Workflows run sandboxed. Our pure modules pass through (re-importing costs memory for each cached workflow);
    a workflow that reaches for an adapter's library fails to load.
    """
    forbidden = SandboxMatcher(children={name: SandboxMatcher(match_self=True) for name in _FORBIDDEN})
    restrictions = replace(
        SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH),
        invalid_modules=SandboxRestrictions.default.invalid_modules | forbidden,
    )
    return SandboxedWorkflowRunner(restrictions=restrictions)


async def prepare_namespace(client: Client, *, embedded: bool) -> None:
    """Registers our search attributes; on the embedded server sets the retention too. Safe to repeat."""
    registered = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in SEARCH_ATTRIBUTES if name not in registered.custom_attributes]
    if missing:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword))
        )
    if embedded:
        retention = Duration()
        retention.FromTimedelta(RETENTION)
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=retention)
            )
        )


async def fetch_namespace_id(client: Client) -> str:
    """The namespace's id: another one means that this is a new Temporal, which knows none of our workflows."""
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace), timeout=timedelta(seconds=5)
    )
    return described.namespace_info.id
