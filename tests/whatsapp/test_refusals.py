"""The one table of what errors mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from boton.domain.connections import ConnectionStatus
from boton.errors import ConnectionAway, NumberRefused, OutcomeUnknown, RecipientRefused, RefusedForNow, SendError
from boton.whatsapp.refusals import deserves_fresh_address, read_loss, to_send_error
from tests.whatsapp import events

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "kind", "detail"),
    [
        ("server returned error 463", NumberRefused, 463),
        ("server returned error 429", NumberRefused, 429),
        ("server returned error 402", NumberRefused, 402),
        ("server returned error 400", RefusedForNow, None),
        ("server returned error 403", RefusedForNow, None),
        ("server returned error 503", RefusedForNow, None),
        ("server returned error 479", RecipientRefused, "refused_479"),
        ("no LID found for 5491112345678@s.whatsapp.net from server", RecipientRefused, "not_on_whatsapp"),
        ("failed to get device list: 429: rate-overlimit", NumberRefused, 429),
        ("failed to get device list: info query timed out", ConnectionAway, None),
        ("websocket not connected", ConnectionAway, None),
        ("client is nil", ConnectionAway, None),
        ("the store doesn't contain a device JID", ConnectionAway, None),
        ("timed out waiting for message send response", OutcomeUnknown, None),
        ("websocket disconnected before message send (retry) returned response", OutcomeUnknown, None),
        ("something new", OutcomeUnknown, None),
    ],
)
def test_errors_by_class(words: str, kind: type[SendError], detail: object) -> None:
    error = to_send_error(words)
    assert type(error) is kind
    assert error.definitely_not_sent is (kind is not OutcomeUnknown)
    if isinstance(error, NumberRefused):
        assert error.reason == detail
    if isinstance(error, RecipientRefused):
        assert error.code == detail
    assert "5491112345678" not in repr(error)


def test_only_a_stale_address_is_looked_up_anew() -> None:
    assert deserves_fresh_address(to_send_error("server returned error 479"), "7@lid")
    for words in ("no LID found for x", "server returned error 463", "timed out"):
        assert not deserves_fresh_address(to_send_error(words), "7@lid")
    assert deserves_fresh_address(to_send_error("no LID found for x"), None)


def test_ban_tells_its_end_and_why_and_closes_the_slow_lane_until_then() -> None:
    loss = read_loss(events.banned(3600), NOW)
    assert loss is not None
    assert loss.status is ConnectionStatus.BANNED
    assert "(101) until 2026-03-01 13:00 UTC, because it wrote to too many people" in loss.reason
    assert loss.ban is not None
    assert (loss.ban.reason, loss.ban.until) == (101, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (events.banned(0), 101),
        (events.connect_failure("TEMP_BANNED"), 402),
        (events.logged_out("MAIN_DEVICE_GONE"), 403),
        (events.connect_failure("UNKNOWN_LOGOUT"), 406),
    ],
)
def test_ban_without_an_end_closes_the_slow_lane_too(event: object, code: int) -> None:
    loss = read_loss(event, NOW)
    assert loss is not None
    assert loss.ban is not None
    assert (loss.ban.reason, loss.ban.until) == (code, None)
    assert "{" not in loss.reason


def test_every_ban_of_the_library_says_why() -> None:
    bans = events.pb.TemporaryBan
    reasons = {read_loss(bans(Code=code, Expire=60), NOW) for code in bans.TempBanReason.values()}
    assert {loss.ban.reason for loss in reasons if loss and loss.ban} == {101, 102, 103, 104, 106}


@pytest.mark.parametrize("event", [events.logged_out(), events.outdated(), events.connect_failure("GENERIC")])
def test_number_that_is_not_banned_keeps_its_slow_lane(event: object) -> None:
    loss = read_loss(event, NOW)
    assert loss is not None
    assert loss.ban is None


@pytest.mark.parametrize(
    "event",
    [
        events.connected(),
        events.disconnected(),
        events.replaced(),
        events.connect_failure("INTERNAL_SERVER_ERROR"),
        events.connect_failure("SERVICE_UNAVAILABLE"),
        events.connect_failure("EXPERIMENTAL"),
    ],
)
def test_what_passes_is_no_loss(event: object) -> None:
    assert read_loss(event, NOW) is None
