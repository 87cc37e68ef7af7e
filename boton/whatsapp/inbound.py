"""The library's events as what they say: messages, receipts, typing. Pure.

An event always says the same number of things, in the same order: cursors are built on that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

from boton.domain.gateway import Inbound, Receipt, ReceiptKind, Typing
from boton.domain.jid import JID, LID_SERVER, PHONE_SERVER
from boton.whatsapp.contents import DELETED, UNREADABLE, Content, read_content

Said = Inbound | Receipt | Typing

HISTORY = 13
"""The library's code of a part of the phone's history."""

_PER_CHAT = 20
"""So many messages of each chat are taken over from the phone's history."""

_LONGEST_ID = 200
"""Characters of an id that is kept as it is: its sender chooses it, and a store's index holds no endless one."""

_IDS_AT_ONCE = 500
"""Of a receipt, which may bear any number."""

_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Taken for any time that is later: nothing can be counted from the end of all years."""


class Knowledge(Protocol):
    """What is known beside the event."""

    own: frozenset[str]
    """The business's own JIDs."""

    def phone_of(self, lid: str) -> str | None:
        """The phone JID behind a LID."""

    def attempt_of(self, message_id: str, secret: bytes) -> str | None:
        """Our attempt that has this id, or this secret: its id may not be known yet."""


def read_event(event: Any, known: Knowledge) -> Sequence[Said]:
    """What an event says, in order; nothing for what is not between the business and a person."""
    match event.DESCRIPTOR.name:
        case "Message":
            return _read_message(event, known)
        case "UndecryptableMessage":
            return _read_undecryptable(event, known)
        case "Receipt":
            return _read_receipt(event, known)
        case "ChatPresence":
            return _read_presence(event, known)
        case "HistorySync":
            return [said for chat in event.Data.conversations for said in _read_history(chat, known)]
    return ()


def read_unreadable(event: Any, known: Knowledge) -> Sequence[Said]:
    """What is left of an event that `read_event` fails on: that a person wrote something. Raises ValueError for what
    is no message.
    """
    if event.DESCRIPTOR.name != "Message":
        raise ValueError(event.DESCRIPTOR.name)
    inbound = _to_inbound(event.Info, UNREADABLE, known)
    return () if inbound is None else (inbound,)


def to_keep(event: Any, payload: bytes) -> bytes | None:
    """What of an event may be stored; None: nothing, it is not for us."""
    if event.DESCRIPTOR.name == "HistorySync":
        return _strip_history(event)
    return payload if _is_for_us(event) else None


def _is_for_us(event: Any) -> bool:
    """Groups, broadcasts, channels and status posts are not even journalled."""
    match event.DESCRIPTOR.name:
        case "Message" | "UndecryptableMessage":
            return bool(event.Info.Category != "peer") and _is_person(event.Info.MessageSource)
        case "Receipt" | "ChatPresence":
            return _is_person(event.MessageSource)
    return False


def _strip_history(event: Any) -> bytes:
    """Chats with persons, their newest messages."""
    persons = [chat for chat in event.Data.conversations if _names_person(_without_device(chat.ID))]
    for chat in persons:
        del chat.messages[_PER_CHAT:]  # newest first
    kept = [type(chat).FromString(chat.SerializeToString()) for chat in persons]
    kind = event.Data.syncType
    event.Data.Clear()
    event.Data.syncType = kind
    event.Data.conversations.extend(kept)
    stripped: bytes = event.SerializeToString()
    return stripped


def read_proofs(event: Any) -> Sequence[str]:
    """Ids of our messages that a receipt proves WhatsApp to have."""
    if event.DESCRIPTOR.name == "Receipt" and _receipt_name(event) in _PROVING:
        return _ids(event)
    return ()


# ---------------------------------------------------------------- messages


def _read_message(event: Any, known: Knowledge) -> Sequence[Said]:
    content = read_content(event.Message)
    if content is None or (event.Info.MessageSource.IsFromMe and content == DELETED):
        return ()  # what the owner deletes on the phone is nothing that the owner says
    inbound = _to_inbound(event.Info, content, known, secret=event.Message.messageContextInfo.messageSecret)
    return () if inbound is None else (inbound,)


def _read_undecryptable(event: Any, known: Knowledge) -> Sequence[Said]:
    """The library asks for it again, and when that works tells it under its own id: this note must not bear that."""
    if event.DecryptFailMode != event.DECRYPT_FAIL_SHOW:
        return ()
    inbound = _to_inbound(event.Info, UNREADABLE, known, suffix=":unread")
    return () if inbound is None or inbound.from_me else (inbound,)


def _to_inbound(info: Any, content: Content, known: Knowledge, suffix: str = "", secret: bytes = b"") -> Inbound | None:
    source = info.MessageSource
    jids = _customer(source, known)
    if not jids:
        return None
    return Inbound(
        whatsapp_id=_to_kept(info.ID) + suffix,
        jid=jids[0],
        also_known_as=jids[1:],
        push_name=None if source.IsFromMe else _name(info.Pushname),
        from_me=source.IsFromMe,
        attempt_id=known.attempt_of(info.ID, secret) if source.IsFromMe else None,
        type=content.type,
        text=content.text,
        at=_from_ms(info.Timestamp),
        takes_back=content == DELETED,
    )


def _to_kept(id: str) -> str:
    """An endless id stays another than every other: what bears the same id as an earlier message is taken for it."""
    return id if len(id) <= _LONGEST_ID else sha256(id.encode()).hexdigest()


def _customer(source: Any, known: Knowledge) -> tuple[str, ...]:
    """Every JID of the person on the other side, the phone number first; nothing for anybody else."""
    if not _is_person(source):
        return ()
    other = source.RecipientAlt if source.IsFromMe else source.SenderAlt
    return _merge((to_jid(source.Chat), "" if other.IsEmpty else to_jid(other)), known)


def _merge(jids: Sequence[str], known: Knowledge) -> tuple[str, ...]:
    persons = [jid for jid in jids if _names_person(jid)]
    phones = [jid for jid in persons if _server(jid) == PHONE_SERVER]
    lids = [jid for jid in persons if _server(jid) == LID_SERVER]
    if not phones:
        phones = [phone for lid in lids if (phone := known.phone_of(lid))]
    merged = tuple(dict.fromkeys((*phones, *lids)))
    return () if known.own & set(merged) else merged


# ---------------------------------------------------------------- receipts and presence


def _read_receipt(event: Any, known: Knowledge) -> Sequence[Said]:
    kind = _KINDS.get(_receipt_name(event))
    jids = _customer(event.MessageSource, known)
    if kind is None or not jids:
        return ()
    if event.MessageSource.IsFromMe:
        kind = ReceiptKind.SENT  # another device of ours has it, the customer perhaps not
    ids, at = _ids(event), _from_ms(event.Timestamp * 1000)
    pieces = [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
    return [Receipt(jid=jids[0], also_known_as=jids[1:], whatsapp_ids=some, kind=kind, at=at) for some in pieces]


def _ids(receipt: Any) -> tuple[str, ...]:
    """Those that may be of a message of ours."""
    return tuple(id for id in receipt.MessageIDs if len(id) <= _LONGEST_ID)


_KINDS: Mapping[str, ReceiptKind] = {
    "SENDER": ReceiptKind.SENT,
    "RETRY": ReceiptKind.SENT,  # a device could not read it yet: WhatsApp has it, the customer does not
    "DELIVERED": ReceiptKind.DELIVERED,
    "INACTIVE": ReceiptKind.DELIVERED,
    "READ": ReceiptKind.READ,
    "PLAYED": ReceiptKind.READ,
}
_PROVING = frozenset(_KINDS)


def _receipt_name(event: Any) -> str:
    return str(event.DESCRIPTOR.fields_by_name["Type"].enum_type.values_by_number[event.Type].name)


def _read_presence(event: Any, known: Knowledge) -> Sequence[Said]:
    jids = _customer(event.MessageSource, known)
    return (Typing(jid=jids[0]),) if jids and event.State == event.COMPOSING else ()


# ---------------------------------------------------------------- history


def _read_history(chat: Any, known: Knowledge) -> Sequence[Said]:
    """A chat's newest messages, oldest first, with the name that the phone has for the customer."""
    jids = _merge((_without_device(chat.ID), _without_device(chat.pnJID), _without_device(chat.lidJID)), known)
    if not jids:
        return ()
    newest = reversed(chat.messages[:_PER_CHAT])
    told = (_read_old(entry.message, jids, chat.name or chat.displayName, known) for entry in newest)
    return tuple(inbound for inbound in told if inbound is not None)


def _read_old(message: Any, jids: tuple[str, ...], name: str, known: Knowledge) -> Inbound | None:
    content = read_content(message.message) if message.HasField("message") else None
    if content is None or not message.key.ID:
        return None
    return Inbound(
        whatsapp_id=_to_kept(message.key.ID),
        jid=jids[0],
        also_known_as=jids[1:],
        push_name=None if message.key.fromMe else _name(name or message.pushName),
        from_me=message.key.fromMe,
        attempt_id=known.attempt_of(message.key.ID, message.messageSecret) if message.key.fromMe else None,
        type=content.type,
        text=content.text,
        at=_from_ms(message.messageTimestamp * 1000),
        history=True,
    )


# ---------------------------------------------------------------- addresses, names, times

_PERSONS = {PHONE_SERVER, LID_SERVER}


def to_jid(jid: Any) -> str:
    """A protobuf JID without its device part."""
    return str(JID(jid.User.partition(":")[0].partition(".")[0], jid.Server))


def _without_device(jid: str) -> str:
    user, _, server = jid.partition("@")
    return str(JID(user.partition(":")[0].partition(".")[0], server))


def _server(jid: str) -> str:
    return jid.partition("@")[2]


def _is_person(source: Any) -> bool:
    return bool(not source.IsGroup) and _names_person(to_jid(source.Chat))


def _names_person(jid: str) -> bool:
    """WhatsApp's own announcements come from 0."""
    return _server(jid) in _PERSONS and jid.partition("@")[0] not in {"", "0", "status"}


def _name(push_name: str) -> str | None:
    return push_name if push_name.strip() not in {"", "-", "."} else None


def _from_ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(0, milliseconds) / 1000, _LATEST.timestamp()), UTC)
