"""A taken port is found before anything is started."""

from __future__ import annotations

import socket

import pytest

from app.core.errors import BadInput, PortTaken
from app.embedded.ports import check_port, free_port


def test_a_free_port_passes() -> None:
    check_port("127.0.0.1", free_port())


def test_a_taken_port_names_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)) as raised:
            check_port("127.0.0.1", port)
    suggested = int(raised.value.cure.rstrip(".").rsplit(" ", 1)[1])
    check_port("127.0.0.1", suggested)


def test_a_port_taken_on_one_address_is_taken_on_all() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(PortTaken),
    ):
        check_port("0.0.0.0", other.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(BadInput, match="no address of this machine"):
        check_port(host, 8765)
