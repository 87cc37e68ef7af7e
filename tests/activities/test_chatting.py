"""The bot's turns: asked once, stored once, given up with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, select
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import thinking
from activities.chatting import AdvanceChat, ChatActivities, ComposeOpenings, Drafts, NextStep, RunTool
from activities.thinking import Thinking
from boton.domain.chats import Holder
from boton.domain.conversations import MODEL_ROUNDS, TurnBrief
from boton.domain.events import EventType
from boton.domain.gateway import GatewayEvent, Inbound
from boton.domain.sends import AcceptedSend, SendKind
from boton.domain.tools import ToolCall
from boton.errors import ModelBusy, ModelContextTooLong, ModelMalformed, ModelRefused, ModelUseless
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.tools import ToolRegistry
from boton.ports import Prompt
from boton.store.events import SqlEventStore
from boton.store.inbox import SqlInboxStore
from boton.store.sends import SqlSendStore
from boton.store.tables import MessageRow, TokenDayRow, TurnRow
from boton.store.token_days import SqlTokenStore
from boton.store.turns import SqlTurnStore
from tests.activities.conftest import Bench
from tests.activities.fakes import AT, ScriptedModel
from tests.store.builders import a_send, jid_of
from tests.waiting import until
from workflows import policies

SECONDS = 20
CUSTOMER = "5491122223333"


TOOLS = ToolRegistry(OWN_TOOLS)
HAND_OFF = ToolCall(id="call_1", name="hand_off_to_human", arguments='{"reason": "pide un descuento"}')
WRONG = ToolCall(id="call_2", name="make_coffee", arguments="{")


def to_prompt(brief: TurnBrief, budget: int, with_tools: bool) -> Prompt:
    return build_prompt(brief, budget=budget, registry=TOOLS if with_tools else None)


def chats(bench: Bench, model: ScriptedModel) -> ChatActivities:
    turns = SqlTurnStore(bench.database)
    asking = Thinking(turns, SqlTokenStore(bench.database), model, to_prompt, bench.clock)
    return ChatActivities(turns, asking, TOOLS, bench.clock)


async def advance(activities: ChatActivities, chat_id: str) -> NextStep:
    return await ActivityEnvironment().run(activities.advance_chat, AdvanceChat(chat_id))


async def advance_to_the_end(activities: ChatActivities, chat_id: str) -> NextStep:
    """With the tools that are asked for on the way."""
    while (step := await advance(activities, chat_id)).state == "run":
        for call in step.calls:
            await ActivityEnvironment().run(activities.run_tool, call)
    return step


async def a_customer_writes(bench: Bench, text: str, cursor: int = 1, when: datetime = AT) -> str:
    """The id of the chat in which the bot now owes an answer."""
    inbound = Inbound(whatsapp_id=f"IN-{cursor}", jid=jid_of(CUSTOMER), text=text, at=when)
    recorded = await SqlInboxStore(bench.database).record_events(
        bench.connection.id, bench.epoch, [GatewayEvent(cursor=cursor, body=inbound)], when
    )
    return recorded.owed[0]


async def an_instruction(bench: Bench, customers: int) -> AcceptedSend:
    numbers = [f"54911000{number:05}" for number in range(customers)]
    return await SqlSendStore(bench.database).accept_send(a_send(bench.business, numbers, kind=SendKind.INSTRUCTION))


async def texts(bench: Bench, message_ids: tuple[str, ...]) -> list[tuple[str | None, str]]:
    rows = await bench.database.read(
        lambda session: [session.get_one(MessageRow, message_id).model_dump() for message_id in message_ids]
    )
    return [(row["text"], row["status"]) for row in rows]


async def test_what_is_owed_becomes_a_draft_of_the_right_connection(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    step = await advance(chats(bench, ScriptedModel(lambda _: "buenas")), chat_id)
    assert (step.state, step.connection_id, step.holder) == ("send", bench.connection.id, Holder.BOT)
    assert await texts(bench, step.message_ids) == [("buenas", "queued")]


async def test_second_attempt_finds_the_same_drafts_and_does_not_ask_again(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    assert await advance(activities, chat_id) == await advance(activities, chat_id)
    assert len(model.asked) == 1


async def test_two_attempts_at_once_leave_one_draft_and_ask_once(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    activities = chats(bench, model)
    attempts = [asyncio.create_task(advance(activities, chat_id)) for _ in "ab"]
    await asyncio.wait_for(model.thinking.wait(), SECONDS)
    model.may_answer.set()
    first, second = await asyncio.gather(*attempts)
    assert first == second
    assert len(first.message_ids) == len(model.asked) == 1


async def test_attempts_of_two_workers_leave_one_draft(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    attempts = [asyncio.create_task(advance(chats(bench, model), chat_id)) for _ in "ab"]
    await until(lambda: len(model.asked) == 2)
    model.may_answer.set()
    first, second = await asyncio.gather(*attempts)
    assert first == second
    assert len(first.message_ids) == 1


async def test_nothing_owed_asks_nobody(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    step = await advance(activities, chat_id)
    await bench.courier().claim(step.message_ids[0])
    assert (await advance(activities, chat_id)).state == "rest"
    assert len(model.asked) == 1


async def test_run_from_before_there_were_tools_gets_the_whole_turn_at_once(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "¿me hace un descuento?")
    answers: Iterator[str | ToolCall] = iter([HAND_OFF, "Te escribe una persona."])
    activities = chats(bench, ScriptedModel(lambda _: next(answers)))
    for _ in range(2):
        drafts = await ActivityEnvironment().run(activities.compose_turn, AdvanceChat(chat_id))
        assert drafts.connection_id == bench.connection.id
        assert await texts(bench, drafts.message_ids) == [("Te escribe una persona.", "queued")]
    await bench.courier().claim(drafts.message_ids[0])
    assert await ActivityEnvironment().run(activities.compose_turn, AdvanceChat(chat_id)) == Drafts()


@pytest.mark.parametrize(
    ("retry_after", "delay"), [(7.5, timedelta(seconds=7.5)), (86_400.0, timedelta(minutes=2)), (None, None)]
)
async def test_busy_model_is_tried_again_when_its_server_wants(
    bench: Bench, retry_after: float | None, delay: timedelta | None
) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelBusy("429", retry_after))
    with pytest.raises(ApplicationError) as raised:
        await advance(chats(bench, model), chat_id)
    assert raised.value.next_retry_delay == delay
    assert raised.value.type == "ModelBusy"
    assert not raised.value.non_retryable


async def test_refusal_keeps_its_name_which_the_retry_policy_does_not_retry(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    with pytest.raises(ModelRefused):
        await advance(chats(bench, ScriptedModel(lambda _: ModelRefused("401"))), chat_id)


async def test_given_up_turn_leaves_the_chat_to_a_human(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    for _ in range(2):
        step = await ActivityEnvironment().run(activities.give_up_turn, AdvanceChat(chat_id, code="ModelRefused"))
        assert (step.state, step.holder) == ("rest", Holder.HUMAN)
    bench.clock.now += timedelta(minutes=121)
    await a_customer_writes(bench, "¿hola?", cursor=2, when=bench.clock.now)
    step = await advance(activities, chat_id)
    assert len(step.message_ids) == 1
    assert [line.text for line in model.asked[0].brief.history] == ["hola", "¿hola?"]


@pytest.mark.parametrize(
    ("why", "code", "told"),
    [
        ("ModelMisconfigured", "model_misconfigured", "see assistant in GET /status"),
        ("ModelBusy", "model_busy", "busy or away"),
        ("model_timeout", "model_timeout", "no answer"),
        ("", "model_error", "no answer"),
    ],
)
async def test_reason_of_a_given_up_turn_is_told(bench: Bench, why: str, code: str, told: str) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    activities = chats(bench, ScriptedModel(lambda _: "buenas"))
    await ActivityEnvironment().run(activities.give_up_turn, AdvanceChat(chat_id, code=why))
    page = await SqlEventStore(bench.database).list_events(bench.business.id, 0, 10)
    (handed_off,) = [event.data["reason"] for event in page.events if event.type is EventType.CHAT_HANDED_OFF]
    assert told in handed_off
    reason = await bench.database.read(lambda session: session.exec(select(TurnRow)).one().reason)
    assert reason == code


async def test_cancelled_attempt_leaves_its_question_to_the_next_one(bench: Bench) -> None:
    """Temporal gave up on it, and starts another while the model still writes: it is asked and paid for once."""
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    activities, environment = chats(bench, model), ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(activities.advance_chat, AdvanceChat(chat_id)))
    await asyncio.wait_for(model.thinking.wait(), SECONDS)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    again = asyncio.create_task(advance(activities, chat_id))
    model.may_answer.set()
    assert await texts(bench, (await again).message_ids) == [("buenas", "queued")]
    assert len(model.asked) == 1


async def test_heartbeats_while_the_model_thinks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinking, "_HEARTBEAT_SECONDS", 0.01)
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    beats = []

    def beat(*_details: object) -> None:
        beats.append(1)
        if len(beats) >= 4:
            model.may_answer.set()

    environment = ActivityEnvironment()
    environment.on_heartbeat = beat
    step = environment.run(chats(bench, model).advance_chat, AdvanceChat(chat_id))
    assert (await asyncio.wait_for(step, SECONDS)).message_ids


async def test_customer_who_writes_while_the_model_thinks_is_answered_with_everything_once_they_are_quiet(
    bench: Bench,
) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda prompt: f"{len(prompt.brief.history)} mensajes")
    model.may_answer.clear()
    activities = chats(bench, model)
    attempt = asyncio.create_task(advance(activities, chat_id))
    await asyncio.wait_for(model.thinking.wait(), SECONDS)
    for cursor in (2, 3):
        await a_customer_writes(bench, "¿tienen turno?", cursor=cursor)
    model.may_answer.set()
    assert ((await attempt).state, len(model.asked)) == ("again", 1)
    step = await advance(activities, chat_id)
    assert await texts(bench, step.message_ids) == [("3 mensajes", "queued")]
    assert len(model.asked) == 2


# ---------------------------------------------------------------- tools


async def test_tools_are_run_and_the_model_is_told_what_they_said(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "¿me hace un descuento?")
    answers: Iterator[str | ToolCall] = iter([HAND_OFF, "Te escribe una persona."])
    model = ScriptedModel(lambda _: next(answers))
    activities = chats(bench, model)
    step = await advance(activities, chat_id)
    assert (step.state, len(step.calls)) == ("run", 1)
    assert await advance(activities, chat_id) == step
    for _ in range(2):
        await ActivityEnvironment().run(activities.run_tool, step.calls[0])
    done = await advance(activities, chat_id)
    assert (done.state, done.holder) == ("send", Holder.HUMAN)
    assert await texts(bench, done.message_ids) == [("Te escribe una persona.", "queued")]
    ((answer,),) = [one.answers for one in model.asked[1].rounds]
    assert (answer.call, answer.ok) == (HAND_OFF, True)
    assert len(model.asked) == 2


async def test_call_that_nobody_made_is_left_alone(bench: Bench) -> None:
    await ActivityEnvironment().run(chats(bench, ScriptedModel(lambda _: "")).run_tool, RunTool("trn_0", 0, 0))


async def test_model_that_gets_its_calls_wrong_twice_is_given_no_tools_any_more(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda prompt: WRONG if prompt.tools else "buenas")
    step = await advance_to_the_end(chats(bench, model), chat_id)
    assert await texts(bench, step.message_ids) == [("buenas", "queued")]
    assert [bool(prompt.tools) for prompt in model.asked] == [True, True, False]


async def test_last_round_is_given_no_tools(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda prompt: HAND_OFF if prompt.tools else "listo")
    step = await advance_to_the_end(chats(bench, model), chat_id)
    assert await texts(bench, step.message_ids) == [("listo", "queued")]
    assert len(model.asked) == MODEL_ROUNDS


async def test_silence_after_a_tool_that_did_something_is_an_answer(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    answers: Iterator[ToolCall | Exception] = iter([HAND_OFF, ModelMalformed("nothing")])
    step = await advance_to_the_end(chats(bench, ScriptedModel(lambda _: next(answers))), chat_id)
    assert [status for _, status in await texts(bench, step.message_ids)] == ["queued"]
    assert step.holder == Holder.HUMAN


async def test_silence_without_a_tool_is_none(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    answers: Iterator[ToolCall | Exception] = iter([WRONG, ModelMalformed("nothing")])
    with pytest.raises(ModelMalformed):
        await advance_to_the_end(chats(bench, ScriptedModel(lambda _: next(answers))), chat_id)


async def spent(bench: Bench) -> tuple[tuple[int, int], int]:
    """Of the only turn, in and out; and of the business's day."""

    def read(session: Session) -> tuple[tuple[int, int], int]:
        turn, day = session.exec(select(TurnRow)).one(), session.exec(select(TokenDayRow)).one_or_none()
        return (turn.tokens_in, turn.tokens_out), day.tokens if day else 0

    return await bench.database.read(read)


async def test_useless_answer_is_paid_for_and_asked_for_once_more(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    answers: Iterator[str | Exception] = iter([ModelMalformed("empty", tokens_in=11, tokens_out=7), "buenas"])
    model = ScriptedModel(lambda _: next(answers))
    step = await advance(chats(bench, model), chat_id)
    assert await texts(bench, step.message_ids) == [("buenas", "queued")]
    assert await spent(bench) == ((11 + 3, 7 + 5), 26)
    first, second = (prompt.key for prompt in model.asked)
    assert first != second, "a server that knows the key would give the same answer again"


async def test_second_useless_answer_is_the_last_that_is_paid_for(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelMalformed("empty", tokens_in=11, tokens_out=7))
    activities = chats(bench, model)
    with pytest.raises(ModelUseless):
        await advance(activities, chat_id)
    assert len(model.asked) == 2
    assert await spent(bench) == ((22, 14), 36)
    assert {ModelUseless.__name__, ModelRefused.__name__} <= set(policies.FINAL_ERRORS)


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinking, "_BUSY_PAUSES", (0.0, 0.0))


@pytest.mark.usefixtures("_no_pauses")
async def test_server_that_is_busy_after_a_useless_answer_is_asked_a_few_times(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    useless = ModelMalformed("empty", tokens_in=11, tokens_out=7)
    answers: Iterator[str | Exception] = iter([useless, ModelBusy("429"), ModelBusy("503"), "hola"])
    step = await advance(chats(bench, ScriptedModel(lambda _: next(answers))), chat_id)
    assert step.state == "send"


@pytest.mark.usefixtures("_no_pauses")
async def test_server_that_stays_busy_after_a_useless_answer_is_not_paid_again_and_again(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    useless = ModelMalformed("empty", tokens_in=11, tokens_out=7)
    model = ScriptedModel(lambda prompt: ModelBusy("429") if prompt.key.endswith("-again") else useless)
    with pytest.raises(ModelUseless):
        await advance(chats(bench, model), chat_id)
    assert len(model.asked) == 4


async def test_call_of_a_tool_that_was_not_offered_is_paid_for(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    with pytest.raises(ModelUseless):
        await advance_to_the_end(chats(bench, ScriptedModel(lambda _: WRONG)), chat_id)
    assert await spent(bench) == ((3 * 4, 5 * 4), 8 * 4)


async def test_silence_after_a_tool_is_paid_for(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    answers: Iterator[ToolCall | Exception] = iter([HAND_OFF, ModelMalformed("nothing", tokens_in=11, tokens_out=7)])
    await advance_to_the_end(chats(bench, ScriptedModel(lambda _: next(answers))), chat_id)
    assert await spent(bench) == ((11 + 3, 7 + 5), 26)


async def test_answer_that_cost_nothing_is_temporals_to_retry(bench: Bench) -> None:
    """No chat completion at all: something stands between us and the server for a while."""
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelMalformed("HTML"))
    with pytest.raises(ModelMalformed):
        await advance(chats(bench, model), chat_id)
    assert len(model.asked) == 1


async def test_budget_that_useless_answers_have_used_up_ends_the_asking(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelMalformed("empty", tokens_in=10**6))
    with pytest.raises(ModelUseless):
        await advance(chats(bench, model), chat_id)
    step = await advance(chats(bench, model), chat_id)
    assert (step.state, step.holder) == ("rest", Holder.HUMAN)
    assert len(model.asked) == 2


async def test_window_that_is_too_small_gets_less_of_the_history_each_time(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    answers: Iterator[str | Exception] = iter([ModelContextTooLong("8k"), ModelContextTooLong("8k"), "buenas"])
    model = ScriptedModel(lambda _: next(answers))
    step = await advance(chats(bench, model), chat_id)
    assert await texts(bench, step.message_ids) == [("buenas", "queued")]
    first, second, third = [prompt.budget for prompt in model.asked]
    assert first > second > third > 0


async def test_window_that_holds_not_even_the_rules_is_a_refusal(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    with pytest.raises(ModelRefused):
        await advance(chats(bench, ScriptedModel(lambda _: ModelContextTooLong("1k"))), chat_id)


async def test_long_reply_is_sent_in_parts(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    paragraphs = [f"Parrafo {number}. " + "palabra " * 60 for number in range(3)]
    step = await advance(chats(bench, ScriptedModel(lambda _: "\n\n".join(paragraphs))), chat_id)
    assert [text for text, _ in await texts(bench, step.message_ids)] == [one.strip() for one in paragraphs]


# ---------------------------------------------------------------- openings


async def test_openings_are_written_side_by_side(bench: Bench) -> None:
    send = await an_instruction(bench, 3)
    ids = tuple(one.message_id for one in send.recipients)
    model = ScriptedModel(lambda _: "buen día")
    model.may_answer.clear()
    compose = asyncio.create_task(ActivityEnvironment().run(chats(bench, model).compose_openings, ComposeOpenings(ids)))
    await until(lambda: len(model.asked) == 3)
    model.may_answer.set()
    await compose
    assert await texts(bench, ids) == [("buen día", "queued")] * 3


async def test_one_opening_that_fails_does_not_cost_the_others(bench: Bench) -> None:
    send = await an_instruction(bench, 3)
    ids = tuple(one.message_id for one in send.recipients)
    answers = iter(["buen día", ModelBusy("429", 2.0), "buen día", "hola"])
    model = ScriptedModel(lambda _: next(answers))
    activities = chats(bench, model)
    with pytest.raises(ApplicationError, match="429"):
        await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    assert sorted(text or "" for text, _ in await texts(bench, ids)) == ["", "buen día", "buen día"]
    await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    assert len(model.asked) == 4
    assert sorted(text or "" for text, _ in await texts(bench, ids)) == ["buen día", "buen día", "hola"]


async def test_given_up_openings_fail_and_the_written_ones_stay(bench: Bench) -> None:
    send = await an_instruction(bench, 2)
    ids = tuple(one.message_id for one in send.recipients)
    activities = chats(bench, ScriptedModel(lambda _: "buen día"))
    await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids[:1]))
    await ActivityEnvironment().run(activities.give_up_openings, ComposeOpenings(ids, code="model_timeout"))
    assert await texts(bench, ids) == [("buen día", "queued"), (None, "failed")]


async def test_opening_of_useless_answers_fails_and_is_paid_for(bench: Bench) -> None:
    send = await an_instruction(bench, 1)
    ids = tuple(one.message_id for one in send.recipients)
    model = ScriptedModel(lambda _: ModelMalformed("empty", tokens_in=11, tokens_out=7))
    await ActivityEnvironment().run(chats(bench, model).compose_openings, ComposeOpenings(ids))
    assert await texts(bench, ids) == [(None, "failed")]
    assert await spent(bench) == ((22, 14), 36)


async def test_an_opening_that_the_model_refuses_fails_alone_and_at_once(bench: Bench) -> None:
    send = await an_instruction(bench, 3)
    ids = tuple(one.message_id for one in send.recipients)
    answers = iter([ModelRefused("400"), ModelBusy("429"), "buen día", "hola"])
    activities = chats(bench, ScriptedModel(lambda _: next(answers)))
    with pytest.raises(ApplicationError, match="429"):
        await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    assert await texts(bench, ids) == [(None, "failed"), ("hola", "queued"), ("buen día", "queued")]
