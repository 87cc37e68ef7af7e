"""GET /status, and the slow lane."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.schemas.base import Body, Document, Timestamp
from boton.domain.businesses import BotPurpose, Business, Tally
from boton.domain.connections import Connection, ConnectionStatus
from boton.domain.conversations import Assistant

NONE: Literal["none"] = "none"


class ConnectionState(Document):
    """How the phone number is doing; `none`: no number is linked."""

    status: ConnectionStatus | Literal["none"]
    reason: str | None = None

    @classmethod
    def of(cls, connection: Connection | None) -> ConnectionState:
        if connection is None:
            return cls(status=NONE, reason="No phone number is linked to this business.")
        return cls(status=connection.status, reason=connection.reason)


class SlowLane(Document):
    """Whether bulk and first contacts may go out. A refusal by WhatsApp closes the lane; replies go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "open": False,
                "reason": "WhatsApp does not let this number write to new contacts for now (463).",
                "code": "463",
                "reopensAt": "2026-11-21T18:04:05.000Z",
            }
        }
    )

    open: bool
    reason: str | None = None
    code: str | None = Field(None, description="WhatsApp's code of the refusal")
    reopens_at: Timestamp | None = None

    @classmethod
    def at(cls, connection: Connection | None, now: datetime) -> SlowLane:
        """The lane as it stands at `now`."""
        closure = connection.slow_lane_closed(now) if connection else None
        if closure is None:
            return cls(open=True)
        return cls(open=False, reason=closure.detail, code=closure.code, reopens_at=closure.until)


class AssistantOut(Document):
    """Whether the language model answers. `failing`: nobody is answered until a setting is changed."""

    status: Literal["ok", "failing"]
    reason: str | None = None
    since: Timestamp | None = None

    @classmethod
    def of(cls, assistant: Assistant) -> AssistantOut:
        status: Literal["ok", "failing"] = "ok" if assistant.problem is None else "failing"
        return cls(status=status, reason=assistant.problem, since=assistant.since)


def _check_open(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("open", "only true: a lane is closed by WhatsApp's refusals, a send by pausing it")
    return value


class SlowLaneIn(Body):
    """Opens the lane before its time; it closes again at the next refusal."""

    model_config = ConfigDict(json_schema_extra={"example": {"open": True}})

    open: Annotated[bool, AfterValidator(_check_open), Field(json_schema_extra={"const": True})]


class StatusOut(Document):
    """State of the connection and settings of the bot."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "business": "Mi Negocio",
                "connected": True,
                "phone": "5491138620812",
                "botPurpose": "attend",
                "botNewChats": False,
                "activeBotChats": 12,
                "untouchableChats": 2,
                "connection": {"status": "connected", "reason": None},
                "slowLane": {"open": True, "reason": None, "code": None, "reopensAt": None},
                "assistant": {"status": "ok", "reason": None, "since": None},
            }
        }
    )

    business: str
    connected: bool
    phone: str | None
    bot_purpose: BotPurpose
    bot_new_chats: bool
    active_bot_chats: int
    untouchable_chats: int
    connection: ConnectionState
    slow_lane: SlowLane
    assistant: AssistantOut

    @classmethod
    def at(
        cls, business: Business, tally: Tally, connection: Connection | None, assistant: Assistant, now: datetime
    ) -> StatusOut:
        """How it all stands at `now`."""
        return cls(
            business=business.name,
            connected=connection is not None and connection.status is ConnectionStatus.CONNECTED,
            phone=connection.phone if connection else None,
            bot_purpose=business.config.bot_purpose,
            bot_new_chats=business.config.bot_new_chats,
            active_bot_chats=tally.active_bot_chats,
            untouchable_chats=tally.untouchable_chats,
            connection=ConnectionState.of(connection),
            slow_lane=SlowLane.at(connection, now),
            assistant=AssistantOut.of(assistant),
        )
