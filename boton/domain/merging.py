"""Two chats that turn out to be one customer's: what holds in the one that is left. Pure.

Where one cannot tell what would hold had it been one chat from the beginning, the stricter of the two wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What lets somebody write in a chat, or keeps them from it. bot_decided: whether `bot_enabled` was ever decided,
    by a switch or by the customer's first message. bot_switched_at: when it was switched last, by a person or by an
    opening. handed_off_at: the bot left it to a human, who has not written yet.
    """

    bot_enabled: bool
    bot_decided: bool
    untouchable: bool
    opted_out: bool
    bot_switched_at: datetime | None = None
    taken_over_at: datetime | None = None
    takeover_until: datetime | None = None
    handed_off_at: datetime | None = None
    handed_off_reason: str | None = None


def merge_guards(one: Guards, other: Guards, asked_at: datetime | None = None) -> Guards:
    """asked_at: since when a conversation was wanted that goes on in `one`. Its opening has switched the bot on, which
    holds until somebody switches it again, and ended what a human held before it was asked for, as it would have in
    one chat.
    """
    taken_over_at, until = _latest(one.taken_over_at, other.taken_over_at), None
    if taken_over_at is not None and not _is_over(taken_over_at, asked_at):
        until = _latest(one.takeover_until, other.takeover_until)
    handed_off_at, reason = _find_hand_off(one, other, taken_over_at, asked_at)
    return Guards(
        bot_enabled=_is_enabled(one, other, goes_on=asked_at is not None),
        bot_decided=one.bot_decided or other.bot_decided,
        bot_switched_at=_latest(one.bot_switched_at, other.bot_switched_at),
        untouchable=one.untouchable or other.untouchable,
        opted_out=one.opted_out or other.opted_out,
        taken_over_at=taken_over_at if until is not None else None,
        takeover_until=until,
        handed_off_at=handed_off_at,
        handed_off_reason=reason,
    )


def _is_enabled(one: Guards, other: Guards, *, goes_on: bool) -> bool:
    """Switched off in one of them, it is off; nobody has decided anything in a chat that was only written to."""
    if goes_on:
        return one.bot_enabled and (other.bot_enabled or not _is_switched_later(other, one))
    decided = [guards.bot_enabled for guards in (one, other) if guards.bot_decided]
    return bool(decided) and all(decided)


def _is_switched_later(one: Guards, other: Guards) -> bool:
    if one.bot_switched_at is None:
        return False
    return other.bot_switched_at is None or one.bot_switched_at > other.bot_switched_at


def _find_hand_off(
    one: Guards, other: Guards, taken_over_at: datetime | None, asked_at: datetime | None
) -> tuple[datetime | None, str | None]:
    """The newer one, unless a human has written since."""
    left = [(guards.handed_off_at, guards.handed_off_reason) for guards in (one, other)]
    waiting = [
        (at, reason)
        for at, reason in left
        if at is not None and not _is_over(at, asked_at) and (taken_over_at is None or taken_over_at <= at)
    ]
    return max(waiting, key=lambda each: each[0], default=(None, None))


def _is_over(held_at: datetime, asked_at: datetime | None) -> bool:
    return asked_at is not None and held_at < asked_at


def _latest(*moments: datetime | None) -> datetime | None:
    return max(filter(None, moments), default=None)
