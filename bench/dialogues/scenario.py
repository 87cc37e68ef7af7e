"""What a scenario says: data that a non-programmer can read and write (`scenarios/*.yaml`), checked when it is read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from boton.domain.businesses import BotPurpose
from boton.domain.messages import MessageType

Language = Literal["es", "en"]
Outcome = Literal["achieved", "declined", "no_answer", "handed_off", "error", "none"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"(\d+)\s*([smhd])")
_MONDAY_NOON = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def _to_list(value: object) -> object:
    """One thing may be written without the list around it."""
    return value if isinstance(value, list) else [value]


def _to_pattern(value: object) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ValueError("should be a pattern: text in quotes")
    try:
        return re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"is no pattern: {error}") from None


def _to_span(value: object) -> timedelta:
    match = _SPAN.fullmatch(str(value))
    if match is None:
        raise ValueError("should be a time such as 30m, 24h or 3d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _to_piece(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


Pattern = Annotated[re.Pattern[str], BeforeValidator(_to_pattern)]
Span = Annotated[timedelta, BeforeValidator(_to_span)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False)


# ---------------------------------------------------------------- the business and its customer


class BusinessPart(_Part):
    """As POST /config takes it."""

    name: str
    description: str = ""
    purpose: BotPurpose = BotPurpose.ATTEND
    guardrails: str = ""
    custom_instructions: str = ""
    timezone: str = "America/Argentina/Buenos_Aires"
    language: str | None = None


class When(_Part):
    """Of what happened since the customer's turn before; everything that is named must hold.

    says: the bot wrote it. silent: it wrote nothing. ended: the conversation with an instruction is over.
    """

    says: Pattern | None = None
    silent: bool | None = None
    ended: bool | None = None


class Piece(_Part):
    """One message. type: of one that is no text, whose text is its description."""

    type: MessageType = MessageType.TEXT
    text: str = ""


class Turn(_Part):
    """What happens in the customer's turn: silence for a while (`wait`), then a person of the business takes over the
    chat by writing (`human`), then the customer writes (`say`), several messages in a row as a list.
    """

    when: When | None = None
    wait: Span | None = None
    human: str | None = None
    say: Annotated[tuple[Annotated[Piece, BeforeValidator(_to_piece)], ...], BeforeValidator(_to_list)] = ()

    @model_validator(mode="after")
    def _does_something(self) -> Turn:
        if self.wait is None and self.human is None and not self.say:
            raise ValueError("a turn needs something to do: say, wait or human")
        return self


class Customer(_Part):
    """script: in each turn the first that was not played yet and whose `when` holds; with none the dialogue is over."""

    name: str | None = None
    goal: str = Field(description="for readers: what this customer wants")
    script: tuple[Turn, ...] = Field(min_length=1)


# ---------------------------------------------------------------- what is looked at afterwards


class Check(_Part):
    """One thing that must hold, and where: after_turn: only of what came after the customer's turn of this number (0:
    after the opening), at_turn: only of what answered it.
    """

    outcome: Annotated[tuple[Outcome, ...], BeforeValidator(_to_list)] | None = None
    must_call: str | None = None
    must_not_call: str | None = None
    says: Pattern | None = None
    never_says: Pattern | None = None
    language: Language | None = None
    messages_at_most: int | None = Field(None, ge=0)
    messages_at_least: int | None = Field(None, ge=1)
    characters_at_most: int | None = Field(None, ge=1)
    ends_by_turn: int | None = Field(None, ge=0)
    keeps_rules: Literal[True] | None = None
    summary: Language | None = None
    held_by: Literal["bot", "human", "none"] | None = None
    opted_out: bool | None = None

    with_: Pattern | None = Field(None, alias="with")
    after_turn: int | None = Field(None, ge=0)
    at_turn: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _is_one(self) -> Check:
        if len(self._named) != 1:
            raise ValueError(f"should name one thing to check, of: {', '.join(map(to_camel, KINDS))}")
        return self

    @property
    def _named(self) -> list[str]:
        return [kind for kind in KINDS if getattr(self, kind) is not None]

    @property
    def kind(self) -> str:
        return self._named[0]

    def __str__(self) -> str:
        told = self.model_dump(by_alias=True, exclude_unset=True)
        return ", ".join(f"{name}: {_tell(value)}" for name, value in told.items())


_DETAILS = {"with_", "after_turn", "at_turn"}
KINDS = tuple(name for name in Check.model_fields if name not in _DETAILS)
"""What a check can look at."""


def _tell(value: object) -> str:
    if isinstance(value, tuple):
        return " or ".join(map(str, value))
    return value.pattern if isinstance(value, re.Pattern) else str(value)


# ---------------------------------------------------------------- the scripted model


class Call(_Part):
    """A tool's call: `with` its arguments, or word for word as `raw`, which may be no JSON."""

    tool: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    raw: str | None = None


class Answer(_Part):
    """What a scripted model answers when it is asked: a text, calls of tools, both, or a failure, so many times."""

    say: str = ""
    call: Annotated[tuple[Call, ...], BeforeValidator(_to_list)] = ()
    fails: Literal["busy", "malformed", "refused", "too_long"] | None = None
    times: int = Field(1, ge=1)


class Wrong(_Part):
    """A model that does it wrong, and the kinds of the checks that must notice."""

    breaks: tuple[str, ...] = Field(min_length=1)
    model: tuple[Answer, ...]


class Scenario(_Part):
    """offline: the offline assistant passes it too. model: answers that pass every check, in their order."""

    name: str
    about: str
    language: Language
    offline: bool = False
    starts: datetime = _MONDAY_NOON
    business: BusinessPart
    instruction: str | None = None
    customer: Customer
    checks: tuple[Check, ...] = Field(min_length=1)
    model: tuple[Answer, ...]
    wrong: tuple[Wrong, ...] = ()
