"""The bot with a language model of somebody's own, reached over HTTP as any OpenAI-compatible server is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.histories import assert_clean, decoded, fetch_runs
from tests.acceptance.model_server import ModelServer
from tests.acceptance.stack import Stack, running
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_delivered, await_stored, outlive_greeting
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"LLM_BASE_URL": model.url, "LLM_API_KEY": "secreta", "LLM_MODEL": "prueba"}
    yield from running(Stack(tmp_path_factory.mktemp("model"), **settings))


def await_reply(stack: Stack, number: str, seconds: float = ANSWER_SECONDS) -> str:
    return wait_for(lambda: stack.simulator.received(number), seconds, "the model's answer")[-1]


def let_model_pass(stack: Stack, newcomer: str) -> None:
    """Until a customer who writes now is answered."""
    stack.simulator.write(newcomer, "¿ya está?")
    await_reply(stack, newcomer)


def test_model_is_told_what_it_needs_and_its_words_are_sent(stack: Stack, model: ModelServer, numbers: Numbers) -> None:
    customer = numbers.next()
    stack.api.configure(
        businessDescription="Peluquería en Rosario", guardrails="No des precios", customInstructions="Trata de usted"
    )
    stack.simulator.write(customer, "¿cortan hoy?")
    assert "¿cortan hoy?" in await_reply(stack, customer)
    told = str(model.requests[-1]["messages"])
    for part in ("Mi Negocio", "Peluquería en Rosario", "No des precios", "Trata de usted", "¿cortan hoy?"):
        assert part in told
    assert model.requests[-1]["model"] == "prueba"


def test_instruction_reaches_the_model_with_the_history(stack: Stack, model: ModelServer, numbers: Numbers) -> None:
    customer = numbers.next()
    accepted = stack.api.send(customer, instruction="Ofrece el turno de las nueve")
    await_delivered(stack.api, accepted["id"])
    [opening] = stack.simulator.received(customer)
    assert opening.startswith("respuesta")
    stack.simulator.write(customer, "¿no hay más tarde?")
    wait_for(lambda: len(stack.simulator.received(customer)) == 2, ANSWER_SECONDS, "the answer")
    told = str(model.requests[-1]["messages"])
    quoted = opening.translate(str.maketrans("[]", "()"))  # square brackets are notes of ours
    for part in ("Ofrece el turno de las nueve", quoted, "¿no hay más tarde?"):
        assert part in told


def test_server_that_fails_for_a_while_is_asked_again(stack: Stack, model: ModelServer, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    model.refusals += [500, 429, 503]
    stack.simulator.write(customer, "¿y ahora?")
    assert "¿y ahora?" in await_reply(stack, customer)
    let_model_pass(stack, newcomer)
    assert len(stack.simulator.received(customer)) == 1


def test_model_that_says_nothing_is_paid_twice_and_a_human_has_the_chat(
    stack: Stack, model: ModelServer, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    model.says_nothing = True
    try:
        stack.simulator.write(customer, "¿me oyen?")
        await_stored(stack.api, customer, "¿me oyen?")
        wait_for(lambda: stack.api.get(f"/chats/{customer}")["heldBy"] == "human", ANSWER_SECONDS, "the hand-off")
    finally:
        model.says_nothing = False
    let_model_pass(stack, newcomer)
    assert model.asked("¿me oyen?") == 2
    assert stack.simulator.received(customer) == []


def test_human_who_takes_over_while_the_model_thinks_is_not_interrupted(
    stack: Stack, model: ModelServer, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    stack.simulator.write(customer, "¿me ayudan?")
    await_reply(stack, customer)
    outlive_greeting(stack.simulator, customer)
    with model.thinking():
        stack.simulator.write(customer, "¿con esto?")
        wait_for(lambda: model.asked("¿con esto?"), ANSWER_SECONDS, "the model to be asked")
        stack.simulator.type_on_business_phone(customer, "Yo te ayudo")
        await_stored(stack.api, customer, "Yo te ayudo")
    let_model_pass(stack, newcomer)
    assert [text for text in stack.simulator.received(customer) if "¿con esto?" in text] == []


def test_chat_that_is_handed_back_at_once_is_not_answered_for_what_the_human_dealt_with(
    stack: Stack, model: ModelServer, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    stack.simulator.write(customer, "¿me ayudan?")
    await_reply(stack, customer)
    outlive_greeting(stack.simulator, customer)
    with model.thinking():
        stack.simulator.write(customer, "¿cuánto sale?")
        wait_for(lambda: model.asked("¿cuánto sale?"), ANSWER_SECONDS, "the model to be asked")
        stack.simulator.type_on_business_phone(customer, "Sale 90")
        await_stored(stack.api, customer, "Sale 90")
        assert stack.api.patch_chat(customer, botEnabled=True)["heldBy"] == "bot"
    let_model_pass(stack, newcomer)
    assert [text for text in stack.simulator.received(customer) if "¿cuánto sale?" in text] == []
    stack.simulator.write(customer, "¿y mañana?")
    wait_for(lambda: "¿y mañana?" in await_reply(stack, customer), ANSWER_SECONDS, "the bot's next answer")


def test_chat_made_untouchable_while_the_model_thinks_gets_nothing(
    stack: Stack, model: ModelServer, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    with model.thinking():
        stack.simulator.write(customer, "soy tu madre")
        wait_for(lambda: model.asked("soy tu madre"), ANSWER_SECONDS, "the model to be asked")
        stack.api.patch_chat(customer, untouchable=True)
    let_model_pass(stack, newcomer)
    assert stack.simulator.received(customer) == []


@pytest.mark.parametrize("part", ["worker", "link", "temporal"])
def test_kill_while_the_model_thinks_leaves_one_answer(
    stack: Stack, model: ModelServer, numbers: Numbers, part: str
) -> None:
    customer, newcomer = numbers.take(2)
    text = f"¿contestan sin {part}?"
    with model.thinking():
        stack.simulator.write(customer, text)
        wait_for(lambda: model.asked(text), ANSWER_SECONDS, "the model to be asked")
        stack.wait_replaced(part, stack.kill(part))
    await_reply(stack, customer, 2 * ANSWER_SECONDS)
    let_model_pass(stack, newcomer)
    assert len(stack.simulator.received(customer)) == 1


def test_message_that_comes_while_the_model_thinks_is_answered_in_one_with_the_one_before(
    stack: Stack, model: ModelServer, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    with model.thinking():
        stack.simulator.write(customer, "la primera")
        wait_for(lambda: model.asked("la primera"), ANSWER_SECONDS, "the model to be asked")
        stack.simulator.write(customer, "la segunda")
        await_stored(stack.api, customer, "la segunda")
    wait_for(lambda: stack.simulator.received(customer), ANSWER_SECONDS, "the answer")
    let_model_pass(stack, newcomer)
    [answer] = stack.simulator.received(customer)
    assert "la segunda" in answer
    assert model.asked("la segunda") == 1


def test_neither_words_nor_key_of_the_model_are_in_histories_or_logs(stack: Stack, numbers: Numbers) -> None:
    customer = numbers.next()
    stack.simulator.write(customer, "algo privado")
    await_reply(stack, customer)
    runs = fetch_runs(stack)
    assert_clean(runs, stack.simulator)
    told = "\n".join(text for run in runs for text in decoded([run.listed, run.events]))
    assert "respuesta" not in told
    for log in (stack.data_dir / "logs").iterdir():
        text = log.read_text(encoding="utf-8", errors="replace")
        assert "secreta" not in text
        assert "algo privado" not in text
