"""What a WhatsApp message says, in words. Pure.

The messages are the library's protobufs, read by their field names: nothing of the library is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from boton.domain.messages import MessageType


@dataclass(frozen=True, slots=True)
class Content:
    type: MessageType
    text: str


DELETED = Content(MessageType.UNKNOWN, "Deleted a message")
UNREADABLE = Content(MessageType.UNKNOWN, "Message that could not be read")

_WRAPPERS = (
    "deviceSentMessage",
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "editedMessage",
    "lottieStickerMessage",
    "associatedChildMessage",
)
_SILENT = {
    "senderKeyDistributionMessage",
    "fastRatchetKeySenderKeyDistributionMessage",
    "messageContextInfo",
    "keepInChatMessage",
    "pinInChatMessage",
    "stickerSyncRmrMessage",
    "messageHistoryBundle",
    "placeholderMessage",
    "albumMessage",
}
"""What no person wrote: keys, settings, and albums, whose pictures come one by one."""


def read_content(message: Any) -> Content | None:
    """None: nothing that a person wrote."""
    message = _unwrap(message)
    present = {field.name for field, _ in message.ListFields()}
    for name, read in _READERS.items():
        if name in present:
            return read(getattr(message, name))
    said = present - _SILENT
    return Content(MessageType.UNKNOWN, "Message of a kind unknown here") if said else None


def _unwrap(message: Any) -> Any:
    for _ in range(8):
        wrapper = next((name for name in _WRAPPERS if message.HasField(name)), None)
        if wrapper is None:
            break
        message = getattr(message, wrapper).message
    return message


def _described(type: MessageType, what: str, said: str = "") -> Content:
    said = said.strip()
    return Content(type, f"{what}: {said}" if said else what)


def _text(text: str) -> Content | None:
    return Content(MessageType.TEXT, text) if text else None


def _audio(audio: Any) -> Content:
    what = "Voice note" if audio.PTT else "Audio"
    return _described(MessageType.AUDIO, f"{what} ({audio.seconds} s)" if audio.seconds else what)


def _location(place: Any) -> Content:
    where = f"{place.degreesLatitude:.5f}, {place.degreesLongitude:.5f}"
    named = ", ".join(filter(None, (place.name, place.address)))
    return _described(MessageType.LOCATION, "Location", f"{named} ({where})" if named else where)


def _live_location(place: Any) -> Content:
    where = f"{place.degreesLatitude:.5f}, {place.degreesLongitude:.5f}"
    return _described(MessageType.LOCATION, "Live location", " ".join(filter(None, (place.caption, where))))


def _contacts(array: Any) -> Content:
    names = ", ".join(contact.displayName for contact in array.contacts)
    return _described(MessageType.CONTACT, "Contacts", names or array.displayName)


def _reaction(reaction: Any) -> Content:
    return Content(MessageType.REACTION, f"Reacted with {reaction.text}" if reaction.text else "Removed a reaction")


def _poll(poll: Any) -> Content:
    options = ", ".join(option.optionName for option in poll.options)
    return _described(MessageType.UNKNOWN, "Poll", f"{poll.name} ({options})" if options else poll.name)


def _interactive(response: Any) -> Content | None:
    return _text(response.body.text or response.nativeFlowResponseMessage.name)


def _protocol(protocol: Any) -> Content | None:
    """Edits and deletions; everything else is talk between devices."""
    if not protocol.HasField("type"):
        return None  # of a kind unknown here: it would read as the first one, a deletion
    kind = protocol.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[protocol.type].name
    if kind == "REVOKE":
        return DELETED
    if kind != "MESSAGE_EDIT":
        return None
    edited = read_content(protocol.editedMessage)
    return None if edited is None else Content(edited.type, f"Edited: {edited.text}")


_READERS: Mapping[str, Callable[[Any], Content | None]] = {
    "protocolMessage": _protocol,
    "conversation": _text,
    "extendedTextMessage": lambda it: _text(it.text),
    "buttonsResponseMessage": lambda it: _text(it.selectedDisplayText or it.selectedButtonID),
    "listResponseMessage": lambda it: _text(it.title or it.singleSelectReply.selectedRowID),
    "templateButtonReplyMessage": lambda it: _text(it.selectedDisplayText or it.selectedID),
    "interactiveResponseMessage": _interactive,
    "imageMessage": lambda it: _described(MessageType.IMAGE, "Picture", it.caption),
    "videoMessage": lambda it: _described(MessageType.VIDEO, "GIF" if it.gifPlayback else "Video", it.caption),
    "ptvMessage": lambda it: _described(MessageType.VIDEO, "Video note", it.caption),
    "audioMessage": _audio,
    "documentMessage": lambda it: _described(MessageType.DOCUMENT, f"Document {it.fileName}".strip(), it.caption),
    "stickerMessage": lambda _: _described(MessageType.STICKER, "Sticker"),
    "contactMessage": lambda it: _described(MessageType.CONTACT, "Contact", it.displayName),
    "contactsArrayMessage": _contacts,
    "locationMessage": _location,
    "liveLocationMessage": _live_location,
    "reactionMessage": _reaction,
    "encReactionMessage": lambda _: Content(MessageType.REACTION, "Reacted"),
    "pollCreationMessage": _poll,
    "pollCreationMessageV2": _poll,
    "pollCreationMessageV3": _poll,
    "pollUpdateMessage": lambda _: Content(MessageType.UNKNOWN, "Voted in a poll"),
    "groupInviteMessage": lambda it: _described(MessageType.UNKNOWN, "Invitation to a group", it.groupName),
    "productMessage": lambda it: _described(MessageType.UNKNOWN, "Product", it.product.title or it.body),
    "orderMessage": lambda it: _described(MessageType.UNKNOWN, "Order", it.orderTitle or it.message),
    "eventMessage": lambda it: _described(MessageType.UNKNOWN, "Event", it.name),
    "buttonsMessage": lambda it: _text(it.contentText or it.text),
    "listMessage": lambda it: _text(it.description or it.title),
    "interactiveMessage": lambda it: _text(it.body.text),
    "templateMessage": lambda it: _text(it.hydratedTemplate.hydratedContentText),
}
