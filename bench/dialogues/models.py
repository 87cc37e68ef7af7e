"""The model by script, and what watches any model and its tools at their ports."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

from bench.dialogues.scenario import Answer, Call
from bench.dialogues.transcript import Transcript, Who
from bench.progress import BenchFailed
from boton.domain.conversations import TurnBrief
from boton.domain.tools import ToolCall, ToolOutcome
from boton.errors import ModelBusy, ModelContextTooLong, ModelError, ModelMalformed, ModelRefused
from boton.ports import LanguageModel, ModelAnswer, Prompt, Toolbox, ToolSpec

_FAILURES: dict[str, type[ModelError]] = {
    "busy": ModelBusy,
    "malformed": ModelMalformed,
    "refused": ModelRefused,
    "too_long": ModelContextTooLong,
}


class ScriptedModel(LanguageModel):
    """Answers what a scenario's `model` says, in its order, whatever it is asked."""

    def __init__(self, script: Iterable[Answer]) -> None:
        self._script = deque(answer for answer in script for _ in range(answer.times))
        self._calls = 0

    @property
    def left(self) -> int:
        """Answers that nobody asked for."""
        return len(self._script)

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        if not self._script:
            raise BenchFailed(f"the scripted model was asked once more than it has answers ({prompt.brief.occasion})")
        answer = self._script.popleft()
        if answer.fails is not None:
            raise _FAILURES[answer.fails]("as the script says")
        return ModelAnswer(text=answer.say, calls=tuple(self._to_call(call) for call in answer.call))

    async def close(self) -> None:
        """It holds nothing open."""

    def _to_call(self, call: Call) -> ToolCall:
        self._calls += 1
        arguments = call.raw if call.raw is not None else json.dumps(call.with_, ensure_ascii=False, default=str)
        return ToolCall(id=f"scripted{self._calls}", name=call.tool, arguments=arguments)


async def do_not_sleep(_seconds: float) -> None:
    """Nobody waits for a model by script."""


class WatchedModel(LanguageModel):
    """systems: the rules that the model was told. tokens: as its server counted them."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.systems: set[str] = set()
        self.tokens = 0

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        self.systems.add(prompt.system)
        answer = await self._model.answer(prompt)
        self.tokens += answer.tokens_in + answer.tokens_out
        return answer

    async def close(self) -> None:
        """The model is another's to close."""


class WatchedTools(Toolbox):
    """Notes each call in the transcript."""

    def __init__(self, tools: Toolbox, transcript: Transcript) -> None:
        self._tools = tools
        self._transcript = transcript

    def offered(self, brief: TurnBrief) -> tuple[ToolSpec, ...]:
        return self._tools.offered(brief)

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        outcome = await self._tools.run(call, brief)
        self._transcript.add(Who.TOOL, call.arguments, tool=call.name, ok=outcome.ok)
        return outcome
