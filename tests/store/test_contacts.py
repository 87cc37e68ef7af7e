"""What changes for the sends that wait for a customer who becomes a contact: by writing, or by word of the client."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.gateway import Inbound
from boton.domain.reminders import NewReminder, Plan, Planned, Timing
from boton.domain.sends import NewRecipient, SendKind
from boton.store.engine import Database
from boton.store.reminders import SqlReminderStore
from boton.store.tables import ChatRow, SendRow
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import NUMBER, OTHER, Stage, incoming, numbers, set_stage, typed

LATER = at(86_400)


async def _wait_until(stage: Stage, send_id: str, moment: datetime | None) -> None:
    """What a claim leaves that found the slow lane closed (None: a send that was paused)."""
    await stage.database.write(
        lambda session: session.execute(update(SendRow).where(col(SendRow.id) == send_id).values(next_step_at=moment))
    )


async def _next_step(stage: Stage, send_id: str) -> datetime | None:
    (row,) = [one for one in await stage.all(SendRow) if one.id == send_id]
    return row.next_step_at


@pytest.mark.parametrize(
    "message",
    [
        incoming(),
        typed(),
        incoming(history=True, when=at(-9)),
        incoming(jid="1029384756@lid", also_known_as=(jid_of(NUMBER),)),
        incoming(number="541112345678"),
    ],
    ids=["writes", "is written to", "in the history", "under a LID", "in another spelling"],
)
async def test_send_that_waits_for_a_new_contact_is_looked_at(database: Database, message: Inbound) -> None:
    stage = await set_stage(database)
    accepted, other = await stage.accept(NUMBER, OTHER), await stage.accept(OTHER)
    for one in (accepted, other):
        await _wait_until(stage, one.send.id, LATER)
    await stage.receive(message, now=at(5))
    assert await _next_step(stage, accepted.send.id) == at(5)
    assert await _next_step(stage, other.send.id) == LATER


async def test_send_to_an_old_contact_waits_on(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming())
    accepted = await stage.accept(NUMBER)
    await _wait_until(stage, accepted.send.id, LATER)
    await stage.receive(incoming(when=at(5)), now=at(5))
    assert await _next_step(stage, accepted.send.id) == LATER


async def test_paused_send_stays_paused(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await _wait_until(stage, accepted.send.id, None)
    await stage.receive(incoming())
    assert await _next_step(stage, accepted.send.id) is None


async def test_send_of_another_business_waits_on(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    accepted = await other.accept()
    await _wait_until(other, accepted.send.id, LATER)
    await stage.receive(incoming())
    assert await _next_step(other, accepted.send.id) == LATER


async def test_answer_ends_the_count_of_unanswered_marketing(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming(when=at(-60)))

    async def unanswered_after(message: Inbound) -> int:
        await stage.database.write(lambda session: session.execute(update(ChatRow).values(marketing_unanswered=2)))
        await stage.receive(message)
        return (await stage.chat()).marketing_unanswered

    assert await unanswered_after(incoming(history=True, when=at(-90))) == 2
    assert await unanswered_after(typed()) == 2
    assert await unanswered_after(incoming("gracias", when=NOW)) == 0


@pytest.mark.parametrize("how", ["send", "bulk", "reminder", "patch"])
async def test_send_that_waits_for_whom_the_client_introduces_is_looked_at(database: Database, how: str) -> None:
    stage = await set_stage(database)
    accepted, other, paused = await stage.accept(NUMBER), await stage.accept(OTHER), await stage.accept(NUMBER)
    for one, moment in ((accepted, LATER), (other, LATER), (paused, None)):
        await _wait_until(stage, one.send.id, moment)
    introduced = NewRecipient(to=NUMBER, jid=jid_of(NUMBER), text="hola", known=True)
    if how == "patch":
        await stage.change(NUMBER, known=True, now=at(5))
    elif how == "reminder":
        await _remind(stage, introduced, at(5))
    else:
        strangers = [NewRecipient(to=one, jid=jid_of(one), text="hola") for one in numbers(60 if how == "bulk" else 1)]
        await stage.accept(recipients=(introduced, *strangers), accepted_at=at(5))
    assert await _next_step(stage, accepted.send.id) == at(5)
    assert await _next_step(stage, other.send.id) == LATER
    assert await _next_step(stage, paused.send.id) is None
    assert (await stage.chat()).known


async def _remind(stage: Stage, recipient: NewRecipient, accepted_at: datetime) -> None:
    new = NewReminder(
        business_id=stage.business.id,
        recipient=recipient,
        kind=SendKind.MESSAGE,
        timing=Timing(starts_at=LATER),
        plan=Plan(firings=(Planned(at=LATER, expires_at=at(90_000)),)),
        accepted_at=accepted_at,
    )
    await SqlReminderStore(stage.database).accept_reminder(new, lambda _: {})
