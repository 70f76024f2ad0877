"""From the text of an environment variable to a value of its type, or `Unusable`."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

MIN_SECRET = 32


class Unusable(Exception):
    """A cast failed; becomes BadInput once the variable's name is known."""


def text(value: str) -> str:
    if not value.strip():
        raise Unusable
    return value.strip()


def path(value: str) -> Path:
    return Path(text(value)).expanduser().absolute()


def whole(low: int, high: int) -> Callable[[str], int]:
    def cast(value: str) -> int:
        try:
            number = int(value)
        except ValueError as error:
            raise Unusable from error
        if not low <= number <= high:
            raise Unusable
        return number

    return cast


def one_of(*allowed: str) -> Callable[[str], str]:
    def cast(value: str) -> str:
        chosen = value.strip().lower()
        if chosen not in allowed:
            raise Unusable
        return chosen

    return cast


def yes_or_no(value: str) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    try:
        return answers[value.strip().lower()]
    except KeyError as error:
        raise Unusable from error


def url(*schemes: str) -> Callable[[str], str]:
    def cast(value: str) -> str:
        try:
            scheme = urlsplit(value.strip()).scheme
        except ValueError as error:
            raise Unusable from error
        if scheme not in schemes:
            raise Unusable
        return value.strip()

    return cast


def networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise Unusable from error


def ports(value: str) -> tuple[int, ...]:
    port = whole(1, 65535)
    return tuple(port(part) for part in value.split(",") if part.strip())


def secret(value: str) -> str:
    if len(value) < MIN_SECRET:
        raise Unusable
    return value
