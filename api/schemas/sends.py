"""POST /send and what became of it: GET /sends, /sends/{id}, /sends/{id}/recipients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, SkipValidation

from api.schemas.base import Body, Document, Listing, Timestamp, to_paging, to_timestamp, told_once
from api.schemas.chats import MessageErrorOut
from boton.domain.messages import MessageStatus
from boton.domain.pacing import LONG, WaitReason
from boton.domain.sends import (
    AcceptedSend,
    Recipient,
    Rejected,
    Send,
    SendCategory,
    SendKind,
    SendStatus,
    to_progress,
)
from boton.ports import Page

MAX_RECIPIENTS = 10_000
MAX_MESSAGE = 4096
"""Characters of a message, before and after its variables are filled in."""
MAX_INSTRUCTION = 8000

Variables = dict[
    Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")],
    Annotated[
        Annotated[str, Field(max_length=MAX_MESSAGE)] | int,
        told_once(f"must be a text of at most {MAX_MESSAGE} characters, or a whole number"),
    ],
]


class RecipientIn(Body):
    """A recipient with something of its own."""

    to: Annotated[str | int, told_once("must be a phone number with country code, or a JID")] = Field(
        description="a phone number with country code, or a JID as /chats gives it"
    )
    variables: Variables | None = Field(None, description="values of this recipient; they win over the send's")
    reference: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="your own id")
    known: bool = Field(False, description="they expect to hear from you: a known contact from now on")


AnyRecipient = str | int | RecipientIn

_SEND_EXAMPLES: list[JsonValue] = [
    {"to": "5491112345678", "message": "Hola, tu turno es manana a las 15hs"},
    {"to": ["5491112345678", "5491198765432"], "instruction": "Ofrece turno para manana"},
    {
        "to": [{"to": 5491112345678, "variables": {"name": "Juan"}, "reference": "turno-17"}],
        "message": "Hola {{name}}, tu turno es manana a las 15hs",
        "category": "transactional",
    },
]


class SendRequest(Body):
    """Exactly one of `message` and `instruction`."""

    model_config = ConfigDict(json_schema_extra={"examples": _SEND_EXAMPLES})

    # Read by api/recipients.py: a wrong number must be listed as rejected instead of failing the request.
    to: Annotated[
        AnyRecipient | Annotated[list[AnyRecipient], Field(min_length=1, max_length=MAX_RECIPIENTS)], SkipValidation
    ] = Field(description="one recipient or a list; repeats are sent once")
    message: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE)] | None = Field(
        None, description="the text to send"
    )
    instruction: Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTION)] | None = Field(
        None, description="what the bot is to write about; turns the bot on in that chat"
    )
    variables: Variables | None = Field(None, description="values for `{{name}}`, for all recipients")
    send_at: datetime | None = Field(
        None, description="with offset, or local when the business has a `timezone`; default: now"
    )
    expires_at: datetime | None = Field(
        None,
        description="what was not sent by then expires; default for `transactional`: when the phone was away for "
        "`sendTtlHours` since it was due",
    )
    category: SendCategory = SendCategory.TRANSACTIONAL
    respect_quiet_hours: bool = False


class AcceptedRecipient(Document):
    to: str
    jid: str
    message_id: str
    status: MessageStatus
    reference: str | None
    conversation_id: str | None

    @classmethod
    def of(cls, recipient: Recipient) -> AcceptedRecipient:
        return cls(
            to=recipient.to,
            jid=recipient.jid,
            message_id=recipient.message_id,
            status=recipient.status,
            reference=recipient.reference,
            conversation_id=recipient.conversation_id,
        )


class RejectedOut(Document):
    """A recipient that was refused, and why."""

    to: str
    error: MessageErrorOut

    @classmethod
    def of(cls, rejected: Rejected) -> RejectedOut:
        return cls(to=rejected.to, error=MessageErrorOut(code=rejected.error.code, detail=rejected.error.detail))


class SendAccepted(Document):
    """It is on disk and will be carried out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "snd_01KAB1C2D3E4F5G6H7J8K9M0NP",
                "status": "queued",
                "kind": "message",
                "total": 1,
                "recipients": [
                    {
                        "to": "5491112345678",
                        "jid": "5491112345678@s.whatsapp.net",
                        "messageId": "msg_01KAB1C2D3E4F5G6H7J8K9M0NQ",
                        "status": "queued",
                        "reference": None,
                        "conversationId": None,
                    }
                ],
                "rejected": [
                    {
                        "to": "12",
                        "error": {"code": "invalid_number", "detail": "not a phone number with country code"},
                    }
                ],
                "estimatedEnd": None,
                "warning": None,
            }
        }
    )

    id: str
    status: SendStatus
    kind: SendKind
    total: int
    recipients: list[AcceptedRecipient]
    rejected: list[RejectedOut]
    estimated_end: Timestamp | None = Field(description="when the last will have left, where the number is paced")
    warning: str | None = Field(description="there when the pacing will need more than a day")

    @classmethod
    def of(cls, accepted: AcceptedSend) -> SendAccepted:
        send = accepted.send
        return cls(
            id=send.id,
            status=send.status,
            kind=send.kind,
            total=send.total,
            recipients=[AcceptedRecipient.of(recipient) for recipient in accepted.recipients],
            rejected=to_rejected(send.rejected),
            estimated_end=accepted.estimated_end,
            warning=_warn(send, accepted.estimated_end),
        )


def _warn(send: Send, end: datetime | None) -> str | None:
    start = max(send.created_at, send.send_at or send.created_at)
    if end is None or end - start <= LONG:
        return None
    days = math.ceil((end - start) / timedelta(days=1))
    return f"At the pace of this number {send.total} messages take about {days} days, until {to_timestamp(end)}."


def to_rejected(rejected: Iterable[Rejected]) -> list[RejectedOut]:
    return [RejectedOut.of(one) for one in rejected]


class SendSummary(Document):
    """One send as the list shows it."""

    id: str
    status: SendStatus
    kind: SendKind
    category: SendCategory
    total: int
    created_at: Timestamp
    send_at: Timestamp | None
    expires_at: Timestamp | None
    started_at: Timestamp | None
    finished_at: Timestamp | None
    reminder_id: str | None = Field(description="the reminder that fired, where it was one")

    @classmethod
    def of(cls, send: Send) -> SendSummary:
        return cls(
            id=send.id,
            status=send.status,
            kind=send.kind,
            category=send.category,
            total=send.total,
            created_at=send.created_at,
            send_at=send.send_at,
            expires_at=send.expires_at,
            started_at=send.started_at,
            finished_at=send.finished_at,
            reminder_id=send.reminder_id,
        )


class SendList(Listing):
    """Sends, newest first."""

    sends: list[SendSummary]

    @classmethod
    def of(cls, sends: Sequence[Send], total: int, page: Page) -> SendList:
        return cls(sends=[SendSummary.of(send) for send in sends], **to_paging(page, total))


class Waiting(Document):
    """Why nothing of a send goes out now, and until when."""

    reason: WaitReason
    until: Timestamp


class SendDetail(SendSummary):
    """A send with its progress. `rate`: messages that left a minute, so far. `estimatedEnd`: at the number's pace,
    or, where it is not paced, when it goes on like that.
    """

    counts: dict[MessageStatus, int] = Field(description="messages by status; they add up to `total`")
    rejected: list[RejectedOut]
    rate: float | None
    estimated_end: Timestamp | None
    waiting: Waiting | None
    hold: str | None = Field(description="why it is paused, where nobody asked for it: resume or cancel it")

    @classmethod
    def at(cls, send: Send, paced_end: datetime | None, now: datetime) -> SendDetail:
        """The send as it stands at `now`. paced_end: when the last will have left at the number's pace."""
        progress = to_progress(send, paced_end, now)
        return cls(
            **dict(SendSummary.of(send)),
            counts=_count(send),
            rejected=to_rejected(send.rejected),
            rate=progress.rate,
            estimated_end=progress.estimated_end,
            waiting=_waiting(send),
            hold=send.hold,
        )


def _waiting(send: Send) -> Waiting | None:
    if send.status is SendStatus.SCHEDULED and send.send_at is not None:
        return Waiting(reason=WaitReason.SCHEDULED, until=send.send_at)
    if send.waiting is None or send.waiting_until is None:
        return None
    return Waiting(reason=WaitReason(send.waiting), until=send.waiting_until)


def _count(send: Send) -> dict[MessageStatus, int]:
    """Every status that an outgoing message may have, those with none too."""
    known = send.counts or {}
    return {status: known.get(status, 0) for status in MessageStatus if status is not MessageStatus.RECEIVED}


class RecipientOut(AcceptedRecipient):
    """What became of one recipient; for an instruction, of the message that opens the dialogue."""

    error: MessageErrorOut | None
    sent_at: Timestamp | None
    replied_at: Timestamp | None

    @classmethod
    def of(cls, recipient: Recipient) -> RecipientOut:
        return cls(
            **dict(AcceptedRecipient.of(recipient)),
            error=MessageErrorOut.of(recipient.error),
            sent_at=recipient.sent_at,
            replied_at=recipient.replied_at,
        )


class RecipientList(Listing):
    """Recipients in the order of the request, repeats left out."""

    recipients: list[RecipientOut]

    @classmethod
    def of(cls, recipients: Sequence[Recipient], total: int, page: Page) -> RecipientList:
        return cls(recipients=[RecipientOut.of(recipient) for recipient in recipients], **to_paging(page, total))
