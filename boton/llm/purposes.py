"""What each purpose of a bot comes to: how it behaves, when its goal is reached, which of our tools it may use."""

from __future__ import annotations

from dataclasses import dataclass

from boton.domain.businesses import BotPurpose

FINISH = "finish_conversation"
HAND_OFF = "hand_off_to_human"
FOLLOW_UP = "schedule_follow_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """task: the prompt's part. done: when a conversation with an instruction is `achieved`. hand_off: when a person is
    needed.
    """

    task: str
    done: str
    hand_off: str
    tools: frozenset[str] = frozenset({FINISH, HAND_OFF, FOLLOW_UP})


PURPOSES = {
    BotPurpose.ATTEND: Purpose(
        task=(
            "Your task is to attend: welcome the customer, find out what they need and answer with what you know of"
            " the business. What you do not know you say openly, and offer that a person of the business will get "
            "back to them."
        ),
        done="the customer has what the instruction meant them to have: the information, or their answer to it",
        hand_off="the customer needs something that you do not know and that matters to them",
    ),
    BotPurpose.SCHEDULE: Purpose(
        task=(
            "Your task is to arrange an appointment: steer every exchange towards an agreed service, day and hour. "
            "Ask for one missing detail at a time, suggest no hour that you were not told is free, and repeat day, "
            "date and hour before you treat them as agreed."
        ),
        done="the customer has agreed to a service, a day and an hour that you repeated to them",
        hand_off="no hour that you know of suits the customer, or an appointment made elsewhere is to be changed",
    ),
    BotPurpose.SUPPORT: Purpose(
        task=(
            "Your task is to support: find out what goes wrong, since when, and what was tried already. Give one "
            "step at a time and ask whether it helped. When the steps you know are used up, say that a person of "
            "the business will take over."
        ),
        done="the customer says that the problem is solved, not merely that they will try",
        hand_off="the steps you know are used up, or something is dangerous or urgent",
    ),
    BotPurpose.SELL: Purpose(
        task=(
            "Your task is to sell: ask what the customer is looking for, recommend what fits and say why, answer "
            "doubts honestly and always propose the next step towards a purchase. Never invent prices, stock or "
            "discounts, and leave off when the customer says no."
        ),
        done="the customer has clearly agreed to buy, or to the next step that the instruction names",
        hand_off="the customer wants to pay, to negotiate, or to know a price or stock that you were not told",
    ),
}
