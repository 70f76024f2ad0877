"""One suite over every source: what `discover` and `open` promise, whatever the kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.errors import BadInput, NotModified, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream, Source
from app.core.sources import SourceSpec
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.open import SourceOpener, kind_of, recognise
from tests.contracts.places import PHOTOS, Place, all_places, jpeg
from tests.origin import LOOPBACK

BUILDS = all_places()


@pytest.fixture(params=BUILDS.values(), ids=BUILDS.keys())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as held:
        yield request.param(tmp_path, held)


@pytest.fixture
async def opener() -> AsyncIterator[SourceOpener]:
    async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher, SourceTools(fetcher) as tools:
        yield SourceOpener(tools)


async def found_in(source: Source) -> list[Locator]:
    found = [entry async for entry in source.discover()]
    assert not [entry for entry in found if isinstance(entry, BadEntry)]
    return [entry for entry in found if isinstance(entry, Locator)]


async def test_discovers_each_photo_once_in_a_stable_order(
    place: Place, opener: SourceOpener
) -> None:
    source = opener(place.spec)
    found = await found_in(source)
    assert len(found) == len(PHOTOS)
    assert len({each.key for each in found}) == len(PHOTOS)
    assert await found_in(source) == found


async def test_is_recognised_as_its_kind(place: Place, opener: SourceOpener) -> None:
    source = opener(place.spec)
    assert source.kind == place.spec.kind
    assert isinstance(source, Source)
    if place.recognised:
        kind, sentence = recognise(place.spec.uri)
        assert kind == place.spec.kind
        assert sentence.endswith(".")


async def test_a_worker_opens_every_locator_to_the_same_bytes(
    place: Place, opener: SourceOpener
) -> None:
    found = await found_in(opener(place.spec))
    # Another process knows of a locator no more than what the ledger keeps.
    elsewhere = kind_of(place.spec.kind).build(place.spec, opener.tools)
    for entry, data in zip(found, PHOTOS.values(), strict=True):
        stored = Locator(entry.key, entry.uri, version=entry.version)
        async with elsewhere.open(stored) as stream:
            assert isinstance(stream, PhotoStream)
            assert stream.version is not None
            assert stream.size in (None, len(data))
            assert await read_photo(stream, 1_000_000) == data


async def test_a_photo_over_the_limit_is_rejected(place: Place, opener: SourceOpener) -> None:
    source = opener(place.spec)
    entry = (await found_in(source))[0]
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(entry) as stream:
            await read_photo(stream, 100)
    assert caught.value.reason == "too-large"


async def test_a_photo_that_went_away_is_rejected_with_a_reason(
    place: Place, opener: SourceOpener
) -> None:
    source = opener(place.spec)
    entry = (await found_in(source))[2]
    place.gone("photo-2.jpg")
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(entry):
            pass
    assert caught.value.reason in ("not-found", "gone")


async def test_only_a_change_gives_another_version(place: Place, opener: SourceOpener) -> None:
    """Rescans fetch what changed: the listing says so, or a condition on the photo does."""
    source = opener(place.spec)
    before = await found_in(source)
    held = {}
    for entry in before:
        async with source.open(entry) as stream:
            held[entry.key] = stream.version
    changed = jpeg(230) + b"longer"
    place.change("photo-3.jpg", changed)
    after = await found_in(source)
    assert [entry.key for entry in after] == [entry.key for entry in before]
    different = []
    for entry in after:
        if source.revalidates:
            try:
                async with source.open(entry, unless=held[entry.key]) as stream:
                    if stream.version != held[entry.key]:
                        different.append(await read_photo(stream, 1_000_000))
            except NotModified:
                continue
        elif entry.version != held[entry.key]:
            async with source.open(entry) as stream:
                different.append(await read_photo(stream, 1_000_000))
    assert different == [changed]


async def test_a_wrong_place_is_said_at_once(place: Place, opener: SourceOpener) -> None:
    with pytest.raises((BadInput, SourceUnavailable)):
        await found_in(opener(place.nowhere))


async def test_a_wrong_credential_is_said_and_not_shown(place: Place, opener: SourceOpener) -> None:
    if place.locked is None:
        pytest.skip("this kind takes no credentials")
    with pytest.raises((BadInput, SourceUnavailable)) as caught:
        await found_in(opener(place.locked))
    told = f"{caught.value} {caught.value.__cause__}"
    for _, secret in place.locked.credentials:
        assert secret not in told
        assert secret not in repr(place.locked)


def test_a_kind_refuses_what_it_does_not_know() -> None:
    for spec in (
        SourceSpec("folder", "/x", options=(("colour", "red"),)),
        SourceSpec("list", "/x", credentials=(("password", "x"),)),
    ):
        with pytest.raises(BadInput):
            kind_of(spec.kind).check(spec)
