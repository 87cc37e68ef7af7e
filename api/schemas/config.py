"""GET and POST /config: how the assistant behaves."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from api.schemas.base import Body, Document
from boton.domain.businesses import BotPurpose, BusinessConfig
from boton.domain.pacing import PROFILES

MAX_TEXT = 8000
HOURS_OF_A_MONTH = 720


def _check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise PydanticCustomError("timezone", "no such time zone; write one like America/Argentina/Cordoba") from error
    return name


def _check_different(hours: QuietHours) -> QuietHours:
    if hours.start == hours.end:
        raise PydanticCustomError("quiet_hours", "start and end must differ; null turns quiet hours off")
    return hours


class _Part(Body):
    """A part of the configuration that is stored, and answered, as it is written."""

    model_config = ConfigDict(serialize_by_alias=True)


ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["21:00"])]


class QuietHours(_Part):
    """From `start` to `end` in the business's time zone; over midnight when `end` is earlier."""

    start: ClockTime
    end: ClockTime


def _check_order(gap: list[float]) -> list[float]:
    if gap[0] > gap[1]:
        raise PydanticCustomError("gap", "the shortest pause comes first, then the longest")
    return gap


Gap = Annotated[
    list[Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]],
    Field(min_length=2, max_length=2, examples=[[20, 60]]),
    AfterValidator(_check_order),
]


def _tuned(name: str, meaning: str) -> Any:
    """A field of Pacing that may be left out; described with what it is in each profile."""
    defaults = ", ".join(f"{profile} {json.dumps(getattr(pacing, name))}" for profile, pacing in PROFILES.items())
    return _optional(f"{meaning}; default: {defaults}")


def _optional(description: str) -> Any:
    """May be left out, and is not there then: `null` is a value of its own, or none at all."""
    return Field(default_factory=lambda: None, description=description)


class Pacing(_Part):
    """How fast the number may write: a profile, and what is to be different from it. What is left out is as in the
    profile; the whole object is replaced by the next one.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"profile": "careful", "dailyLimit": 100, "slowGapSeconds": [30, 90]}}
    )

    profile: Literal["careful", "normal", "off"] = _optional("default: off on the simulator, careful on WhatsApp")
    fast_gap_seconds: Gap = _tuned(
        "fast_gap", "shortest and longest pause between two messages of the fast lane (replies, known contacts)"
    )
    slow_gap_seconds: Gap = _tuned(
        "slow_gap", "shortest and longest pause between two messages of the slow lane (bulk, first contacts)"
    )
    daily_limit: Annotated[int, Field(ge=1, le=100_000)] | None = _tuned(
        "daily_limit", "messages of the slow lane a day once the number is warm; null: no limit"
    )
    warm_up_from: Annotated[int, Field(ge=0, le=100_000)] = _tuned(
        "warm_up_from", "messages of the slow lane on a new number's first day"
    )
    warm_up_days: Annotated[int, Field(ge=0, le=365)] = _tuned(
        "warm_up_days", "days in which that rises evenly to dailyLimit"
    )
    unanswered_marketing: Annotated[int, Field(ge=1, le=100)] | None = _tuned(
        "unanswered_marketing", "marketing messages that a customer gets at most without answering; null: no limit"
    )
    typing: bool = _tuned("typing", "replies are preceded by “typing…”")
    check_recipients: bool = _tuned(
        "check_recipients", "whether a first contact is on WhatsApp is looked up before they are written to"
    )


class FollowUp(_Part):
    """The bot writes again when the customer has been silent for so long."""

    after_hours: int = Field(ge=1, le=HOURS_OF_A_MONTH)


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Timezone = Annotated[str, AfterValidator(_check_timezone)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", examples=["es-AR"])]

_EXAMPLE: JsonDict = {"botPurpose": "attend", "botNewChats": True, "customInstructions": "Responde solo en espanol"}


class ConfigIn(Body):
    """All optional: what is left out stays as it is, `null` sets the default again."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    business_name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")] = Field(
        "", validate_default=False, description="name of the business"
    )
    business_description: Text | None = Field(None, description="what the business does")
    bot_purpose: BotPurpose | None = Field(None, description="attend | schedule | support | sell")
    guardrails: Text | None = Field(None, description="rules of the bot")
    custom_instructions: Text | None = Field(None, description="further instructions")
    bot_new_chats: bool | None = Field(None, description="the bot answers customers who write for the first time")
    timezone: Timezone | None = Field(None, examples=["America/Argentina/Buenos_Aires"])
    language: Language | None = Field(None, description="of what the bot writes first")
    takeover_minutes: int | None = Field(None, ge=1, le=43_200)
    quiet_hours: Annotated[QuietHours, AfterValidator(_check_different)] | None = None
    pacing: Pacing | None = Field(None, description="null: off on the simulator, careful on WhatsApp")
    debounce_seconds: float | None = Field(
        None, ge=0, le=20, allow_inf_nan=False, description="for so long a customer who wrote may be writing still"
    )
    follow_ups: Annotated[list[FollowUp], Field(max_length=5)] | None = None
    conversation_hours: int | None = Field(None, ge=1, le=HOURS_OF_A_MONTH)
    opt_out_words: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=50, pattern=r"\S")]], Field(max_length=50)] | None
    ) = Field(
        None,
        description="a customer whose whole message is one of these gets no marketing any more; case, accents left "
        "out, and signs or emoji around it do not matter",
    )
    send_ttl_hours: int | None = Field(None, ge=1, le=HOURS_OF_A_MONTH)
    answer_within_minutes: int | None = Field(None, ge=1, le=10_080)
    daily_token_budget: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="tokens of the language model a day; with none left a chat is handed to a human",
    )
    auto_replies: Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=50)] | None = (
        Field(None, description="WhatsApp's own greeting and away messages: not a human taking over")
    )

    def to_changes(self) -> dict[str, Any]:
        """The fields that were given, as BusinessConfig names them; `null` is that field's default."""
        default = BusinessConfig()
        return {
            name: getattr(default, name) if (value := getattr(self, name)) is None else _to_stored(value)
            for name in sorted(self.model_fields_set)
        }


def _to_stored(value: Any) -> Any:
    if isinstance(value, _Part):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, list):
        return tuple(_to_stored(one) for one in value)
    return value


class ConfigOut(Document):
    """The whole configuration; `pacing: null`: `off` on the simulator, `careful` on WhatsApp."""

    business_name: str
    business_description: str
    bot_purpose: BotPurpose
    guardrails: str
    custom_instructions: str
    bot_new_chats: bool
    timezone: str | None
    language: str | None
    takeover_minutes: int
    quiet_hours: QuietHours | None
    pacing: Pacing | None
    debounce_seconds: float
    follow_ups: list[FollowUp]
    conversation_hours: int
    opt_out_words: list[str]
    send_ttl_hours: int
    answer_within_minutes: int
    daily_token_budget: int
    auto_replies: list[str]

    @classmethod
    def of(cls, config: BusinessConfig) -> ConfigOut:
        return cls.model_validate({field.name: getattr(config, field.name) for field in fields(config)})
