"""How the language model does."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from boton.domain.conversations import Assistant


class AssistantStore(Protocol):
    """How the language model does, as the worker has seen it: for all businesses."""

    async def note_assistant(self, problem: str | None, now: datetime) -> None:
        """problem: why it fails, with what to change; None: it answers. Writes only what is new."""

    async def fetch_assistant(self) -> Assistant:
        """Answering, until something else was seen."""
