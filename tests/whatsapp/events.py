"""The library's events, with every field that its protobufs demand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from neonize.proto import Neonize_pb2 as pb
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as MessageProto

from tests.whatsapp.ffi import to_jid

NOBODY = "@"


def source(chat: str, *, alt: str = NOBODY, from_me: bool = False, sender: str | None = None) -> Any:
    return pb.MessageSource(
        Chat=to_jid(chat),
        Sender=to_jid(sender or chat),
        IsFromMe=from_me,
        IsGroup=chat.endswith("@g.us"),
        SenderAlt=to_jid(NOBODY if from_me else alt),
        RecipientAlt=to_jid(alt if from_me else NOBODY),
        BroadcastListOwner=to_jid(NOBODY),
    )


def info(id: str, of: Any, *, name: str = "Juan", at_ms: int | None = None, category: str = "") -> Any:
    return pb.MessageInfo(
        MessageSource=of,
        ID=id,
        ServerID=0,
        Type="text",
        Pushname=name,
        Timestamp=int(time.time() * 1000) if at_ms is None else at_ms,
        Category=category,
        Multicast=False,
        MediaType="",
        Edit="",
    )


def message(about: Any, content: Any) -> Any:
    """content: a text, or the library's message."""
    said = MessageProto(conversation=content) if isinstance(content, str) else content
    flags = ("IsEphemeral", "IsViewOnce", "IsViewOnceV2", "IsViewOnceV2Extension", "IsDocumentWithCaption")
    return pb.Message(
        Info=about,
        Message=said,
        IsLottieSticker=False,
        IsEdit=False,
        UnavailableRequestID="",
        RetryCount=0,
        **dict.fromkeys(flags, False),
    )


def undecryptable(about: Any, *, hidden: bool = False) -> Any:
    kinds = pb.UndecryptableMessage
    mode = kinds.DECRYPT_FAIL_HIDE if hidden else kinds.DECRYPT_FAIL_SHOW
    return pb.UndecryptableMessage(Info=about, IsUnavailable=False, DecryptFailMode=mode)


def receipt(of: Any, ids: Sequence[str], kind: str = "DELIVERED", at: int | None = None) -> Any:
    at = int(time.time()) if at is None else at
    return pb.Receipt(MessageSource=of, MessageIDs=ids, Timestamp=at, Type=pb.Receipt.ReceiptType.Value(kind))


def typing(of: Any, *, paused: bool = False) -> Any:
    state = pb.ChatPresence.PAUSED if paused else pb.ChatPresence.COMPOSING
    return pb.ChatPresence(MessageSource=of, State=state, Media=pb.ChatPresence.TEXT)


def connected() -> Any:
    return pb.Connected(status=True)


def disconnected() -> Any:
    return pb.Disconnected(status=True)


def synced() -> Any:
    return pb.OfflineSyncCompleted(Count=0)


def replaced() -> Any:
    return pb.StreamReplaced()


def outdated() -> Any:
    return pb.ClientOutdated()


def logged_out(reason: str = "LOGGED_OUT") -> Any:
    return pb.LoggedOut(OnConnect=False, Reason=pb.ConnectFailureReason.Value(reason))


def banned(seconds: int) -> Any:
    return pb.TemporaryBan(Code=pb.TemporaryBan.SEND_TO_TOO_MANY_PEOPLE, Expire=seconds)


def connect_failure(reason: str) -> Any:
    node = pb.Node(Tag="failure")
    return pb.ConnectFailure(Reason=pb.ConnectFailureReason.Value(reason), Message="", Raw=node)


def keep_alive_timeout() -> Any:
    return pb.KeepAliveTimeout(ErrorCount=1, LastSuccess=0)


def paired(jid: str) -> Any:
    return pb.PairStatus(ID=to_jid(jid), BusinessName="", Platform="android", Status=pb.PairStatus.SUCCESS)
