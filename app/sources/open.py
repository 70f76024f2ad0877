"""From what a person wrote to a source. Each kind registers itself once; later kinds add a line."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from app.core.errors import BadInput
from app.core.ports import Source
from app.core.sources import SourceSpec
from app.sources.buckets import AZURE, GCS, S3
from app.sources.drive import DRIVE
from app.sources.dropbox import DROPBOX
from app.sources.files import path_of
from app.sources.folder import FolderSource
from app.sources.gallery import GALLERY
from app.sources.iiif import IIIF
from app.sources.kinds import Kind, SourceTools
from app.sources.listing import ListSource, is_web
from app.sources.nextcloud import NEXTCLOUD
from app.sources.paging import path_of_url
from app.sources.suffixes import LIST_SUFFIXES, PHOTO_SUFFIXES
from app.sources.webdav import WEBDAV

AUTO = "auto"
KEPT_OPEN = 64


def _is_list(uri: str) -> str | None:
    if is_web(uri):
        is_file = os.path.splitext(path_of_url(uri))[1].lower() in LIST_SUFFIXES
        return f"A list of photo addresses, fetched from {uri}." if is_file else None
    path = path_of(uri)
    return f"A list of photo addresses in the file {path}." if path.is_file() else None


def _is_folder(uri: str) -> str | None:
    if is_web(uri) or ("://" in uri and not uri.lower().startswith("file:")):
        return None
    path = path_of(uri)
    return f"All photos in the folder {path} and below." if path.is_dir() else None


FOLDER = Kind(
    "folder", "A folder", "/mnt/nas/wedding", _is_folder, lambda spec, _: FolderSource(spec.uri)
)
LIST = Kind(
    "list",
    "A list of addresses",
    "https://example.org/photos.csv",
    _is_list,
    lambda spec, tools: ListSource(spec.uri, tools.fetcher),
)

# The first that recognises a URI wins.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (FOLDER, S3, GCS, AZURE, WEBDAV, NEXTCLOUD, DRIVE, DROPBOX, IIIF, LIST, GALLERY)
}


def kind_names() -> list[str]:
    """What `--kind` accepts."""
    return [AUTO, *sorted(KINDS)]


def recognise(uri: str) -> tuple[str, str]:
    """(kind, one sentence for people). Raises BadInput, saying what was expected."""
    uri = uri.strip()
    if not uri:
        raise BadInput(
            "No source was given.",
            cure=f"Give an address, such as {FOLDER.example} or {LIST.example}.",
        )
    if "\x00" in uri:
        raise BadInput("The source holds a NUL character.")
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
    if "://" in uri and not uri.lower().startswith("file:"):
        raise BadInput(
            f"Sources that start with {uri.partition('://')[0]}:// are not supported.",
            cure=f"Supported: {', '.join(sorted(KINDS))}.",
        )
    raise BadInput(f"There is no file or folder {uri}.", cure="Check the spelling.")


def _names_a_photo(uri: str) -> bool:
    name = uri.partition("?")[0] if is_web(uri) else uri
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES and not Path(name).is_dir()


def kind_of(name: str) -> Kind:
    """Raises BadInput for an unknown kind."""
    if name not in KINDS:
        raise BadInput(f"There is no kind of source “{name}”.", cure=f"Known: {', '.join(KINDS)}.")
    return KINDS[name]


class SourceOpener:
    """Makes sources from what is stored of them, without looking at the place first.

    Those that were used last are kept, so that a worker which opens thousands of photos of one
    bucket keeps its connections. Belongs to one event loop.
    """

    def __init__(self, tools: SourceTools) -> None:
        self.tools = tools
        self._kept: OrderedDict[SourceSpec, Source] = OrderedDict()

    def __call__(self, spec: SourceSpec) -> Source:
        """Raises BadInput where the spec is of no known kind or tells its kind what it can't use."""
        source = self._kept.pop(spec, None)
        if source is None:
            kind = kind_of(spec.kind)
            kind.check(spec)
            source = kind.build(spec, self.tools)
        self._kept[spec] = source
        while len(self._kept) > KEPT_OPEN:
            self._kept.popitem(last=False)
        return source
