"""What the scripted model says to a request. Pure.

Each answer bears a number of its own and names the messages that it answers: `r000123.1 a c3-000012 c3-000013`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from boton.llm.purposes import FINISH, FOLLOW_UP, HAND_OFF
from tests.chaos.chats.plan import Wish
from tests.chaos.plan import CODE
from tests.llm.server import Behaviour, call, completes

REPLY = r"r\d{6}\.\d"
"""A part of an answer."""

PROMISE = r"k\d{6}"
"""What a tool was called with."""

_TOOLS = {Wish.LATER: FOLLOW_UP, Wish.FINISH: FINISH, Wish.PERSON: HAND_OFF}
_OPENS = "[write the first message"
_REFUSED = "Nothing was done"
_LONG = " ".join(["todo lo que hay que saber"] * 15)
_SOON = timedelta(seconds=8)
_LONG_AGO = timedelta(days=-1)


def respond(asked: dict[str, Any], number: int, now: datetime) -> Behaviour:
    """number: of this answer."""
    messages: list[dict[str, Any]] = asked["messages"]
    told = list(takewhile(lambda message: "tool_calls" not in message, messages))
    rounds = messages[len(told) :]
    codes = re.findall(CODE, told[0 if _OPENS in told[-1]["content"] else -1]["content"])
    wish = _find_wish(told[-1]["content"])
    tool = _TOOLS.get(wish)
    if tool in _names(asked) and (not rounds or rounds[-1]["content"].startswith(_REFUSED)):
        return completes(None, calls=[call(f"call{number:06}", tool, _argue(wish, number, now, clumsy=not rounds))])
    return completes(_say(number, codes, long=wish is Wish.LONG))


def _find_wish(text: str) -> Wish:
    """The newest that is more than a question."""
    found = [Wish(word) for word in re.findall("|".join(Wish), text)]
    return next((wish for wish in reversed(found) if wish is not Wish.ANSWER), Wish.ANSWER)


def _names(asked: dict[str, Any]) -> set[str]:
    return {tool["function"]["name"] for tool in asked.get("tools", ())}


def _argue(wish: Wish, number: int, now: datetime, *, clumsy: bool) -> str:
    """Every other promise is for yesterday at first, which the tool refuses."""
    said = f"k{number:06} convenido"
    match wish:
        case Wish.FINISH:
            return json.dumps({"outcome": "achieved", "summary": said})
        case Wish.PERSON:
            return json.dumps({"reason": said})
        case _:
            at = now + (_LONG_AGO if clumsy and number % 2 else _SOON)
            return json.dumps({"at": at.isoformat(timespec="seconds"), "text": said})


def _say(number: int, codes: Sequence[str], *, long: bool) -> str:
    named = " ".join(codes)
    if not long:
        return f"r{number:06}.1 a {named}"
    return "\n\n".join(f"r{number:06}.{part} a {named}: {_LONG}" for part in (1, 2))
