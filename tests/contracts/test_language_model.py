"""What every language model does: the offline assistant, and the OpenAI client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from boton.domain.businesses import BotPurpose
from boton.domain.conversations import Occasion
from boton.domain.messages import MessageType, Sender
from boton.domain.tools import Round, ToolAnswer, ToolCall
from boton.llm.factory import open_model
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.purposes import FINISH, HAND_OFF
from boton.llm.tools import ToolRegistry
from boton.ports import LanguageModel, Prompt
from tests.llm.briefs import brief, customer, ours, prompt
from tests.llm.server import model_server

PROMPTS = {
    "opening": prompt(opening=True, instruction="Ofrece turno para mañana"),
    "opening without instruction": prompt(opening=True),
    "opening in an old chat": prompt(customer("hola"), ours("¡Hola!"), opening=True, instruction="Ofrece turno"),
    "first answer": prompt(customer("hola")),
    "several unanswered": prompt(customer("hola"), customer("¿están?"), customer("?")),
    "a human wrote before": prompt(customer("hola"), ours("ya te atiendo", Sender.HUMAN), customer("gracias")),
    "the newest is ours": prompt(customer("hola"), ours("¡Hola!", Sender.API)),
    "voice note": prompt(customer("nota de voz", MessageType.AUDIO)),
    "unknown kind": prompt(customer("", MessageType.UNKNOWN)),
    "only an emoji": prompt(customer("👍")),
    "a very long message": prompt(customer("muy largo " * 6000)),
    "control characters": prompt(customer("hola\u0000\u202e{name} %s\n\n")),
    "nothing known": prompt(config={"business_name": "", "business_description": "", "guardrails": ""}),
    "a follow-up": prompt(customer("hola"), ours("¡Hola!"), occasion=Occasion.FOLLOW_UP, instruction="Ofrece turno"),
    "a follow-up of an unanswered opening": prompt(ours("Tenemos turno"), occasion=Occasion.FOLLOW_UP),
    "after the goal": prompt(customer("gracias"), instruction="Ofrece turno", goal_reached=True),
    "a time zone and a name": prompt(
        customer("hola"), customer_name="Juan", config={"timezone": "America/Argentina/Buenos_Aires", "language": "en"}
    ),
}


REGISTRY = ToolRegistry(OWN_TOOLS)


def with_rounds(*rounds: Round) -> Prompt:
    turn = brief(customer("sí"), instruction="Ofrece turno", rounds=rounds)
    return build_prompt(turn, registry=REGISTRY)


def one_round(name: str, arguments: str, *, ok: bool) -> Round:
    call = ToolCall(id="call00000", name=name, arguments=arguments)
    return Round(text="", answers=(ToolAnswer(call=call, text="…", ok=ok),))


ROUNDS = {
    "finished": one_round(FINISH, '{"outcome": "achieved", "summary": "Turno."}', ok=True),
    "handed off": one_round(HAND_OFF, '{"reason": "pide a Ana"}', ok=True),
    "malformed": one_round(FINISH, '{"outcome": ', ok=False),
    "no object": one_round(FINISH, "[]", ok=False),
    "unknown tool": one_round("send_money", "{}", ok=False),
    "nothing": Round(text="", answers=()),
}


@pytest.fixture(params=["offline", "openai"])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[LanguageModel]:
    with model_server() as server:
        openai = request.param == "openai"
        model = open_model(server.url, None, "test") if openai else open_model(None, None, None)
        yield model
        await model.close()


@pytest.mark.parametrize("asked", PROMPTS.values(), ids=PROMPTS.keys())
async def test_every_turn_gets_a_text(model: LanguageModel, asked: Prompt) -> None:
    answer = await model.answer(asked)
    assert answer.text.strip() == answer.text != ""
    assert answer.tokens_in >= 0
    assert answer.tokens_out >= 0


@pytest.mark.parametrize("purpose", BotPurpose)
async def test_every_purpose_gets_a_text(model: LanguageModel, purpose: BotPurpose) -> None:
    assert (await model.answer(prompt(customer("hola"), config={"bot_purpose": purpose}))).text


async def test_with_tools_a_turn_gets_a_text_or_calls(model: LanguageModel) -> None:
    for text in ("sí", "no, gracias", "quiero hablar con una persona", "¿precio?"):
        answer = await model.answer(build_prompt(brief(customer(text), instruction="Ofrece turno"), registry=REGISTRY))
        assert answer.text or answer.calls
        for call in answer.calls:
            assert (await REGISTRY.run(call, brief(instruction="Ofrece turno"))).ok


@pytest.mark.parametrize("done", ROUNDS.values(), ids=ROUNDS.keys())
async def test_after_a_round_the_customer_gets_a_text(model: LanguageModel, done: Round) -> None:
    answer = await model.answer(replace(with_rounds(done), tools=()))
    assert answer.text.strip() == answer.text != ""
    assert answer.calls == ()


async def test_without_tools_none_is_called(model: LanguageModel) -> None:
    assert (await model.answer(prompt(customer("sí"), instruction="Ofrece turno"))).calls == ()


async def test_rules_for_the_bot_do_not_reach_the_customer(model: LanguageModel) -> None:
    for asked in PROMPTS.values():
        answer = await model.answer(asked)
        assert "REGLA-SECRETA" not in answer.text
        assert "INSTRUCCION-INTERNA" not in answer.text


async def test_answers_many_turns_at_once(model: LanguageModel) -> None:
    answers = await asyncio.gather(*(model.answer(asked) for asked in PROMPTS.values()))
    assert [bool(answer.text) for answer in answers] == [True] * len(PROMPTS)


async def test_closing_twice_is_harmless(model: LanguageModel) -> None:
    await model.answer(prompt(customer("hola")))
    await model.close()
    await model.close()
