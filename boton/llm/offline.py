"""The assistant that speaks while no language model is configured: deterministic, and plain about what it is.

It uses the business's name, purpose, language and the conversation's instruction. Guardrails and custom instructions
are rules for a model, never words for a customer: it does not read them.
"""

from __future__ import annotations

from boton.domain.conversations import Line, TurnBrief
from boton.domain.messages import MessageType, Sender
from boton.llm.dialogue import one_line
from boton.llm.languages import choose_language
from boton.llm.phrases import PHRASES, Phrases
from boton.ports import LanguageModel, ModelAnswer, Prompt

_EXCERPT = 80
_NAME = 40


class OfflineAssistant(LanguageModel):
    """Follows the instruction's text and answers by purpose, in Spanish or English."""

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        brief = prompt.brief
        said = _write_opening(brief) if brief.opening else _write_reply(brief)
        return ModelAnswer(text=" ".join(said))

    async def close(self) -> None:
        """It holds nothing open."""


def _write_opening(brief: TurnBrief) -> list[str]:
    """The bot writes first: who writes, to whom, and the instruction as its errand."""
    instruction = _tell_instruction(brief)
    preferred = brief.config.language
    phrases = PHRASES[choose_language([] if preferred else [instruction], preferred)]
    said = [_greet(brief, phrases), _tell_sender(brief, phrases)]
    if instruction:
        said += [phrases.errand.format(instruction=instruction), phrases.ask]
    else:
        said += [phrases.welcome]
    return [*said, phrases.about_me]


def _write_reply(brief: TurnBrief) -> list[str]:
    """The answer to the newest message: what was read, where the conversation stands, what the purpose asks for."""
    incoming = [line for line in reversed(brief.history) if line.sender is Sender.CUSTOMER]
    texts = [line.text for line in incoming if line.type is MessageType.TEXT]
    phrases = PHRASES[choose_language(texts, brief.config.language)]
    said = [_greet(brief, phrases), _acknowledge(incoming[0] if incoming else None, phrases)]
    if instruction := _tell_instruction(brief):
        said += [phrases.still.format(instruction=instruction)]
    return [*said, phrases.by_purpose[brief.config.bot_purpose], phrases.about_me]


def _greet(brief: TurnBrief, phrases: Phrases) -> str:
    name = one_line(brief.customer_name or "", _NAME)
    return phrases.greeting.format(name=f" {name}" if name else "")


def _tell_sender(brief: TurnBrief, phrases: Phrases) -> str:
    business = brief.config.business_name.strip()
    return phrases.from_business.format(business=business) if business else phrases.from_nobody


def _tell_instruction(brief: TurnBrief) -> str:
    return " ".join((brief.instruction or "").split()).removesuffix(".")


def _acknowledge(newest: Line | None, phrases: Phrases) -> str:
    """A sign that the customer's newest message was read."""
    if newest is None:
        return phrases.unread
    if newest.type is not MessageType.TEXT:
        return phrases.seen.format(kind=phrases.kinds[newest.type])
    return phrases.read.format(excerpt=one_line(newest.text, _EXCERPT))
