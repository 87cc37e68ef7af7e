"""What holds in the chat that is left of two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boton.domain.merging import Guards, merge_guards

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def guards(**values: Any) -> Guards:
    nothing = {"bot_enabled": False, "bot_decided": False, "untouchable": False, "opted_out": False}
    return Guards(**{**nothing, **values})


def taken_over(minutes: float) -> Guards:
    return guards(taken_over_at=at(minutes), takeover_until=at(minutes + 120))


def handed_off(minutes: float, reason: str = "descuento") -> Guards:
    return guards(handed_off_at=at(minutes), handed_off_reason=reason)


ON, OFF, UNDECIDED = guards(bot_enabled=True, bot_decided=True), guards(bot_decided=True), guards()


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (ON, ON, ON),
        (ON, OFF, OFF),
        (ON, UNDECIDED, ON),
        (OFF, UNDECIDED, OFF),
        (UNDECIDED, UNDECIDED, UNDECIDED),
        (guards(untouchable=True), UNDECIDED, guards(untouchable=True)),
        (guards(opted_out=True), UNDECIDED, guards(opted_out=True)),
        (taken_over(0), UNDECIDED, taken_over(0)),
        (taken_over(0), taken_over(30), taken_over(30)),
        (handed_off(0), UNDECIDED, handed_off(0)),
        (handed_off(0, "viejo"), handed_off(5, "nuevo"), handed_off(5, "nuevo")),
        (handed_off(0), taken_over(5), taken_over(5)),
    ],
    ids=[
        "on in both",
        "off in one",
        "only written to",
        "off",
        "undecided",
        "untouchable",
        "opted out",
        "taken over",
        "taken over twice",
        "handed off",
        "handed off twice",
        "a human wrote since",
    ],
)
def test_stricter_of_two_holds_whichever_chat_is_left(one: Guards, other: Guards, wanted: Guards) -> None:
    assert merge_guards(one, other) == merge_guards(other, one) == wanted


def test_hand_off_after_a_takeover_holds_beside_it() -> None:
    merged = merge_guards(taken_over(0), handed_off(5))
    assert (merged.takeover_until, merged.handed_off_at) == (at(120), at(5))


@pytest.mark.parametrize("held", [taken_over, handed_off])
def test_conversation_that_goes_on_ends_what_was_held_before_it_was_asked_for(held: Any) -> None:
    assert merge_guards(ON, held(-1), at(0)) == ON
    later = merge_guards(ON, held(1), at(0))
    assert (later.takeover_until is not None, later.handed_off_at is not None) == (
        held is taken_over,
        held is handed_off,
    )


def test_conversation_that_goes_on_keeps_the_bot_on_in_its_chat() -> None:
    assert merge_guards(ON, OFF, at(0)).bot_enabled
    assert not merge_guards(OFF, ON, at(0)).bot_enabled
    assert merge_guards(ON, guards(untouchable=True, opted_out=True), at(0)).untouchable


@pytest.mark.parametrize(
    ("opened", "switched_off", "wanted"), [(0, 5, False), (5, 0, True), (None, 5, False), (5, None, True)]
)
def test_switch_after_the_opening_holds_in_spite_of_the_conversation(
    opened: int | None, switched_off: int | None, wanted: bool
) -> None:
    one, other = (
        guards(bot_enabled=enabled, bot_decided=True, bot_switched_at=None if minute is None else at(minute))
        for enabled, minute in ((True, opened), (False, switched_off))
    )
    merged = merge_guards(one, other, at(0))
    assert (merged.bot_enabled, merged.bot_switched_at) == (wanted, at(5))
