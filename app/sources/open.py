"""From what a person wrote to a source. Each kind registers itself once; later kinds add a line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import BadInput
from app.core.ports import Source
from app.sources.addresses import AddressPolicy
from app.sources.files import path_of
from app.sources.folder import FolderSource
from app.sources.http import Fetcher
from app.sources.listing import ListSource, is_web
from app.sources.suffixes import PHOTO_SUFFIXES

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source. `recognise` answers with a sentence for people where the URI is of this
    kind, else None; it looks at the text and the local disk only. `build` makes the source."""

    name: str
    recognise: Callable[[str], str | None]
    build: Callable[[str, Fetcher, AddressPolicy], Source]


def _is_list(uri: str) -> str | None:
    if is_web(uri):
        return f"A list of photo addresses, fetched from {uri}."
    path = path_of(uri)
    return f"A list of photo addresses in the file {path}." if path.is_file() else None


def _is_folder(uri: str) -> str | None:
    if is_web(uri):
        return None
    path = path_of(uri)
    return f"All photos in the folder {path} and below." if path.is_dir() else None


# The first that recognises a URI wins.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("folder", _is_folder, lambda uri, fetcher, policy: FolderSource(uri)),
        Kind("list", _is_list, ListSource),
    )
}


def kind_names() -> list[str]:
    """What `--kind` accepts."""
    return [AUTO, *sorted(KINDS)]


def recognise(uri: str) -> tuple[str, str]:
    """(kind, one sentence for people). Raises BadInput, saying what was expected."""
    uri = uri.strip()
    if not uri:
        raise BadInput("No source was given.", cure="Give a folder, or a list of photo addresses.")
    if "\x00" in uri:
        raise BadInput("The source holds a NUL character.")
    if not is_web(uri) and "://" in uri and not uri.lower().startswith("file:"):
        raise BadInput(
            f"Sources that start with {uri.partition('://')[0]}:// are not supported.",
            cure=f"Supported: {', '.join(sorted(KINDS))}.",
        )
    if _names_a_photo(uri):
        raise BadInput(
            f"{uri} is one photo, not a list or folder of photos.",
            cure="Give its folder, or a text file with its address.",
        )
    try:
        for kind in KINDS.values():
            sentence = kind.recognise(uri)
            if sentence is not None:
                return kind.name, sentence
    except OSError as error:
        raise BadInput(f"{uri} can't be looked at: {error.strerror}.") from error
    raise BadInput(f"There is no file or folder {uri}.", cure="Check the spelling.")


def _names_a_photo(uri: str) -> bool:
    name = uri.partition("?")[0] if is_web(uri) else uri
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES and not Path(name).is_dir()


def open_source(
    uri: str, kind: str = AUTO, *, fetcher: Fetcher, policy: AddressPolicy | None = None
) -> Source:
    """The source for what a person gave. `policy` defaults to the fetcher's. Raises BadInput."""
    name = recognise(uri)[0] if kind == AUTO else kind
    return source_for(name, uri.strip(), fetcher=fetcher, policy=policy)


def source_for(
    kind: str, uri: str, *, fetcher: Fetcher, policy: AddressPolicy | None = None
) -> Source:
    """The source of a stored (kind, uri), without looking at it again: workers open locators so."""
    if kind not in KINDS:
        raise BadInput(f"There is no kind of source “{kind}”.", cure=f"Known: {', '.join(KINDS)}.")
    return KINDS[kind].build(uri, fetcher, policy or fetcher.policy)
