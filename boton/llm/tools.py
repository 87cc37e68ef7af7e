"""What a model may do besides writing: one registry, behind which tools of a business's own may come later.

Whatever a model writes is answered, never raised: it is told what to change and may call again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pydantic import ValidationError

from boton.domain.conversations import TurnBrief
from boton.domain.tools import ToolCall, ToolOutcome
from boton.llm.quoting import one_line
from boton.ports import Toolbox, ToolSpec

__all__ = ["Tool", "ToolOutcome", "ToolRegistry"]

_MOST_FAULTS = 5


class Tool(Protocol):
    """One thing that a model can ask for."""

    @property
    def spec(self) -> ToolSpec: ...

    def is_offered(self, brief: TurnBrief) -> bool:
        """Whether the model may call it in this turn."""

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        """Carries the call out. Raises pydantic's ValidationError for arguments that do not fit."""


class ToolRegistry(Toolbox):
    """The tools there are, by their names."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}

    def offered(self, brief: TurnBrief) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self._tools.values() if tool.is_offered(brief))

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        tool = self._tools.get(call.name)
        if tool is None or not tool.is_offered(brief):
            return ToolOutcome(text=self._tell_choice(call, brief), ok=False)
        try:
            return await tool.run(call, brief)
        except ValidationError as error:
            return ToolOutcome(text=_tell_faults(error), ok=False)

    def _tell_choice(self, call: ToolCall, brief: TurnBrief) -> str:
        names = ", ".join(spec.name for spec in self.offered(brief)) or "none"
        return f"There is no tool {one_line(call.name, 60)!r} in this turn. You may call: {names}."


def _tell_faults(error: ValidationError) -> str:
    """What to change, field by field, without the values."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults[:_MOST_FAULTS]]
    return one_line(f"Nothing was done. Call again with other arguments. {'; '.join(told)}", 1000)
