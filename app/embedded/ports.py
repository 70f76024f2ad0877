"""TCP ports of this machine."""

from __future__ import annotations

import errno
import socket

from app.core.errors import BadInput, PortTaken


def check_port(host: str, port: int) -> None:
    """Raises PortTaken if something listens there, BadInput if `host` isn't this machine's."""
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadInput(
            f"“{host}” is no address of this machine.", cure="Use --host 127.0.0.1 or 0.0.0.0."
        ) from error
    for family, kind, protocol, _, address in candidates:
        with socket.socket(family, kind, protocol) as probe:
            # as servers do: a connection that lingers from the last run is no reason to refuse
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise _explain(host, port, error) from error


def _explain(host: str, port: int, error: OSError) -> PortTaken | BadInput:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"Port {port} on {host} is used by another program.",
            cure=f"Stop that program, or choose another port: --port {_suggest(port)}.",
        )
    if error.errno == errno.EACCES:
        return PortTaken(
            f"Port {port} may only be used by root.", cure="Choose one from 1024 on with --port."
        )
    return BadInput(
        f"“{host}” is no address of this machine.", cure="Use --host 127.0.0.1 or 0.0.0.0."
    )


def _suggest(port: int) -> int:
    for candidate in range(port + 1, min(port + 20, 65536)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    return free_port()


def free_port() -> int:
    """A TCP port on loopback that nothing uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
