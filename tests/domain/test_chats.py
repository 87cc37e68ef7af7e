from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from boton.domain.chats import (
    AnswerDecision,
    Arrival,
    Chat,
    Holder,
    OwnMessage,
    decide_answer,
    is_takeover,
    may_confirm_opt_out,
)
from boton.domain.messages import MessageType

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)

DUE = Arrival(
    untouchable=False,
    bot_enabled=True,
    held=False,
    sent_at=NOW,
    now=NOW,
    by_history_sync=False,
    answer_within=timedelta(hours=6),
)


@pytest.mark.parametrize(
    ("arrival", "decision"),
    [
        (DUE, AnswerDecision.DUE),
        (replace(DUE, untouchable=True), AnswerDecision.UNTOUCHABLE),
        (replace(DUE, bot_enabled=False), AnswerDecision.BOT_OFF),
        (replace(DUE, held=True), AnswerDecision.HELD),
        (replace(DUE, sent_at=NOW - timedelta(hours=6)), AnswerDecision.DUE),
        (replace(DUE, sent_at=EARLIER - timedelta(hours=6)), AnswerDecision.TOO_OLD),
        (replace(DUE, sent_at=LATER), AnswerDecision.DUE),
        (replace(DUE, by_history_sync=True), AnswerDecision.HISTORY),
        (replace(DUE, by_history_sync=True, opts_out=True), AnswerDecision.HISTORY),
        (replace(DUE, opts_out=True, untouchable=True), AnswerDecision.OPTED_OUT),
        (replace(DUE, opts_out=True, held=True), AnswerDecision.OPTED_OUT),
        (replace(DUE, answers_from=LATER), AnswerDecision.RESTORED),
        (replace(DUE, answers_from=NOW), AnswerDecision.DUE),
        (replace(DUE, takes_back=True), AnswerDecision.NOT_NEEDED),
        (replace(DUE, takes_back=True, held=True), AnswerDecision.HELD),
    ],
)
def test_answer_is_decided_with_its_reason(arrival: Arrival, decision: AnswerDecision) -> None:
    assert decide_answer(arrival) is decision


OPT_OUT = replace(DUE, opts_out=True)


@pytest.mark.parametrize(
    ("arrival", "confirmed"),
    [
        (OPT_OUT, True),
        (replace(OPT_OUT, held=True), True),
        (replace(OPT_OUT, bot_enabled=False), True),
        (DUE, False),
        (replace(OPT_OUT, untouchable=True), False),
        (replace(OPT_OUT, answers_from=LATER), False),
        (replace(OPT_OUT, sent_at=EARLIER - timedelta(hours=6)), False),
    ],
)
def test_opt_out_is_confirmed_unless_it_is_old_or_the_chat_untouchable(arrival: Arrival, confirmed: bool) -> None:
    assert may_confirm_opt_out(arrival) is confirmed


TYPED = OwnMessage(
    type=MessageType.TEXT,
    text="ya te llamo",
    sent_at=NOW,
    first_incoming_at=None,
    last_turn_at=None,
    auto_replies=(),
)


@pytest.mark.parametrize(
    ("own", "takes_over"),
    [
        (TYPED, True),
        (replace(TYPED, auto_replies=("Estamos cerrados",)), True),
        (replace(TYPED, auto_replies=(" ya te llamo\n",)), False),
        (replace(TYPED, text=" ya te llamo ", auto_replies=("ya te llamo",)), False),
        (replace(TYPED, last_turn_at=LATER), False),
        (replace(TYPED, last_turn_at=NOW), True),
        (replace(TYPED, first_incoming_at=NOW), False),
        (replace(TYPED, first_incoming_at=NOW - timedelta(seconds=3)), False),
        (replace(TYPED, first_incoming_at=NOW - timedelta(seconds=4)), True),
        (replace(TYPED, first_incoming_at=LATER), True),
        (replace(TYPED, answers_from=LATER), False),
        (replace(TYPED, answers_from=NOW), True),
        (replace(TYPED, type=MessageType.AUDIO), True),
        (replace(TYPED, type=MessageType.REACTION), False),
    ],
)
def test_typed_message_is_a_takeover_unless_the_phone_or_the_past_wrote_it(own: OwnMessage, takes_over: bool) -> None:
    assert is_takeover(own) is takes_over


CHAT = Chat(
    id="cht_1",
    business_id="biz_1",
    jid="5491112345678@s.whatsapp.net",
    name=None,
    bot_enabled=True,
    untouchable=False,
    opted_out=False,
    takeover_until=None,
    conversation_id=None,
    message_count=0,
    last_message=None,
    created_at=NOW,
)


@pytest.mark.parametrize(
    ("chat", "holder"),
    [
        (CHAT, Holder.BOT),
        (replace(CHAT, bot_enabled=False), Holder.NONE),
        (replace(CHAT, untouchable=True), Holder.NONE),
        (replace(CHAT, takeover_until=LATER), Holder.HUMAN),
        (replace(CHAT, takeover_until=NOW), Holder.BOT),
        (replace(CHAT, bot_enabled=False, takeover_until=LATER), Holder.HUMAN),
        (replace(CHAT, handed_off_at=EARLIER), Holder.HUMAN),
        (replace(CHAT, handed_off_at=EARLIER, takeover_until=EARLIER), Holder.HUMAN),
    ],
)
def test_chat_is_held_by(chat: Chat, holder: Holder) -> None:
    assert chat.held_by(NOW) is holder
