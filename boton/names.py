"""Task queues, workflow ids, workflow types and search attributes: built and parsed here and nowhere else.

None of them may hold a phone number, a name or a text: they are not encrypted by any codec.
"""

from __future__ import annotations

from urllib.parse import quote

WORK_QUEUE = "boton"
"""Workflows, store and language model activities: `boton worker`."""

CONNECTIONS_QUEUE = "connections"
"""`hold_connection`: `boton connections` (hosts)."""

SEARCH_BUSINESS = "BotonBusiness"
SEARCH_STATUS = "BotonStatus"
SEARCH_ATTRIBUTES = (SEARCH_BUSINESS, SEARCH_STATUS)
"""Keyword search attributes on every workflow: the business's id and a status in plain words."""

SEND_WORKFLOW = "SendWorkflow"
CHAT_WORKFLOW = "ChatWorkflow"
CONNECTION_WORKFLOW = "ConnectionWorkflow"
REMINDER_WORKFLOW = "ReminderWorkflow"

LOOK = "look"
"""The one signal every workflow takes: "the store changed, look again". To a chat it says how long to wait first."""


NOWHERE = "nowhere"
"""To a send's workflow, instead of a connection: the send is over, and nobody serves the queues of its number."""


def fast_queue(connection_id: str) -> str:
    """Replies and single sends of one phone number, served by its link process."""
    return f"connection-{connection_id}-fast"


def slow_queue(connection_id: str) -> str:
    """Bulk and first contacts of one phone number, served by its link process."""
    return f"connection-{connection_id}-slow"


def send_workflow(send_id: str) -> str:
    return f"send/{send_id}"


def chat_workflow(chat_id: str) -> str:
    return f"chat/{chat_id}"


def connection_workflow(connection_id: str) -> str:
    return f"connection/{connection_id}"


def reminder_workflow(reminder_id: str) -> str:
    return f"reminder/{reminder_id}"


def workflow_page(temporal_ui: str, namespace: str, workflow_id: str) -> str:
    """Where the Temporal UI shows the workflow's newest run."""
    return f"{temporal_ui}/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')}"
