"""One suite over every source: what `discover` and `open` promise, whatever the kind."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from app.core.errors import BadInput, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream, Source
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher
from app.sources.memory import read_photo
from app.sources.open import open_source, source_for
from tests.origin import LOOPBACK, Answer, Origin


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 10, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


PHOTOS = {f"photo-{n}.jpg": jpeg(n * 20) for n in range(5)}


class Place:
    """Somewhere photos live. `gone` removes one; `nowhere` is a URI of this kind that is wrong."""

    def __init__(self, uri: str, gone: Callable[[str], None], nowhere: str) -> None:
        self.uri = uri
        self.gone = gone
        self.nowhere = nowhere


def folder(tmp_path: Path, _: ExitStack) -> Place:
    root = tmp_path / "photos"
    root.mkdir()
    for name, data in PHOTOS.items():
        (root / name).write_bytes(data)
    return Place(str(root), lambda name: (root / name).unlink(), str(tmp_path / "nowhere"))


def list_on_the_web(tmp_path: Path, held: ExitStack) -> Place:
    answers = {f"/{name}": Answer(data, headers={"ETag": '"1"'}) for name, data in PHOTOS.items()}
    origin = held.enter_context(Origin(answers))
    origin.answers["/list.txt"] = Answer("\n".join(PHOTOS).encode())
    return Place(
        origin.url("/list.txt"),
        lambda name: origin.answers.__setitem__(f"/{name}", Answer(status=410)),
        origin.url("/missing.txt"),
    )


def list_on_disk(tmp_path: Path, held: ExitStack) -> Place:
    answers = {f"/{name}": Answer(data, headers={"ETag": '"1"'}) for name, data in PHOTOS.items()}
    origin = held.enter_context(Origin(answers))
    path = tmp_path / "list.csv"
    path.write_text("url,title\n" + "".join(f"{origin.url(f'/{n}')},A\n" for n in PHOTOS))
    return Place(
        str(path),
        lambda name: origin.answers.__setitem__(f"/{name}", Answer(status=404)),
        str(tmp_path / "missing.csv"),
    )


def list_of_files(tmp_path: Path, _: ExitStack) -> Place:
    for name, data in PHOTOS.items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "list.txt"
    path.write_text("\n".join(PHOTOS))
    return Place(
        path.as_uri(), lambda name: (tmp_path / name).unlink(), (tmp_path / "none.txt").as_uri()
    )


PLACES = {
    "folder": ("folder", folder),
    "list on the web": ("list", list_on_the_web),
    "list on disk": ("list", list_on_disk),
    "list of files": ("list", list_of_files),
}


@pytest.fixture(params=PLACES.values(), ids=PLACES.keys())
def kind_and_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Place]]:
    kind, make = request.param
    with ExitStack() as held:
        yield kind, make(tmp_path, held)


@pytest.fixture
def kind(kind_and_place: tuple[str, Place]) -> str:
    return kind_and_place[0]


@pytest.fixture
def place(kind_and_place: tuple[str, Place]) -> Place:
    return kind_and_place[1]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher:
        yield fetcher


async def found_in(source: Source) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


async def test_discovers_each_photo_once_in_a_stable_order(place: Place, fetcher: Fetcher) -> None:
    source = open_source(place.uri, fetcher=fetcher)
    found = await found_in(source)
    assert [Path(each.uri).name for each in found] == list(PHOTOS)
    assert all(isinstance(each, Locator) for each in found)
    assert len({each.key for each in found}) == len(PHOTOS)
    assert await found_in(source) == found


async def test_is_recognised_as_its_kind(place: Place, kind: str, fetcher: Fetcher) -> None:
    source = open_source(place.uri, fetcher=fetcher)
    assert source.kind == kind
    assert isinstance(source, Source)


async def test_a_worker_opens_every_locator_to_the_same_bytes(
    place: Place, kind: str, fetcher: Fetcher
) -> None:
    found = await found_in(open_source(place.uri, fetcher=fetcher))
    elsewhere = source_for(kind, place.uri, fetcher=fetcher)
    for entry, data in zip(found, PHOTOS.values(), strict=True):
        assert isinstance(entry, Locator)
        async with elsewhere.open(entry) as stream:
            assert isinstance(stream, PhotoStream)
            assert stream.version is not None
            assert stream.size in (None, len(data))
            assert await read_photo(stream, 1_000_000) == data


async def test_a_photo_over_the_limit_is_rejected(place: Place, fetcher: Fetcher) -> None:
    source = open_source(place.uri, fetcher=fetcher)
    entry = (await found_in(source))[0]
    assert isinstance(entry, Locator)
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(entry) as stream:
            await read_photo(stream, 100)
    assert caught.value.reason == "too-large"


async def test_a_photo_that_went_away_is_rejected_with_a_reason(
    place: Place, fetcher: Fetcher
) -> None:
    source = open_source(place.uri, fetcher=fetcher)
    entry = (await found_in(source))[2]
    place.gone("photo-2.jpg")
    assert isinstance(entry, Locator)
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(entry):
            pass
    assert caught.value.reason in ("not-found", "gone")


async def test_a_wrong_place_is_said_at_once(place: Place, kind: str, fetcher: Fetcher) -> None:
    with pytest.raises((BadInput, SourceUnavailable)):
        await found_in(source_for(kind, place.nowhere, fetcher=fetcher))
