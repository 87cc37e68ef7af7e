"""The counts of a business, kept by whoever changes what they count.

Every transaction of a business wants its tally row, so that none may hold it for long: changes are gathered in the
session and written just before its commit.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import event, orm, update
from sqlmodel import Session, col

from boton.store.tables import TallyRow

_PENDING = "boton.tally"


def change_tally(session: Session, business_id: str, *, chats: int = 0, active: int = 0, untouchable: int = 0) -> None:
    """Adds to the counts of a business, in this session's transaction."""
    pending: dict[str, Counter[str]] = session.info.setdefault(_PENDING, {})
    if not pending:
        event.listen(session, "before_commit", _write, once=True)
    changes = {"chats": chats, "active_bot_chats": active, "untouchable_chats": untouchable}
    pending.setdefault(business_id, Counter()).update(changes)


def _write(session: orm.Session) -> None:
    pending: dict[str, Counter[str]] = session.info.pop(_PENDING, {})
    for business_id, changes in sorted(pending.items()):
        values = {name: getattr(TallyRow, name) + change for name, change in changes.items() if change}
        if values:
            session.execute(
                update(TallyRow)
                .where(col(TallyRow.business_id) == business_id)
                .values(values)
                .execution_options(synchronize_session=False)
            )
