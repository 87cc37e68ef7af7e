"""What the store holds of the turns, read past the API: by which of them a message was answered is not public."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import Select, create_engine, exists, func, select
from sqlmodel import Session, col

from boton.domain.conversations import TurnStatus
from boton.domain.messages import Direction, Sender
from boton.store.briefs import occasion_of
from boton.store.engine import driver_url
from boton.store.tables import DUE, PENDING, FollowUpRow, MessageRow, RoundRow, ToolCallRow, TurnRow
from tests.chaos.chats.books import Heard, Said, Stored, Turn
from tests.chaos.chats.script import PROMISE
from tests.chaos.plan import CODE

_UNDER_WAY = ("queued", "sending")
_UNSETTLED = (*_UNDER_WAY, "sent", "unconfirmed")


class StoreView:
    """address: of the store; nothing is written to it."""

    def __init__(self, address: str) -> None:
        self._engine = create_engine(driver_url(address))

    def close(self) -> None:
        self._engine.dispose()

    def is_replying(self) -> bool:
        """Whether something that the bot wrote is on its way."""
        under_way = col(MessageRow.status).in_(_UNDER_WAY) & col(MessageRow.text).is_not(None)
        with Session(self._engine) as session:
            return bool(session.scalar(select(exists().where(_IS_SAID, under_way))))

    def count_unsettled(self, questions: int) -> int:
        """What is to be heard, answered, written, sent or confirmed still, and promises to be kept; not what the
        business would write tomorrow. questions: how many were asked.
        """
        with Session(self._engine) as session:
            return questions + sum(sign * (session.scalar(counted) or 0) for sign, counted in _COUNTED)

    def read(self) -> Stored:
        with Session(self._engine) as session:
            turns = session.scalars(select(TurnRow)).all()
            by_trigger = {turn.trigger_id: turn.id for turn in turns}
            said = session.scalars(select(MessageRow).where(_IS_SAID, col(MessageRow.text).is_not(None)))
            calls = session.scalars(select(ToolCallRow).where(col(ToolCallRow.ok).is_(True)))
            return Stored(
                heard=dict(_read_heard(session.scalars(select(MessageRow).where(_IS_HEARD)))),
                turns={turn.id: _to_turn(turn) for turn in turns},
                said=[_to_said(row, row.turn_id or by_trigger.get(row.id)) for row in said],
                rounds={(row.turn_id, row.number): row.created_at.timestamp() for row in session.scalars(_ROUNDS)},
                calls={re.findall(PROMISE, call.arguments)[0]: call.turn_id for call in calls},
            )


_IS_SAID = col(MessageRow.sender) == Sender.BOT.value
_IS_HEARD = col(MessageRow.direction) == Direction.INCOMING.value
_ROUNDS = select(RoundRow)


def _count(table: type, *where: object) -> Select[int]:
    return select(func.count()).select_from(table).where(*where)  # type: ignore[arg-type]


_COUNTED = (
    (-1, _count(MessageRow, _IS_HEARD)),
    (1, _count(MessageRow, DUE)),
    (1, _count(MessageRow, _IS_SAID, col(MessageRow.status).in_(_UNSETTLED))),
    (1, _count(TurnRow, col(TurnRow.status) == TurnStatus.OPEN.value)),
    (1, _count(FollowUpRow, PENDING, col(FollowUpRow.text).is_not(None))),
)


def _read_heard(rows: Iterable[MessageRow]) -> Iterable[tuple[str, Heard]]:
    for row in rows:
        for code in re.findall(CODE, row.text or ""):
            yield code, Heard(answer=row.answer, turn=row.turn_id)


def _to_turn(row: TurnRow) -> Turn:
    """One that was dropped although nothing newer came gave its trigger to another."""
    again = "~" in row.trigger_id
    return Turn(status="begun anew" if again else row.status, occasion=occasion_of(row))


def _to_said(row: MessageRow, turn: str | None) -> Said:
    return Said(number=row.jid.partition("@")[0], text=row.text or "", status=row.status, turn=turn)
