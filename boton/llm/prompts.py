"""What a language model is told for one turn: rules, tools and dialogue, within a budget. Pure: no clock, no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from boton.domain.conversations import TurnBrief
from boton.domain.tokens import DEFAULT_BUDGET, PER_LINE, estimate_tokens
from boton.domain.tools import Round
from boton.llm.dialogue import tell_dialogue
from boton.llm.rules import tell_rules
from boton.ports import Prompt, Toolbox, ToolSpec


def build_prompt(brief: TurnBrief, *, budget: int = DEFAULT_BUDGET, registry: Toolbox | None = None) -> Prompt:
    """The prompt of one turn. budget: tokens that it may cost; where it is not enough the oldest of the history is left
    out, and nothing else. registry: where the tools come from; without it none is offered.
    """
    tools = registry.offered(brief) if registry is not None else ()
    system = tell_rules(brief, [tool.name for tool in tools])
    room = budget - estimate_tokens(system) - PER_LINE - _cost_of_tools(tools) - _cost_of_rounds(brief.rounds)
    prompt = Prompt(
        system=system,
        lines=tell_dialogue(brief, room),
        brief=brief,
        tools=tools,
        rounds=brief.rounds,
        budget=budget,
    )
    return replace(prompt, key=_key_of(prompt))


def _key_of(prompt: Prompt) -> str:
    """The same for the same turn and words: a prompt with more history, or a smaller budget, is another request."""
    said = json.dumps([prompt.system, prompt.lines, repr(prompt.rounds), [tool.name for tool in prompt.tools]])
    return f"{prompt.brief.turn_id}-{len(prompt.rounds)}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _cost_of_tools(tools: Iterable[ToolSpec]) -> int:
    told = (tool.name + tool.description + json.dumps(dict(tool.parameters)) for tool in tools)
    return sum(estimate_tokens(text) + PER_LINE for text in told)


def _cost_of_rounds(rounds: Iterable[Round]) -> int:
    told = [answer.call.name + answer.call.arguments + answer.text for each in rounds for answer in each.answers]
    return sum(estimate_tokens(text) + 2 * PER_LINE for text in (*told, *(each.text for each in rounds)))
