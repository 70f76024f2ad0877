"""What a kind of source is: how it is recognised, what it may be told, how it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from app.core.errors import BadInput
from app.core.ports import Source
from app.core.sources import SourceField, SourceSpec
from app.sources.egress import EgressProxy
from app.sources.http import Fetcher


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
        """Raises BadInput for an option or credential that the kind does not know."""
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
                if field.choices and value not in field.choices:
                    shown = "That" if secret else f"“{value}”"
                    raise BadInput(
                        f"{shown} can't be the {field.label.lower()} of {self.title}.",
                        cure=f"Allowed: {', '.join(field.choices)}.",
                    )
