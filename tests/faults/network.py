"""Machines in a box: network namespaces of Linux, each with an address of its own, on one bridge.

Everything is named after this process, so that the next run finds and removes what a killed one
left. The addresses are those of RFC 2544, which are routed nowhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import psutil
import pytest

_PREFIX = "cvf"
_NAME = re.compile(rf"\b{_PREFIX}(\d+)([a-z]\d*)\b")
_SECONDS = 20.0


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def why_not() -> str | None:
    """Why this machine can't have namespaces; None where it can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if shutil.which("ip") is None:
        return "there is no `ip` (package iproute2)"
    name = f"{_PREFIX}{os.getpid()}t"
    done = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        return f"network namespaces are not permitted here: {done.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


def sweep() -> None:
    """Remove what test runs left that don't live any more."""
    for number, kind in set(_NAME.findall(_ip("netns", "list", check=False))):
        if not psutil.pid_exists(int(number)):
            _ip("netns", "delete", f"{_PREFIX}{number}{kind}", check=False)
    for number, kind in set(_NAME.findall(_ip("-o", "link", "show", check=False))):
        if not psutil.pid_exists(int(number)):
            _ip("link", "delete", f"{_PREFIX}{number}{kind}", check=False)


class Network:
    """A bridge that is this machine's own side, and `count` machines behind it.

    A context manager; `address` is ours, `cidr` the network.
    """

    def __init__(self, count: int) -> None:
        number = os.getpid()
        self._bridge = f"{_PREFIX}{number}b"
        self._machines = [f"{_PREFIX}{number}m{n}" for n in range(count)]
        self._links = [f"{_PREFIX}{number}l{n}" for n in range(count)]
        self._base = f"198.{18 + number // 256 % 2}.{number % 256}"
        self.address = f"{self._base}.1"
        self.cidr = f"{self._base}.0/24"

    def __enter__(self) -> Network:
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        sweep()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _build(self) -> None:
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
        except RuntimeError as error:
            pytest.skip(f"bridges are not permitted here: {error}")
        _ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for n, (machine, link) in enumerate(zip(self._machines, self._links, strict=True)):
            _ip("netns", "add", machine)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", machine)
            _ip("link", "set", link, "master", self._bridge)
            _ip("link", "set", link, "up")
            _ip("-n", machine, "addr", "add", f"{self._base}.{10 + n}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", machine, "link", "set", device, "up")

    def _remove(self) -> None:
        for machine in self._machines:
            _ip("netns", "delete", machine, check=False)
        for link in (*self._links, self._bridge):
            _ip("link", "delete", link, check=False)

    def inside(self, n: int) -> list[str]:
        """The beginning of a command that runs on machine `n`, which has a host name of its own."""
        shell = f'hostname machine-{n}; exec "$@"'
        return [
            "ip",
            "netns",
            "exec",
            self._machines[n],
            "unshare",
            "--uts",
            "sh",
            "-c",
            shell,
            "sh",
        ]

    def cut(self, n: int) -> None:
        """Pull machine `n`'s cable: nothing reaches it, nobody is told."""
        _ip("link", "set", self._links[n], "down")

    def mend(self, n: int) -> None:
        _ip("link", "set", self._links[n], "up")
