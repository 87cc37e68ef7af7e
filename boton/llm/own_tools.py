"""The tools that every bot has: finish the conversation, hand it to a person, come back later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Generic, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from boton.domain.conversations import ConversationOutcome, TurnBrief
from boton.domain.tools import FinishConversation, HandOff, ScheduleFollowUp, ToolCall, ToolOutcome
from boton.llm.purposes import FINISH, FOLLOW_UP, HAND_OFF, PURPOSES
from boton.llm.quoting import printable
from boton.ports import ToolSpec

LONGEST_WAIT = timedelta(days=30)

_Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    BeforeValidator(lambda text: printable(text).strip() if isinstance(text, str) else text),
]


class _Outcome(StrEnum):
    """How a model may end a conversation."""

    ACHIEVED = ConversationOutcome.ACHIEVED.value
    DECLINED = ConversationOutcome.DECLINED.value
    NO_ANSWER = ConversationOutcome.NO_ANSWER.value


class _Arguments(BaseModel):
    """What a model writes; its text is never shown in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Finish(_Arguments):
    outcome: _Outcome = Field(description="achieved: the goal is reached; declined: no; no_answer: it leads nowhere")
    summary: _Text = Field(
        description="what was agreed or why not, in one to three sentences, in the customer's language"
    )


class _HandOff(_Arguments):
    reason: _Text = Field(description="what the person needs to know, in one sentence, in the customer's language")


class _FollowUp(_Arguments):
    at: str = Field(
        max_length=40,
        pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d",
        description="when, ISO 8601, as 2026-03-05T10:00; the business's local time unless it has an offset",
    )
    text: _Text = Field(description="the message as the customer will read it, in their language")


_A = TypeVar("_A", bound=_Arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTool(Generic[_A]):
    """A tool that only has an effect, which is applied when the turn is closed. always: in every conversation, not
    only in one that follows an instruction.
    """

    name: str
    description: str
    arguments: type[_A]
    carry_out: Callable[[_A, TurnBrief], ToolOutcome]
    always: bool = False

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=self.description, parameters=_to_schema(self.arguments))

    def is_offered(self, brief: TurnBrief) -> bool:
        follows = bool(brief.instruction) and not brief.goal_reached
        return self.name in PURPOSES[brief.config.bot_purpose].tools and (self.always or follows)

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        return self.carry_out(self.arguments.model_validate_json(call.arguments.encode("utf-8", "replace")), brief)


def _to_schema(arguments: type[_Arguments]) -> dict[str, object]:
    """Flat: several local servers follow no references."""
    schema = arguments.model_json_schema()
    definitions = schema.pop("$defs", {})
    for field in schema["properties"].values():
        field.pop("title", None)
        if reference := field.pop("$ref", None):
            kind = definitions[reference.rsplit("/", 1)[-1]]
            field |= {"type": kind["type"], "enum": kind["enum"]}
    return {key: schema[key] for key in ("type", "properties", "required", "additionalProperties")}


def _finish(arguments: _Finish, _: TurnBrief) -> ToolOutcome:
    effect = FinishConversation(outcome=ConversationOutcome(arguments.outcome.value), summary=arguments.summary)
    return ToolOutcome(text="Done. Write the customer one last short message.", ok=True, effect=effect)


def _hand_off(arguments: _HandOff, _: TurnBrief) -> ToolOutcome:
    told = "Done: a person was told. Tell the customer that a person of the business will answer here."
    return ToolOutcome(text=told, ok=True, effect=HandOff(reason=arguments.reason))


def _follow_up(arguments: _FollowUp, brief: TurnBrief) -> ToolOutcome:
    at = _parse_time(arguments.at, brief)
    if at is None:
        return ToolOutcome(text="Nothing was done. at: no such day or hour; write 2026-03-05T10:00.", ok=False)
    if not brief.now < at <= brief.now + LONGEST_WAIT:
        told = f"Nothing was done. at: must be in the future and at most {LONGEST_WAIT.days} days away."
        return ToolOutcome(text=told, ok=False)
    effect = ScheduleFollowUp(at=at, text=arguments.text)
    return ToolOutcome(text=f"Done: it will be sent at {arguments.at}.", ok=True, effect=effect)


def _parse_time(text: str, brief: TurnBrief) -> datetime | None:
    """In UTC; None for what is no time."""
    try:
        at = datetime.fromisoformat(text.strip())
        local = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(brief.config.timezone or "UTC"))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


OWN_TOOLS = (
    OwnTool(
        name=FINISH,
        description="Ends this conversation with its outcome, for the business's records.",
        arguments=_Finish,
        carry_out=_finish,
    ),
    OwnTool(
        name=HAND_OFF,
        description="Leaves this chat to a person of the business; you write nothing more in it afterwards.",
        arguments=_HandOff,
        carry_out=_hand_off,
        always=True,
    ),
    OwnTool(
        name=FOLLOW_UP,
        description="Sends the customer a message later, where they asked for it or need time to decide.",
        arguments=_FollowUp,
        carry_out=_follow_up,
    ),
)
