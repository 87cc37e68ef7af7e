"""No step of the daily work reads all messages: each statement that it runs is explained by SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event

from boton.domain.messages import Lane
from boton.domain.sends import SendKind
from boton.ports import Idle, Page
from boton.store.engine import open_database
from tests.store.builders import NOW, at
from tests.store.stage import OTHER, Stage, incoming, numbers, receipt, sent, set_stage, typed, unconfirmed


@contextmanager
def _noted() -> Iterator[dict[str, Any]]:
    """Every statement that runs meanwhile, with the parameters of its first run."""
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many and statement.startswith(("SELECT", "UPDATE", "DELETE")):
            seen.setdefault(statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _plans(file: str, seen: dict[str, Any]) -> dict[str, list[str]]:
    with sqlite3.connect(file) as connection:
        return {
            statement: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in seen.items()
        }


def _scans(file: str, seen: dict[str, Any]) -> list[str]:
    plans = _plans(file, seen)
    return [statement for statement, plan in plans.items() if any(step.startswith("SCAN message") for step in plan)]


async def test_no_step_reads_all_messages(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    stage = await set_stage(database, bot_new_chats=True)
    with _noted() as seen:
        await stage.receive(incoming())
        draft = await stage.answer()
        assert await stage.undelivered() == (stage.connection.id, [draft])
        attempt = await stage.claim_message(draft)
        assert attempt is not None
        await stage.record(unconfirmed(attempt))
        await stage.outbox.list_left_in_flight(stage.connection.id, stage.epoch + 1)
        own = typed(whatsapp_id="own", attempt_id=attempt.id)
        await stage.receive(own, receipt("delivered", "own"))
        accepted, _ = await stage.deliver(OTHER)
        await _write_opening(stage)
        await stage.receive(incoming(number=OTHER))
        await stage.accept("14155550000")
        await stage.receive(incoming("STOP", number="14155550000"))
        await _answer_twice(stage)
        await stage.advance(accepted.send.id)
        await _change_sends(stage)
        await stage.work.list_overdue(NOW, timedelta(0), 10)
        await stage.chats.list_messages(stage.business.id, OTHER + "@s.whatsapp.net", limit=5)
    seen = {statement: parameters for statement, parameters in seen.items() if "message" in statement}
    await database.close()
    assert len(seen) > 10
    assert _scans(sqlite_url.removeprefix("sqlite:///"), seen) == []


async def test_claims_of_a_large_send_read_only_what_they_claim(sqlite_url: str) -> None:
    """What is asked of one lane is answered by send, lane and status, in the index's order."""
    database, file = open_database(sqlite_url), sqlite_url.removeprefix("sqlite:///")
    stage = await set_stage(database)
    await stage.change(numbers(1)[0], known=True)
    accepted = await stage.accept(*numbers(10_000), expires_at=at(60))
    with sqlite3.connect(file) as connection:
        connection.execute("ANALYZE")
    with _noted() as seen:
        await _carry_out(stage, accepted.send.id)
    plans = _plans(file, {statement: seen[statement] for statement in seen if "WHERE message.send_id" in statement})
    await database.close()
    assert len(plans) >= 5
    for statement, plan in plans.items():
        (look,) = [step for step in plan if "message" in step]
        assert "(send_id=?" in look, statement
        if "message.lane = ?" in statement:
            assert "ix_message_send_claim (send_id=? AND lane=? AND status=?)" in look, statement
            assert len(plan) == 1 + ("JOIN" in statement), plan


async def _carry_out(stage: Stage, send_id: str) -> None:
    """Claims in both lanes, a closed lane, the look for the end, and what expires."""
    await stage.step(send_id, lane=Lane.FAST)
    attempts = await stage.step(send_id, lane=Lane.SLOW, room=5)
    assert not isinstance(attempts, Idle)
    await stage.step(send_id, *map(sent, attempts), lane=Lane.SLOW, room=5)
    await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, NOW)
    for lane in Lane:
        await stage.step(send_id, lane=lane)
        await stage.step(send_id, lane=lane, room=0)
        await stage.step(send_id, lane=lane, now=at(60))


async def _change_sends(stage: Stage) -> None:
    for kind in SendKind:
        accepted = await stage.accept(*numbers(3), kind=kind)
        ours = (stage.business.id, accepted.send.id)
        await stage.sends.pause_send(*ours)
        await stage.sends.resume_send(*ours, NOW)
        await stage.sends.estimate_end(*ours, NOW)
        await stage.sends.cancel_send(*ours, NOW)
        await stage.sends.list_recipients(*ours, Page(page=0, page_size=5))
    await stage.sends.wake_waiting_sends(stage.business.id, NOW)
    await stage.businesses.update_config(stage.business.id, {"pacing": {"slowGapSeconds": [1, 1]}})
    last = await stage.accept(*numbers(3))
    await stage.sends.estimate_end(stage.business.id, last.send.id, NOW)


async def _write_opening(stage: Stage) -> None:
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    (brief,) = await stage.turns.open_openings([accepted.recipients[0].message_id], NOW)
    await stage.close_turn(brief)


async def _answer_twice(stage: Stage) -> None:
    brief = await stage.open_turn(OTHER)
    (draft,) = await stage.close_turn(brief)
    assert await stage.close_turn(brief) == [draft]
    attempt = await stage.claim_message(draft)
    assert attempt is not None
    await stage.record(sent(attempt))
