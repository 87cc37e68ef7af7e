"""A business, how its bot behaves, and the tokens that speak for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class BotPurpose(StrEnum):
    ATTEND = "attend"
    SCHEDULE = "schedule"
    SUPPORT = "support"
    SELL = "sell"


DEFAULT_OPT_OUT_WORDS = ("STOP", "BAJA", "UNSUBSCRIBE")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessConfig:
    """What POST /config sets. Durations carry their unit in the name; validated by the API, trusted inside.

    quiet_hours: `{"start": "21:00", "end": "08:00"}` in the business's time zone, or None.
    pacing: `{"profile": "careful" | "normal" | "off", …}`; None: `off` on the simulator, `careful` on WhatsApp.
    follow_ups: `[{"afterHours": 24}]`. daily_token_budget: of the language model.
    """

    business_name: str = ""
    business_description: str = ""
    bot_purpose: BotPurpose = BotPurpose.ATTEND
    guardrails: str = ""
    custom_instructions: str = ""
    bot_new_chats: bool = False
    timezone: str | None = None
    language: str | None = None
    takeover_minutes: int = 120
    quiet_hours: dict[str, str] | None = None
    pacing: dict[str, Any] | None = None
    debounce_seconds: float = 4.0
    follow_ups: tuple[dict[str, Any], ...] = ({"afterHours": 24},)
    conversation_hours: int = 72
    opt_out_words: tuple[str, ...] = DEFAULT_OPT_OUT_WORDS
    send_ttl_hours: int = 24
    answer_within_minutes: int = 360
    daily_token_budget: int = 1_000_000
    auto_replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    id: str
    config: BusinessConfig
    created_at: datetime

    @property
    def name(self) -> str:
        return self.config.business_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What /status counts, kept up to date by the store in the transaction that changes it."""

    chats: int = 0
    active_bot_chats: int = 0
    untouchable_chats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token as it can be shown: the secret exists in the clear only when it is created."""

    id: str
    business_id: str
    name: str
    hint: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls the API: a token, and the business that it speaks for."""

    token: Token
    business: Business

    @property
    def business_id(self) -> str:
        return self.business.id


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    token: Token
    secret: str = field(repr=False)
