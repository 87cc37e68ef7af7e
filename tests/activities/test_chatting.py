"""The bot's turns: asked once, stored once, given up with a reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import chatting
from activities.chatting import ChatActivities, ComposeOpenings, ComposeTurn, Drafts
from boton.domain.gateway import GatewayEvent, Inbound
from boton.domain.sends import AcceptedSend, SendKind
from boton.errors import ModelBusy, ModelRefused
from boton.llm.prompts import build_prompt
from boton.store.inbox import SqlInboxStore
from boton.store.sends import SqlSendStore
from boton.store.tables import MessageRow
from boton.store.turns import SqlTurnStore
from tests.activities.conftest import Bench
from tests.activities.fakes import AT, ScriptedModel
from tests.store.builders import a_send, jid_of
from tests.waiting import until

SECONDS = 20
CUSTOMER = "5491122223333"


def chats(bench: Bench, model: ScriptedModel) -> ChatActivities:
    return ChatActivities(SqlTurnStore(bench.database), model, build_prompt, bench.clock)


async def a_customer_writes(bench: Bench, text: str, cursor: int = 1) -> str:
    """The id of the chat in which the bot now owes an answer."""
    inbound = Inbound(whatsapp_id=f"IN-{cursor}", jid=jid_of(CUSTOMER), text=text, at=AT)
    recorded = await SqlInboxStore(bench.database).record_events(
        bench.connection.id, bench.epoch, [GatewayEvent(cursor=cursor, body=inbound)], AT
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
    model = ScriptedModel(lambda _: "buenas")
    drafts = await ActivityEnvironment().run(chats(bench, model).compose_turn, ComposeTurn(chat_id))
    assert drafts.connection_id == bench.connection.id
    assert await texts(bench, drafts.message_ids) == [("buenas", "queued")]


async def test_second_attempt_finds_the_same_drafts_and_does_not_ask_again(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    first = await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id))
    second = await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id))
    assert first == second
    assert len(model.asked) == 1


async def test_two_attempts_at_once_leave_one_draft(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    activities = chats(bench, model)
    attempts = [
        asyncio.create_task(ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id))) for _ in "ab"
    ]
    await asyncio.wait_for(model.thinking.wait(), SECONDS)
    model.may_answer.set()
    first, second = await asyncio.gather(*attempts)
    assert first == second
    assert len(first.message_ids) == 1


async def test_nothing_owed_asks_nobody(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    drafts = await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id))
    await bench.courier().claim(drafts.message_ids[0])
    assert await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id)) == Drafts()
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("retry_after", "delay"), [(7.5, timedelta(seconds=7.5)), (86_400.0, timedelta(minutes=2)), (None, None)]
)
async def test_busy_model_is_tried_again_when_its_server_wants(
    bench: Bench, retry_after: float | None, delay: timedelta | None
) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelBusy("429", retry_after))
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(chats(bench, model).compose_turn, ComposeTurn(chat_id))
    assert raised.value.next_retry_delay == delay
    assert raised.value.type == "ModelBusy"
    assert not raised.value.non_retryable


async def test_refusal_keeps_its_name_which_the_retry_policy_does_not_retry(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: ModelRefused("401"))
    with pytest.raises(ModelRefused):
        await ActivityEnvironment().run(chats(bench, model).compose_turn, ComposeTurn(chat_id))


async def test_given_up_turn_is_not_owed_any_more(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    activities = chats(bench, model)
    await ActivityEnvironment().run(activities.give_up_turn, ComposeTurn(chat_id, code="ModelRefused"))
    await ActivityEnvironment().run(activities.give_up_turn, ComposeTurn(chat_id, code="ModelRefused"))
    assert await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id)) == Drafts()
    assert model.asked == []
    await a_customer_writes(bench, "¿hola?", cursor=2)
    again = await ActivityEnvironment().run(activities.compose_turn, ComposeTurn(chat_id))
    assert len(again.message_ids) == 1


async def test_attempt_that_is_cancelled_stops_asking_the_model(bench: Bench) -> None:
    chat_id = await a_customer_writes(bench, "hola")
    model = ScriptedModel(lambda _: "buenas")
    model.may_answer.clear()
    environment = ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(chats(bench, model).compose_turn, ComposeTurn(chat_id)))
    await asyncio.wait_for(model.thinking.wait(), SECONDS)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    left = [task for task in asyncio.all_tasks() if "answer" in repr(task.get_coro())]
    assert left == []


async def test_heartbeats_while_the_model_thinks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatting, "_HEARTBEAT_SECONDS", 0.01)
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
    compose = environment.run(chats(bench, model).compose_turn, ComposeTurn(chat_id))
    assert (await asyncio.wait_for(compose, SECONDS)).message_ids


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


async def test_an_opening_that_the_model_refuses_fails_alone_and_at_once(bench: Bench) -> None:
    send = await an_instruction(bench, 3)
    ids = tuple(one.message_id for one in send.recipients)
    answers = iter([ModelRefused("400"), ModelBusy("429"), "buen día", "hola"])
    activities = chats(bench, ScriptedModel(lambda _: next(answers)))
    with pytest.raises(ApplicationError, match="429"):
        await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    await ActivityEnvironment().run(activities.compose_openings, ComposeOpenings(ids))
    assert await texts(bench, ids) == [(None, "failed"), ("hola", "queued"), ("buen día", "queued")]
