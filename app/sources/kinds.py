"""What a kind of source is: how it is recognised, what it may be told, how it is made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from app.core.errors import BadInput
from app.core.ports import Source
from app.core.sources import SourceField, SourceSpec
from app.sources.egress import EgressProxy
from app.sources.http import Fetcher

_PUBLIC_SCHEMES = frozenset({"http", "https", "dav", "davs", "s3", "gs"})


class SourceTools:
    """What sources reach the world with; an async context manager, one a process and event loop.

    `instance_credentials`: whether the operator lets buckets be opened with the machine's own
    identity.
    """

    def __init__(self, fetcher: Fetcher, *, instance_credentials: bool = False) -> None:
        self.fetcher = fetcher
        self.policy = fetcher.policy
        self.instance_credentials = instance_credentials
        self._egress: EgressProxy | None = None
        self._opening_egress = asyncio.Lock()
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._egress = None
        await self._held.aclose()

    async def egress(self) -> EgressProxy:
        """The way out for libraries that connect by themselves; started by the first that asks."""
        async with self._opening_egress:
            if self._egress is None:
                fetcher = self.fetcher
                proxy = EgressProxy(
                    self.policy, fetcher.resolve, connect_seconds=fetcher.limits.connect_seconds
                )
                self._egress = await self._held.enter_async_context(proxy)
        return self._egress


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source. `recognise` answers with a sentence for people where the URI is of this
    kind, else None; it looks at the text and the local disk only. `build` makes the source.

    `example` is a URI as a person would write it.
    """

    name: str
    title: str
    example: str
    recognise: Callable[[str], str | None]
    build: Callable[[SourceSpec, SourceTools], Source]
    fields: tuple[SourceField, ...] = ()

    def check(self, spec: SourceSpec) -> None:
        """Raises BadInput for an option or credential that the kind does not know, and for an
        address that carries a password, which would be stored and shown with it."""
        check_address(spec.uri)
        known = {each.name: each for each in self.fields}
        for given, secret in ((spec.options, False), (spec.credentials, True)):
            for name, value in given:
                field = known.get(name)
                if field is None or field.secret is not secret:
                    names = [each.name for each in self.fields if each.secret is secret]
                    what = "credential" if secret else "option"
                    raise BadInput(
                        f"{self.title} takes no {what} “{name}”.",
                        cure=f"It takes: {', '.join(names) or 'none'}.",
                    )
                if field.limits is not None and not _within(value, field.limits):
                    low, high = field.limits
                    raise BadInput(f"{field.label} is a whole number, {low} to {high}.")
                if field.choices and value not in field.choices:
                    shown = "That" if secret else f"“{value}”"
                    raise BadInput(
                        f"{shown} can't be the {field.label.lower()} of {self.title}.",
                        cure=f"Allowed: {', '.join(field.choices)}.",
                    )


def check_address(uri: str) -> None:
    """Raises BadInput, without showing the address, where it carries a user name or password."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme.lower() in _PUBLIC_SCHEMES and "@" in re.split(r"[/?#]", rest)[0]:
        raise BadInput(
            "The address carries a user name or password, which would be seen with it.",
            cure="Remove the part before the @, and give credentials by themselves.",
        )


def _within(value: str, limits: tuple[int, int]) -> bool:
    return value.isascii() and value.isdigit() and limits[0] <= int(value[:20]) <= limits[1]
