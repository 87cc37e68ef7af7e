from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from boton.domain.connections import Connection, ConnectionStatus, Gateway

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def connection(status: ConnectionStatus) -> Connection:
    return Connection(
        id="con_1",
        business_id="biz_1",
        gateway=Gateway.SIMULATOR,
        phone="5491138620812",
        active=True,
        status=status,
        reason=None,
        epoch=1,
        status_at=NOW,
        created_at=NOW,
    )


def test_connected_is_believed_for_a_minute() -> None:
    connected = connection(ConnectionStatus.CONNECTED)
    assert connected.as_seen(NOW + timedelta(seconds=60)) is connected


def test_connected_that_nobody_repeats_is_disconnected() -> None:
    seen = connection(ConnectionStatus.CONNECTED).as_seen(NOW + timedelta(seconds=61))
    assert seen.status is ConnectionStatus.DISCONNECTED
    assert seen.reason is not None
    assert "boton connections" in seen.reason


def test_number_that_no_host_takes_up_is_told_as_such_after_two_minutes() -> None:
    """Nobody holds it: no host runs, or all of them are full."""
    connecting = connection(ConnectionStatus.CONNECTING)
    assert connecting.as_seen(NOW + timedelta(seconds=120)) is connecting
    seen = connecting.as_seen(NOW + timedelta(seconds=121))
    assert seen.status is ConnectionStatus.DISCONNECTED
    assert seen.reason is not None
    assert "BOTON_CONNECTIONS_CAPACITY" in seen.reason


_SAID_BY_LINKS = {ConnectionStatus.CONNECTED, ConnectionStatus.CONNECTING}


@pytest.mark.parametrize("status", [one for one in ConnectionStatus if one not in _SAID_BY_LINKS])
def test_every_other_status_stays(status: ConnectionStatus) -> None:
    assert connection(status).as_seen(NOW + timedelta(days=9)).status is status
