"""What is known of a place where photos live, and what its kind asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Pairs = tuple[tuple[str, str], ...]


def pairs(values: Mapping[str, str]) -> Pairs:
    """Sorted and without empty values, so that equal settings compare and hash equal."""
    return tuple(sorted((name, value) for name, value in values.items() if value != ""))


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as it is stored: all that a worker needs to open it.

    `options` may be shown to people (a prefix, a region); `credentials` may not.
    """

    kind: str
    uri: str
    options: Pairs = ()
    credentials: Pairs = field(default=(), repr=False)

    def option(self, name: str, default: str = "") -> str:
        return dict(self.options).get(name, default)

    def credential(self, name: str) -> str | None:
        return dict(self.credentials).get(name)


@dataclass(frozen=True, slots=True)
class SourceField:
    """One thing that a kind of source may be told, as forms, API and command line offer it.

    A `secret` is a credential: stored encrypted, never shown again. `choices` are the allowed
    values, any text where there are none; the first is the default. `leads` where it names the
    server that credentials are sent to: they have to be given again when it changes. `limits` are
    the smallest and the largest value of a whole number.
    """

    name: str
    label: str
    help: str
    secret: bool = False
    choices: tuple[str, ...] = ()
    leads: bool = False
    limits: tuple[int, int] | None = None
