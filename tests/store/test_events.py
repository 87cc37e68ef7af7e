"""Events in order, without holes, for as long as they are kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from boton.domain.events import KEPT_FOR, EventType, NewEvent
from boton.errors import EventsGone
from boton.store import events as events_module
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.tables import ReceiptRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, incoming, numbers, receipt, set_stage

LATER = NOW + KEPT_FOR


def _event(stage: Stage, name: str, when: timedelta = timedelta(0)) -> NewEvent:
    return NewEvent(
        business_id=stage.business.id, type=EventType.CHAT_OPTED_OUT, at=NOW + when, data={"jid": name, "ñ": [1, None]}
    )


async def _append(stage: Stage, *events: NewEvent) -> None:
    await stage.database.write(lambda session: append_events(session, events))


async def _seqs(stage: Stage, after: int = 0, limit: int = 100) -> list[int]:
    return [event.seq for event in (await stage.events.list_events(stage.business.id, after, limit)).events]


async def test_events_are_numbered_without_holes_per_business(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await _append(stage, _event(stage, "1"), _event(other, "1"), _event(stage, "2"))
    await _append(other, _event(other, "2"), _event(stage, "3"))
    for one, names in ((stage, ["1", "2", "3"]), (other, ["1", "2"])):
        page = await one.events.list_events(one.business.id, 0, 10)
        assert [event.data["jid"] for event in page.events] == names
        assert [event.seq for event in page.events] == list(range(1, len(names) + 1))
        assert page.events[0].data["ñ"] == [1, None]


async def test_events_are_read_page_by_page(database: Database) -> None:
    stage = await set_stage(database)
    await _append(stage, *(_event(stage, str(number)) for number in range(5)))
    first = await stage.events.list_events(stage.business.id, 0, 3)
    assert (len(first.events), first.last_seq, first.has_more) == (3, 3, True)
    second = await stage.events.list_events(stage.business.id, first.last_seq, 3)
    assert (len(second.events), second.last_seq, second.has_more) == (2, 5, False)
    third = await stage.events.list_events(stage.business.id, 5, 3)
    assert (third.events, third.last_seq, third.has_more) == ((), 5, False)


async def test_undone_transaction_leaves_no_hole(database: Database) -> None:
    stage = await set_stage(database)

    def fail(session: object) -> None:
        append_events(session, [_event(stage, "never")])  # type: ignore[arg-type]
        raise RuntimeError("undone")

    await _append(stage, _event(stage, "1"))
    with pytest.raises(RuntimeError):
        await database.write(fail)
    await _append(stage, _event(stage, "2"))
    assert await _seqs(stage) == [1, 2]


async def test_concurrent_writers_leave_no_hole(database: Database) -> None:
    stage = await set_stage(database)
    writers = [_append(stage, _event(stage, str(n)), _event(stage, str(n))) for n in range(20)]
    await asyncio.gather(*writers)
    assert await _seqs(stage) == list(range(1, 41))


async def test_old_events_are_gone_and_said_to_be(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await _append(stage, _event(stage, "1"), _event(stage, "2"), _event(stage, "3", timedelta(days=1)))
    await _append(other, _event(other, "1"))
    await stage.work.purge(LATER + timedelta(seconds=1))
    assert await _seqs(stage, after=2) == [3]
    for after in (0, 1):
        with pytest.raises(EventsGone) as gone:
            await _seqs(stage, after=after)
        assert gone.value.oldest == 3
    with pytest.raises(EventsGone):
        await _seqs(other)
    assert await _seqs(other, after=1) == []
    await _append(other, _event(other, "2", timedelta(days=31)))
    assert await _seqs(other, after=1) == [2]


async def test_event_of_an_old_moment_told_late_leaves_no_hole(database: Database) -> None:
    """A phone that comes back after weeks tells when it read a message: the event is old and yet new."""
    stage = await set_stage(database)
    await _append(
        stage, _event(stage, "1", timedelta(days=29)), _event(stage, "2"), _event(stage, "3", timedelta(days=29))
    )
    await stage.work.purge(LATER + timedelta(seconds=1))
    assert await _seqs(stage) == [1, 2, 3]


async def test_everything_old_goes_however_much_it_is(database: Database) -> None:
    stage = await set_stage(database)
    many = events_module._FORGOTTEN_AT_ONCE + 1
    await _append(stage, *(_event(stage, str(number)) for number in range(many)))
    await stage.work.purge(LATER + timedelta(seconds=1))
    assert await _seqs(stage, after=many) == []
    with pytest.raises(EventsGone):
        await _seqs(stage, after=many - 1)


async def test_kept_receipts_of_nobodys_messages_go_too(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming(), receipt("read", "W1"), receipt("read", "W2", when=LATER))
    await stage.work.purge(LATER + timedelta(seconds=1))

    assert [row.whatsapp_id for row in await stage.all(ReceiptRow)] == ["W2"]


async def test_flood_of_incoming_messages_is_told_in_its_order(database: Database) -> None:
    stage = await set_stage(database)
    messages = [incoming(str(number), number=jid, when=at(number)) for number, jid in enumerate(numbers(60))]
    await stage.receive(*messages)
    told = await stage.told(EventType.MESSAGE_RECEIVED)
    assert [event.data["text"] for event in told] == [str(number) for number in range(60)]
    assert [event.seq for event in told] == list(range(1, 61))
