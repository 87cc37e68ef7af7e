"""What the library's events say, without a gateway."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from neonize.proto import Neonize_pb2 as pb
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as M

from boton.domain.gateway import Inbound, Receipt, ReceiptKind, Typing
from boton.domain.messages import MessageType
from boton.whatsapp.contents import read_content
from boton.whatsapp.inbound import read_event, read_proofs, to_keep
from tests.whatsapp import events

PHONE = "5491112345678@s.whatsapp.net"
LID = "777@lid"


@dataclass
class Known:
    own: frozenset[str] = frozenset({"5491138620812@s.whatsapp.net", "900@lid"})
    phones: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, str] = field(default_factory=dict)
    secrets: dict[bytes, str] = field(default_factory=dict)

    def phone_of(self, lid: str) -> str | None:
        return self.phones.get(lid)

    def attempt_of(self, message_id: str, secret: bytes) -> str | None:
        return self.attempts.get(message_id) or self.secrets.get(secret)


def say(content: Any, known: Known | None = None, **of: Any) -> Inbound:
    about = events.info("3EB0", events.source(of.pop("chat", LID), alt=of.pop("alt", PHONE), **of))
    (said,) = read_event(events.message(about, content), known or Known())
    assert isinstance(said, Inbound)
    return said


def future(**message: Any) -> Any:
    return {"message": M(**message)}


@pytest.mark.parametrize(
    ("content", "type", "text"),
    [
        (M(conversation="hola"), MessageType.TEXT, "hola"),
        (M(extendedTextMessage={"text": "mirá https://x.test"}), MessageType.TEXT, "mirá https://x.test"),
        (M(buttonsResponseMessage={"selectedDisplayText": "Sí"}), MessageType.TEXT, "Sí"),
        (M(buttonsResponseMessage={"selectedButtonID": "si"}), MessageType.TEXT, "si"),
        (M(listResponseMessage={"title": "Martes 15 hs"}), MessageType.TEXT, "Martes 15 hs"),
        (M(templateButtonReplyMessage={"selectedDisplayText": "Confirmo"}), MessageType.TEXT, "Confirmo"),
        (M(interactiveResponseMessage={"body": {"text": "Elegí esto"}}), MessageType.TEXT, "Elegí esto"),
        (M(imageMessage={"caption": "mi DNI"}), MessageType.IMAGE, "Picture: mi DNI"),
        (M(imageMessage={}), MessageType.IMAGE, "Picture"),
        (M(videoMessage={"caption": "mirá"}), MessageType.VIDEO, "Video: mirá"),
        (M(videoMessage={"gifPlayback": True}), MessageType.VIDEO, "GIF"),
        (M(ptvMessage={}), MessageType.VIDEO, "Video note"),
        (M(audioMessage={"PTT": True, "seconds": 12}), MessageType.AUDIO, "Voice note (12 s)"),
        (M(audioMessage={}), MessageType.AUDIO, "Audio"),
        (M(documentMessage={"fileName": "a.pdf", "caption": "va"}), MessageType.DOCUMENT, "Document a.pdf: va"),
        (M(stickerMessage={}), MessageType.STICKER, "Sticker"),
        (M(contactMessage={"displayName": "Ana"}), MessageType.CONTACT, "Contact: Ana"),
        (M(contactsArrayMessage={"contacts": [{"displayName": "Ana"}, {"displayName": "Leo"}]}), MessageType.CONTACT,
         "Contacts: Ana, Leo"),
        (M(locationMessage={"degreesLatitude": -34.6, "degreesLongitude": -58.4, "name": "Obelisco"}),
         MessageType.LOCATION, "Location: Obelisco (-34.60000, -58.40000)"),
        (M(liveLocationMessage={"degreesLatitude": 1, "degreesLongitude": 2}), MessageType.LOCATION,
         "Live location: 1.00000, 2.00000"),
        (M(reactionMessage={"text": "👍"}), MessageType.REACTION, "Reacted with 👍"),
        (M(reactionMessage={"text": ""}), MessageType.REACTION, "Removed a reaction"),
        (M(pollCreationMessage={"name": "¿Cuándo?", "options": [{"optionName": "Hoy"}]}), MessageType.UNKNOWN,
         "Poll: ¿Cuándo? (Hoy)"),
        (M(pollUpdateMessage={}), MessageType.UNKNOWN, "Voted in a poll"),
        (M(protocolMessage={"type": "REVOKE"}), MessageType.UNKNOWN, "Deleted a message"),
        (M(protocolMessage={"type": "MESSAGE_EDIT", "editedMessage": {"conversation": "16 hs"}}), MessageType.TEXT,
         "Edited: 16 hs"),
        (M(editedMessage=future(protocolMessage={"type": "MESSAGE_EDIT", "editedMessage": {"conversation": "16"}})),
         MessageType.TEXT, "Edited: 16"),
        (M(ephemeralMessage=future(viewOnceMessage=future(imageMessage={}))), MessageType.IMAGE, "Picture"),
        (M(documentWithCaptionMessage=future(documentMessage={"fileName": "b.pdf"})), MessageType.DOCUMENT,
         "Document b.pdf"),
        (M(musicMessage={}), MessageType.UNKNOWN, "Message of a kind unknown here"),
        (M(conversation="hola", messageContextInfo={"messageSecret": b"x" * 32}), MessageType.TEXT, "hola"),
    ],
)  # fmt: skip
def test_message_is_put_into_words(content: Any, type: MessageType, text: str) -> None:
    said = say(content)
    assert (said.type, said.text) == (type, text)


@pytest.mark.parametrize(
    "content",
    [
        M(),
        M(conversation=""),
        M(messageContextInfo={"messageSecret": b"x" * 32}),
        M(senderKeyDistributionMessage={}),
        M(protocolMessage={"type": "EPHEMERAL_SETTING"}),
        M(protocolMessage={"type": "HISTORY_SYNC_NOTIFICATION"}),
        M(albumMessage={"expectedImageCount": 2}),
        M.FromString(b"\x62\x03\x10\xe7\x07"),  # a protocolMessage of type 999
    ],
)
def test_what_no_person_wrote_says_nothing(content: Any) -> None:
    assert read_content(content) is None


def test_lid_and_phone_number_are_one_customer() -> None:
    by_lid, by_phone = say("hola"), say("hola", chat=PHONE, alt=LID)
    assert (by_lid.jid, by_lid.also_known_as) == (PHONE, (LID,))
    assert (by_phone.jid, by_phone.also_known_as) == (PHONE, (LID,))


def test_lid_alone_is_looked_up_and_stays_where_nothing_is_known() -> None:
    known = Known(phones={LID: PHONE})
    assert say("hola", known, alt=events.NOBODY).jid == PHONE
    stranger = say("hola", alt=events.NOBODY)
    assert (stranger.jid, stranger.also_known_as) == (LID, ())


def test_own_phone_is_told_with_the_customer_and_without_our_name() -> None:
    said = say("ya te atiendo", from_me=True, sender="5491138620812@s.whatsapp.net")
    assert (said.from_me, said.jid, said.push_name, said.attempt_id) == (True, PHONE, None, None)


def test_what_the_owner_deletes_on_the_phone_is_not_said() -> None:
    about = events.info("3EB0", events.source(LID, alt=PHONE, from_me=True))
    assert list(read_event(events.message(about, M(protocolMessage={"type": "REVOKE"})), Known())) == []


def test_receipt_of_an_own_device_is_not_the_customers() -> None:
    of = events.source(LID, alt=PHONE, from_me=True)
    (said,) = read_event(events.receipt(of, ["3EB0"], "DELIVERED"), Known())
    assert isinstance(said, Receipt)
    assert (said.kind, said.jid) == (ReceiptKind.SENT, PHONE)


def test_own_message_that_is_ours_bears_its_attempt() -> None:
    assert say("hola", Known(attempts={"3EB0": "att_1"}), from_me=True).attempt_id == "att_1"


def test_own_message_that_is_ours_is_known_by_its_secret_before_its_id_is() -> None:
    content = M(conversation="hola", messageContextInfo={"messageSecret": b"s" * 32})
    assert say(content, Known(secrets={b"s" * 32: "att_1"}), from_me=True).attempt_id == "att_1"


def test_deletion_by_the_customer_takes_back() -> None:
    assert say(M(protocolMessage={"type": "REVOKE"})).takes_back
    assert not say("Borré el mensaje").takes_back


def test_time_of_a_message_is_in_milliseconds_and_of_a_receipt_in_seconds() -> None:
    about = events.info("3EB0", events.source(PHONE), at_ms=1_700_000_000_123)
    (said,) = read_event(events.message(about, "hola"), Known())
    (seen,) = read_event(events.receipt(events.source(PHONE), ["3EB0"], at=1_700_000_000), Known())
    assert isinstance(said, Inbound)
    assert isinstance(seen, Receipt)
    assert said.at == datetime.fromtimestamp(1_700_000_000.123, UTC)
    assert seen.at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_what_cannot_be_read_is_told_under_an_id_of_its_own() -> None:
    """The library asks for it again: when that works, it comes under its own id, which must not be known by then."""
    about = events.info("3EB0", events.source(LID, alt=PHONE))
    (said,) = read_event(events.undecryptable(about), Known())
    assert isinstance(said, Inbound)
    assert (said.type, said.text) == (MessageType.UNKNOWN, "Message that could not be read")
    assert said.whatsapp_id != "3EB0"
    assert read_event(events.undecryptable(about, hidden=True), Known()) == ()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("DELIVERED", ReceiptKind.DELIVERED),
        ("INACTIVE", ReceiptKind.DELIVERED),
        ("READ", ReceiptKind.READ),
        ("PLAYED", ReceiptKind.READ),
        ("SENDER", ReceiptKind.SENT),
        ("RETRY", ReceiptKind.SENT),
        ("READ_SELF", None),
        ("PLAYED_SELF", None),
        ("SERVER_ERROR", None),
        ("PEER_MSG", None),
        ("HISTORY_SYNC", None),
    ],
)
def test_receipts_by_kind(kind: str, expected: ReceiptKind | None) -> None:
    event = events.receipt(events.source(LID), ["3EB0", "3EB1"], kind)
    said = read_event(event, Known(phones={LID: PHONE}))
    assert [one.kind for one in said if isinstance(one, Receipt)] == ([expected] if expected else [])
    assert tuple(read_proofs(event)) == (("3EB0", "3EB1") if expected else ())


def test_typing_and_its_end() -> None:
    of = events.source(LID, alt=PHONE)
    assert read_event(events.typing(of), Known()) == (Typing(jid=PHONE),)
    assert read_event(events.typing(of, paused=True), Known()) == ()


@pytest.mark.parametrize("chat", ["120363@g.us", "status@broadcast", "1-2@broadcast", "120@newsletter", "0@bot"])
def test_what_is_not_a_person_is_not_for_us(chat: str) -> None:
    of = events.source(chat, sender=PHONE)
    about = events.info("3EB0", of)
    for event in (events.message(about, "hola"), events.undecryptable(about), events.receipt(of, ["1"]),
                  events.typing(of)):  # fmt: skip
        assert to_keep(event, b"raw") is None
        assert list(read_event(event, Known())) == []


def test_talk_between_own_devices_is_not_for_us() -> None:
    about = events.info("3EB0", events.source("900@lid", from_me=True), category="peer")
    assert to_keep(events.message(about, "x"), b"raw") is None
    note_to_self = events.message(events.info("3EB0", events.source("900@lid", from_me=True)), "leche, pan")
    assert list(read_event(note_to_self, Known())) == []


@pytest.mark.parametrize("event", [events.connected(), events.disconnected(), events.synced(), events.replaced()])
def test_what_is_about_the_connection_is_not_journalled(event: Any) -> None:
    assert to_keep(event, b"raw") is None


# ------------------------------------------------------------ history


def history(*chats: dict[str, Any]) -> Any:
    sync = pb.HistorySync()
    sync.Data.syncType = 3
    for chat in chats:
        sync.Data.conversations.add(**chat)
    return sync


def old(id: str, text: str, *, from_me: bool = False, at: int = 1_700_000_000) -> dict[str, Any]:
    key = {"remoteJID": LID, "fromMe": from_me, "ID": id}
    return {"message": {"key": key, "message": {"conversation": text}, "messageTimestamp": at, "pushName": "juancito"}}


def test_history_gives_names_and_last_messages_oldest_first() -> None:
    newest_first = [old("3", "tres", from_me=True), old("2", "dos"), old("1", "uno")]
    said = read_event(history({"ID": LID, "pnJID": PHONE, "name": "Juan Pérez", "messages": newest_first}), Known())

    told = [one for one in said if isinstance(one, Inbound)]
    assert [one.text for one in told] == ["uno", "dos", "tres"]
    assert [one.push_name for one in told] == ["Juan Pérez", "Juan Pérez", None]
    assert {(one.jid, one.also_known_as, one.history) for one in told} == {(PHONE, (LID,), True)}


def test_own_message_in_the_history_that_is_ours_bears_its_attempt() -> None:
    chat = {"ID": LID, "pnJID": PHONE, "messages": [old("2", "dos", from_me=True), old("1", "uno")]}
    said = read_event(history(chat), Known(attempts={"1": "att_1", "2": "att_2"}))
    assert [one.attempt_id for one in said if isinstance(one, Inbound)] == [None, "att_2"]


def test_history_is_stripped_of_groups_and_of_all_but_the_newest() -> None:
    many = [old(str(number), f"texto {number}") for number in range(100)]
    event = history({"ID": "1@g.us", "messages": [old("g", "secreto")]}, {"ID": LID, "messages": many})

    kept = to_keep(event, event.SerializeToString())

    assert kept is not None
    assert b"secreto" not in kept
    said = read_event(pb.HistorySync.FromString(kept), Known())
    assert [one.whatsapp_id for one in said if isinstance(one, Inbound)] == [str(n) for n in reversed(range(20))]


def test_only_a_history_is_stripped() -> None:
    about = events.info("3EB0", events.source(LID, alt=PHONE))
    assert to_keep(events.message(about, "hola"), b"raw") == b"raw"


def test_receipt_with_thousands_of_ids_is_told_in_pieces() -> None:
    """A store takes only so many at once."""
    ids = [f"3EB0{number}" for number in range(1200)]
    said = read_event(events.receipt(events.source(LID, alt=PHONE), ids), Known())
    pieces = [one.whatsapp_ids for one in said if isinstance(one, Receipt)]
    assert [len(piece) for piece in pieces] == [500, 500, 200]
    assert [id for piece in pieces for id in piece] == ids
