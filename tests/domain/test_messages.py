"""The contract's two tables, written out: transitions (section 3) and what forbids a claim (section 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from boton.domain.messages import (
    ClaimFacts,
    MessageKind,
    MessageStatus,
    MessageType,
    check_transition,
    forbids,
    may_become,
)
from boton.errors import IllegalTransition

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ACCEPTED = NOW - timedelta(minutes=10)

LEGAL = {
    "queued": "sending cancelled expired failed",
    "sending": "sent failed queued unconfirmed",
    "unconfirmed": "sent delivered read failed",
    "sent": "delivered read failed",
    "delivered": "read",
    "failed": "delivered read",
}


@pytest.mark.parametrize(("current", "wanted"), list(product(MessageStatus, MessageStatus)))
def test_every_pair_of_statuses_is_as_the_contract_says(current: MessageStatus, wanted: MessageStatus) -> None:
    legal = wanted.value in LEGAL.get(current.value, "").split()
    assert may_become(current, wanted) is legal
    if legal:
        check_transition(current, wanted)
    else:
        with pytest.raises(IllegalTransition, match=f"{current} cannot become {wanted}"):
            check_transition(current, wanted)


FREE = ClaimFacts(
    untouchable=False,
    held_by_human=False,
    taken_over_at=None,
    bot_enabled=True,
    opted_out=False,
    marketing=False,
    accepted_at=ACCEPTED,
    expires_at=None,
)
HELD = replace(FREE, held_by_human=True, taken_over_at=ACCEPTED + timedelta(minutes=1))
CONDITIONS = {
    "untouchable": replace(FREE, untouchable=True),
    "held after the POST": HELD,
    "held before the POST": replace(HELD, taken_over_at=ACCEPTED - timedelta(minutes=1)),
    "bot off": replace(FREE, bot_enabled=False),
    "opted out": replace(FREE, opted_out=True),
    "opted out, marketing": replace(FREE, opted_out=True, marketing=True),
    "expired": replace(FREE, expires_at=NOW),
}
_BOT = {
    "untouchable": "cancelled untouchable",
    "held after the POST": "cancelled held_by_human",
    "held before the POST": "cancelled held_by_human",
    "bot off": "cancelled bot_off",
}
BLOCKED: dict[MessageKind, dict[str, str]] = {
    MessageKind.REPLY: _BOT,
    MessageKind.FOLLOW_UP: _BOT,
    MessageKind.OPENING: {
        "untouchable": "failed untouchable",
        "held after the POST": "cancelled held_by_human",
        "opted out, marketing": "failed opted_out",
    },
    MessageKind.NOTICE: {"untouchable": "cancelled untouchable"},
    MessageKind.TRANSACTIONAL: {},
    MessageKind.REMINDER: {},
    MessageKind.MARKETING: {"opted out": "failed opted_out", "opted out, marketing": "failed opted_out"},
    MessageKind.HUMAN: {},
}


@pytest.mark.parametrize(("kind", "condition"), list(product(BLOCKED, CONDITIONS)))
def test_what_forbids_a_claim_is_as_the_contract_says(kind: MessageKind, condition: str) -> None:
    blocked = {**BLOCKED[kind], "expired": "expired expired"}.get(condition)
    refusal = forbids(kind, CONDITIONS[condition], NOW)
    assert (f"{refusal.status} {refusal.error.code}" if refusal else None) == blocked
    assert refusal is None or refusal.error.detail


@pytest.mark.parametrize("kind", list(BLOCKED))
def test_nothing_forbids_a_message_to_a_free_chat_before_it_expires(kind: MessageKind) -> None:
    assert forbids(kind, replace(FREE, expires_at=NOW + timedelta(seconds=1)), NOW) is None


def test_takeover_at_the_very_moment_of_the_post_wins_over_the_opening() -> None:
    refusal = forbids(MessageKind.OPENING, replace(HELD, taken_over_at=ACCEPTED), NOW)
    assert refusal is not None
    assert refusal.error.code == "held_by_human"


def test_unheard_of_type_of_message_is_unknown() -> None:
    assert MessageType("poll") is MessageType.UNKNOWN
