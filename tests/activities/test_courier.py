"""From the claim to the record: what a gateway may answer, and what is written down."""

from __future__ import annotations

import asyncio

import pytest

from activities import courier as couriers
from boton.domain.gateway import Sent, Unsettled
from boton.domain.messages import Lane, MessageStatus
from boton.errors import (
    BotonError,
    ConnectionAway,
    IllegalTransition,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    RefusedForNow,
    SessionReplaced,
)
from boton.ports import Idle, Result
from boton.store.connections import SqlConnectionStore
from tests.activities.conftest import Bench
from tests.activities.fakes import AT, FailingOutbox, ScriptedGateway

SECONDS = 20


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers, "_ASK_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(couriers, "_ASK_LONGEST_SECONDS", 0.001)
    monkeypatch.setattr(couriers, "_RECORD_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(couriers, "_RECORD_LONGEST_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, "sent", None),
        (ConnectionAway("away"), "queued", None),
        (RefusedForNow("did not take it (503)"), "queued", None),
        (RecipientRefused("not_on_whatsapp", "not on WhatsApp"), "failed", "not_on_whatsapp"),
        (NumberRefused(463, "the number is restricted"), "failed", "number_refused"),
    ],
)
async def test_what_the_gateway_says_is_recorded(
    bench: Bench, error: BotonError | None, status: str, code: str | None
) -> None:
    bench.gateway = ScriptedGateway(*([error] if error else []))
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await courier.record(await courier.deliver(attempt))
    assert await bench.status(attempt) == (status, code)


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), RuntimeError("a bug in the gateway")])
@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Sent(whatsapp_id="WA-9", at=AT), "sent"),
        (Unsettled.NOT_SENT, "queued"),
        (Unsettled.UNKNOWN, "unconfirmed"),
    ],
)
async def test_unknown_outcome_is_asked_for(bench: Bench, error: Exception, outcome: object, status: str) -> None:
    bench.gateway.answers.append(error)
    bench.gateway.outcomes.append(outcome)  # type: ignore[arg-type]
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await courier.record(await courier.deliver(attempt))
    assert bench.gateway.asked == [attempt]
    assert (await bench.status(attempt))[0] == status
    assert len(bench.gateway.tried) == 1


async def test_asking_waits_for_the_connection(bench: Bench) -> None:
    bench.gateway.answers.append(OutcomeUnknown("no answer"))
    bench.gateway.outcomes.extend([ConnectionAway("away"), ConnectionAway("away"), Sent(whatsapp_id="WA-9", at=AT)])
    courier = bench.courier()
    result = await courier.deliver(await bench.claim(courier))
    assert result.status is MessageStatus.SENT
    assert len(bench.gateway.asked) == 3


async def test_gateway_that_cannot_be_asked_leaves_it_unconfirmed(bench: Bench) -> None:
    bench.gateway.answers.append(OutcomeUnknown("no answer"))
    bench.gateway.outcomes.extend(ConnectionAway("away") for _ in range(100))
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await asyncio.wait_for(courier.record(await courier.deliver(attempt)), SECONDS)
    assert await bench.status(attempt) == ("unconfirmed", "unconfirmed")


async def test_replaced_while_asking_leaves_the_attempt_to_the_successor(bench: Bench) -> None:
    bench.gateway.answers.append(OutcomeUnknown("no answer"))
    bench.gateway.outcomes.append(SessionReplaced("a newer session exists"))
    courier = bench.courier()
    attempt = await bench.claim(courier)
    with pytest.raises(SessionReplaced):
        await courier.deliver(attempt)
    assert bench.watcher.lost == 1
    assert (await bench.status(attempt))[0] == "sending"
    left = await bench.outbox.list_left_in_flight(bench.connection.id, await bench.raise_epoch())
    assert [one.id for one in left] == [attempt.id]


async def test_replaced_session_claims_nothing_more(bench: Bench) -> None:
    bench.gateway.answers.append(SessionReplaced("a newer session exists"))
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await courier.record(await courier.deliver(attempt))
    assert await bench.status(attempt) == ("queued", None)
    assert bench.watcher.lost == 1
    send = await bench.accept(2)
    step = await courier.advance(send.send.id, Lane.SLOW)
    assert isinstance(step, Idle)
    assert step.why == "not_owner"
    assert len(bench.gateway.tried) == 1


async def test_record_survives_a_store_that_fails(bench: Bench) -> None:
    bench.outbox = FailingOutbox(bench.outbox, OSError("disk"), failures=40)
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await asyncio.wait_for(courier.record(await courier.deliver(attempt)), SECONDS)
    assert (await bench.status(attempt))[0] == "sent"


async def test_record_is_written_even_when_the_next_claim_fails(bench: Bench) -> None:
    bench.outbox = FailingOutbox(bench.outbox, OSError("disk"), failures=3)
    send = await bench.accept(2)
    courier = bench.courier()
    attempts = await courier.advance(send.send.id, Lane.SLOW, room=2)
    assert not isinstance(attempts, Idle)
    results = [await courier.deliver(attempt) for attempt in attempts]
    with pytest.raises(OSError, match="disk"):
        await courier.advance(send.send.id, Lane.SLOW, record=results)
    assert [(await bench.status(attempt))[0] for attempt in attempts] == ["sent", "sent"]


async def test_result_that_cannot_be_recorded_does_not_keep_the_others_from_it(bench: Bench) -> None:
    bench.outbox = FailingOutbox(bench.outbox, IllegalTransition("read", "sent"), failures=2)
    send = await bench.accept(2)
    courier = bench.courier()
    attempts = await courier.advance(send.send.id, Lane.SLOW, room=2)
    assert not isinstance(attempts, Idle)
    results = [await courier.deliver(attempt) for attempt in attempts]
    with pytest.raises(IllegalTransition):
        await courier.advance(send.send.id, Lane.SLOW, record=results)
    assert [(await bench.status(attempt))[0] for attempt in attempts] == ["sending", "sent"]
    assert not any(courier.is_under_way(attempt) for attempt in attempts)


async def test_gateway_that_fails_while_it_is_asked_is_asked_again(bench: Bench) -> None:
    bench.gateway.answers.append(OutcomeUnknown("no answer"))
    bench.gateway.outcomes.extend([RuntimeError("a bug in the gateway"), Sent(whatsapp_id="WA-9", at=AT)])
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await courier.record(await courier.deliver(attempt))
    assert (await bench.status(attempt))[0] == "sent"
    assert not courier.is_under_way(attempt)


@pytest.mark.parametrize(
    ("code", "statuses"), [(463, ["failed"]), (429, ["queued", "queued", "failed"]), (101, ["queued"] * 2 + ["failed"])]
)
async def test_refusal_of_the_number_closes_the_slow_lane(bench: Bench, code: int, statuses: list[str]) -> None:
    """A 463 is never tried again; anything else three times, which a message in the fast lane gets soon."""
    courier = bench.courier()
    message_id = (await bench.accept()).recipients[0].message_id
    for status in statuses:
        attempt = await courier.claim(message_id)
        assert attempt is not None
        bench.gateway.answers.append(NumberRefused(code, "the number is restricted"))
        await courier.record(await courier.deliver(attempt))
        assert (await bench.status(attempt))[0] == status
    assert {closure.code for closure in bench.watcher.closures} == {str(code)}
    connection = await SqlConnectionStore(bench.database).fetch_connection(bench.connection.id)
    assert connection.slow_lane_closed(bench.clock()) == bench.watcher.closures[0]


async def test_refusal_under_a_stale_epoch_tells_the_link(bench: Bench) -> None:
    courier = bench.courier()
    attempt = await bench.claim(courier)
    await bench.raise_epoch()
    bench.gateway.answers.append(NumberRefused(463, "the number is restricted"))
    await courier.record(await courier.deliver(attempt))
    assert (await bench.status(attempt))[0] == "failed"
    assert (bench.watcher.closures, bench.watcher.lost) == ([], 1)


async def test_error_of_our_own_is_not_tried_again_for_ever(bench: Bench) -> None:
    outbox = FailingOutbox(bench.outbox, IllegalTransition("read", "sent"), failures=3)
    bench.outbox = outbox
    courier = bench.courier()
    attempt = await bench.claim(courier)
    with pytest.raises(IllegalTransition):
        await courier.record(await courier.deliver(attempt))
    assert outbox.failures == 2


async def test_recording_twice_changes_nothing(bench: Bench) -> None:
    courier = bench.courier()
    attempt = await bench.claim(courier)
    result = await courier.deliver(attempt)
    await courier.record(result)
    await courier.record(result)
    await courier.record(Result(attempt=attempt, status=MessageStatus.QUEUED))
    assert (await bench.status(attempt))[0] == "sent"


async def test_attempt_is_under_way_from_its_claim_to_its_record(bench: Bench) -> None:
    courier = bench.courier()
    attempt = await bench.claim(courier)
    assert courier.is_under_way(attempt)
    result = await courier.deliver(attempt)
    assert courier.is_under_way(attempt)
    await courier.record(result)
    assert not courier.is_under_way(attempt)


async def test_attempts_left_open_wait_for_their_receipts_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = bench.courier()
    attempt = await bench.claim(courier)
    everybody_asks = asyncio.Barrier(20)

    async def find_outcome(_: object) -> Unsettled:
        await everybody_asks.wait()
        return Unsettled.UNKNOWN

    monkeypatch.setattr(bench.gateway, "find_outcome", find_outcome)
    async with asyncio.timeout(SECONDS):
        results = await courier.settle_all([attempt] * 20)

    assert [result and result.status for result in results] == [MessageStatus.UNCONFIRMED] * 20
