"""The assistant that speaks while no language model is configured: deterministic, and plain about what it is.

It uses the business's name, purpose, language and the conversation's instruction, and those of our tools that it is
offered: a clear yes or no ends a conversation, who asks for a person is handed over. Guardrails and custom instructions
are rules for a model, never words for a customer: it does not read them.
"""

from __future__ import annotations

import json

from boton.domain.conversations import ConversationOutcome, Line, Occasion, TurnBrief
from boton.domain.languages import choose_language
from boton.domain.messages import MessageType, Sender
from boton.domain.tools import Round, ToolCall
from boton.llm.intents import Intent, read_intent
from boton.llm.phrases import PHRASES, Phrases
from boton.llm.purposes import FINISH, HAND_OFF
from boton.llm.quoting import one_line
from boton.ports import LanguageModel, ModelAnswer, Prompt

_EXCERPT = 80
_NAME = 40


class OfflineAssistant(LanguageModel):
    """Follows the instruction's text and answers by purpose, in Spanish or English."""

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        if prompt.rounds:
            return ModelAnswer(text=" ".join(_write_after(prompt.brief, prompt.rounds[-1])))
        if call := _choose_call(prompt):
            return ModelAnswer(text="", calls=(call,))
        return ModelAnswer(text=" ".join(_write(prompt.brief)))

    async def close(self) -> None:
        """It holds nothing open."""


def _write(brief: TurnBrief) -> list[str]:
    match brief.occasion:
        case Occasion.OPENING:
            return _write_opening(brief)
        case Occasion.FOLLOW_UP:
            return _write_follow_up(brief)
        case Occasion.REPLY:
            return _write_reply(brief)


def _choose_call(prompt: Prompt) -> ToolCall | None:
    """The tool that the customer's newest message asks for, where it is offered."""
    brief, newest = prompt.brief, _find_newest(prompt.brief)
    if brief.occasion is not Occasion.REPLY or newest is None or newest.type is not MessageType.TEXT:
        return None
    phrases, excerpt = _reply_phrases(brief), one_line(newest.text, _EXCERPT)
    match read_intent(newest.text):
        case Intent.PERSON:
            name, arguments = HAND_OFF, {"reason": phrases.hand_off_reason.format(excerpt=excerpt)}
        case Intent.YES:
            name, arguments = FINISH, _finish(ConversationOutcome.ACHIEVED, phrases.agreed_summary, excerpt)
        case Intent.NO:
            name, arguments = FINISH, _finish(ConversationOutcome.DECLINED, phrases.declined_summary, excerpt)
        case None:
            return None
    offered = name in {tool.name for tool in prompt.tools}
    return ToolCall(id="offline01", name=name, arguments=json.dumps(arguments, ensure_ascii=False)) if offered else None


def _finish(outcome: ConversationOutcome, summary: str, excerpt: str) -> dict[str, str]:
    return {"outcome": outcome.value, "summary": summary.format(excerpt=excerpt)}


def _write_after(brief: TurnBrief, done: Round) -> list[str]:
    """What the customer reads once a tool was called; where it failed, the answer as if none had been."""
    phrases = _reply_phrases(brief)
    for answer in done.answers:
        if answer.ok and answer.call.name == HAND_OFF:
            return [phrases.handed_off, phrases.about_me]
        if answer.ok and answer.call.name == FINISH:
            agreed = json.loads(answer.call.arguments).get("outcome") == ConversationOutcome.ACHIEVED
            return [phrases.agreed if agreed else phrases.declined, phrases.about_me]
    return _write(brief)


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


def _write_follow_up(brief: TurnBrief) -> list[str]:
    """The customer has not answered: the errand once more, in other words."""
    phrases = _reply_phrases(brief)
    instruction = _tell_instruction(brief)
    said = phrases.follow_up.format(instruction=instruction) if instruction else phrases.welcome
    return [_greet(brief, phrases), said, phrases.about_me]


def _write_reply(brief: TurnBrief) -> list[str]:
    """The answer to the newest message: what was read, where the conversation stands, what the purpose asks for."""
    phrases = _reply_phrases(brief)
    said = [_greet(brief, phrases), _acknowledge(_find_newest(brief), phrases)]
    if instruction := _tell_instruction(brief):
        said += [phrases.still.format(instruction=instruction)]
    return [*said, phrases.by_purpose[brief.config.bot_purpose], phrases.about_me]


def _find_newest(brief: TurnBrief) -> Line | None:
    """The customer's newest message."""
    return next((line for line in reversed(brief.history) if line.sender is Sender.CUSTOMER), None)


def _reply_phrases(brief: TurnBrief) -> Phrases:
    """In the language that the customer writes in."""
    texts = [line.text for line in reversed(brief.history) if _is_customers_text(line)]
    return PHRASES[choose_language(texts, brief.config.language)]


def _is_customers_text(line: Line) -> bool:
    return line.sender is Sender.CUSTOMER and line.type is MessageType.TEXT


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
