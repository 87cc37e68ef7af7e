"""Under which JIDs the same person is known: what WhatsApp answered, and what the library has learnt. Blocks.

The library keeps one map of LIDs and phone numbers for all the numbers of a database. A customer may hide the phone
number from one business and not from another: so what is read there is the LID of a number that was written to from
here, and never the number behind a LID.
"""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, delete, select, text

from boton.domain.jid import LID_SERVER, PHONE_SERVER, is_person, parse_jid, spellings
from boton.whatsapp.own_tables import ADDRESSES


class AddressBook:
    """One number's. What was found once is kept in memory too: it does not change."""

    def __init__(self, engine: Engine, connection_id: str) -> None:
        self._engine = engine
        self._connection_id = connection_id
        self._phones: dict[str, str] = {}
        self._written: set[str] = set()

    def write_to(self, jid: str) -> str | None:
        """How WhatsApp itself calls whom we are about to write to. Whose LID it is will be known from now on: receipts
        bear nothing else, and may come before the answer.
        """
        if jid not in self._written and jid.endswith(PHONE_SERVER):
            self._note_recipient(jid)
        return self.find_canonical(jid)

    def find_canonical(self, jid: str) -> str | None:
        """How WhatsApp itself calls whom we call so. A note that is no JID is none: sending there would hang."""
        with self._engine.connect() as sql:
            these = {"of": self._connection_id, "called": jid}
            found: str | None = sql.execute(_CANONICAL, these).scalar_one_or_none()
        return found if found is not None and is_person(found) else None

    def note_canonical(self, jid: str, canonical: str) -> None:
        """Two who looked the same number up may tell it at once."""
        with self._engine.begin() as sql:
            sql.execute(_FOUND, {"of": self._connection_id, "called": jid, "canonical": canonical})

    def forget(self, jid: str) -> None:
        with self._engine.begin() as sql:
            sql.execute(_FORGET, {"of": self._connection_id, "called": jid})

    def phone_of(self, lid: str) -> str | None:
        """The phone JID behind a LID: as we asked for it, else as the library has learnt it."""
        if lid not in self._phones:
            phone = self._find_phone(lid)
            if phone is None:
                return None
            self._phones[lid] = phone
        return self._phones[lid]

    def _find_phone(self, lid: str) -> str | None:
        user = lid.removesuffix(f"@{LID_SERVER}")
        with self._engine.connect() as sql:
            asked: str | None = sql.execute(_ASKED, {"of": self._connection_id, "lid": lid}).scalar()
            learnt = {"of": self._connection_id, "lid": user, "server": f"@{PHONE_SERVER}"}
            return asked or sql.execute(_LEARNT, learnt).scalar()

    def _note_recipient(self, jid: str) -> None:
        with self._engine.begin() as sql:
            sql.execute(_NOTE, [{"of": self._connection_id, "jid": str(each)} for each in spellings(parse_jid(jid))])
        self._written.add(jid)


_OURS = ADDRESSES.c.connection_id == bindparam("of")
_CANONICAL = select(ADDRESSES.c.canonical).where(_OURS, ADDRESSES.c.jid == bindparam("called"))
_FORGET = delete(ADDRESSES).where(_OURS, ADDRESSES.c.jid == bindparam("called"))
_FOUND = text(
    "INSERT INTO boton_addresses (connection_id, jid, canonical) VALUES (:of, :called, :canonical) "
    "ON CONFLICT (connection_id, jid) DO UPDATE SET canonical = excluded.canonical"
)
_ASKED = select(ADDRESSES.c.jid).where(_OURS, ADDRESSES.c.canonical == bindparam("lid")).limit(1)
_LEARNT = text(
    "SELECT boton_recipients.jid FROM whatsmeow_lid_map JOIN boton_recipients ON boton_recipients.jid = pn || :server "
    "WHERE lid = :lid AND connection_id = :of"
)
_NOTE = text("INSERT INTO boton_recipients (connection_id, jid) VALUES (:of, :jid) ON CONFLICT DO NOTHING")
