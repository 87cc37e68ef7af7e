"""Ports are settled before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from boton.cli.listening import LOOPBACK, accepts, settle_ports
from boton.cli.obstacles import Obstacle
from boton.metrics_text import pick_loopback_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server


def test_a_port_in_use_is_named_with_the_variable_to_change(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(Obstacle) as caught:
        settle_ports({"BOTON_SIMULATOR_PORT": (LOOPBACK, port)})
    assert f"Port {port} is in use" in caught.value.line
    assert "BOTON_SIMULATOR_PORT" in caught.value.line
    assert accepts(LOOPBACK, port)


def test_what_listens_on_all_addresses_is_in_the_way_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server, pytest.raises(Obstacle, match="in use"):
        settle_ports({"BOTON_API_PORT": (LOOPBACK, server.getsockname()[1])})


def test_a_port_whose_last_connection_just_ended_is_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection((LOOPBACK, port)):
        served, _ = listener.accept()
        served.close()  # the server closes first: its side stays in TIME_WAIT
    listener.close()
    assert settle_ports({"BOTON_API_PORT": (LOOPBACK, port)}) == {"BOTON_API_PORT": port}


def test_one_port_for_two_things_is_refused() -> None:
    port = pick_loopback_port()
    with pytest.raises(Obstacle, match=f"BOTON_API_PORT and BOTON_METRICS_PORT are both {port}"):
        settle_ports({"BOTON_API_PORT": (LOOPBACK, port), "BOTON_METRICS_PORT": (LOOPBACK, port)})


def test_zero_is_any_free_port_and_never_the_same_twice() -> None:
    settled = settle_ports({f"BOTON_{number}_PORT": (LOOPBACK, 0) for number in range(20)})
    assert len(set(settled.values())) == 20
    assert 0 not in settled.values()


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(Obstacle, match="BOTON_API_HOST"):
        settle_ports({"BOTON_API_PORT": ("203.0.113.7", pick_loopback_port())})
    with pytest.raises(Obstacle, match="BOTON_API_HOST"):
        settle_ports({"BOTON_API_PORT": ("no.such.host.invalid", 8000)})
