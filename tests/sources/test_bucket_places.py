"""How addresses of buckets are read, and how the names of photos are written."""

from __future__ import annotations

import contextlib
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import BadInput, ForbiddenAddress
from app.sources.bucket_places import BucketPlace, azure_place, gcs_place, s3_place
from app.sources.open import recognise

_PART = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\x7f", min_codepoint=32),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(_PART, min_size=1, max_size=4).map("/".join)
FOLDERS = st.one_of(st.just(""), PATHS)


@pytest.mark.parametrize(
    ("uri", "base", "bucket", "folder"),
    [
        ("s3://photos", "s3://photos", "photos", ""),
        ("s3://photos/", "s3://photos", "photos", ""),
        ("S3://photos/a/b/", "s3://photos/a/b", "photos", "a/b"),
        ("s3://photos/My Photos", "s3://photos/My%20Photos", "photos", "My Photos"),
        ("s3://photos/My%20Photos", "s3://photos/My%20Photos", "photos", "My Photos"),
        ("s3://photos/100%25", "s3://photos/100%25", "photos", "100%"),
        ("s3://photos/100%", "s3://photos/100%25", "photos", "100%"),
        ("s3://photos/a#b?c", "s3://photos/a%23b%3Fc", "photos", "a#b?c"),
        ("s3://photos/Käse", "s3://photos/K%C3%A4se", "photos", "Käse"),
        ("s3://My_old.bucket-1/x", "s3://My_old.bucket-1/x", "My_old.bucket-1", "x"),
    ],
)
def test_addresses_of_buckets(uri: str, base: str, bucket: str, folder: str) -> None:
    assert s3_place(uri) == BucketPlace(base, bucket, folder)
    google = gcs_place(f"gs{uri[2:]}")
    assert google is not None
    assert (google.bucket, google.folder) == (bucket, folder)
    assert gcs_place(uri) is None
    assert azure_place(uri) is None
    assert s3_place(base) == s3_place(uri)


@pytest.mark.parametrize(
    ("uri", "base", "host", "folder"),
    [
        ("az://account1/photos", "az://account1/photos", "account1.blob.core.windows.net", ""),
        ("az://account1/$web/a b", "az://account1/$web/a%20b", "account1.blob.core.windows.net", "a b"),
        (
            "https://account1.blob.core.windows.net/photos/a/",
            "https://account1.blob.core.windows.net/photos/a",
            "account1.blob.core.windows.net",
            "a",
        ),
        (
            "HTTP://Account1-secondary.blob.core.chinacloudapi.cn/photos",
            "https://account1-secondary.blob.core.chinacloudapi.cn/photos",
            "account1-secondary.blob.core.chinacloudapi.cn",
            "",
        ),
    ],
)  # fmt: skip
def test_addresses_of_containers(uri: str, base: str, host: str, folder: str) -> None:
    place = azure_place(uri)
    assert place is not None
    assert (place.base, place.host, place.folder) == (base, host, folder)
    assert place.account == "account1"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://", "s3:///a", "s3://a", "s3://-ab", "s3://key:secret@photos", "s3://photos:9000/a",
        "s3://photos?x", "s3://phötos", "s3://photos/a//b", "s3://photos/../b", "s3://photos/./b",
        "s3://photos/a\x00", "s3://photos/a%0a", "s3://photos/%ff", "s3://photos/a%2F%2Fb", "s3://photos/\ud800",
        "gs://", "gs://b c",
        "az://", "az://account1", "az://account1/", "az://Account/photos", "az://account1/ph_otos",
        "https://account1.blob.core.windows.net/",
        "https://account1.blob.core.windows.net", "https://account1.blob.core.windows.net/c?sig=x",
    ],
)  # fmt: skip
def test_wrong_addresses_are_said(uri: str) -> None:
    with pytest.raises(BadInput) as caught:
        assert s3_place(uri) or gcs_place(uri) or azure_place(uri)
    assert "secret" not in str(caught.value)
    assert "sig=x" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("s3://photos/a b/", "s3", "All photos in the bucket photos under a b/."),
        ("gs://photos", "gcs", "All photos in the bucket photos."),
        ("az://account1/photos", "azure", "All photos in the container photos."),
        ("https://a12.blob.core.windows.net/photos", "azure", "All photos in the container photos."),
        ("https://a12.blob.core.windows.net/photos/list.csv", "list", "A list of photo addresses"),
        ("https://a12.blob.core.windows.net/photos/list.csv?sig=x", "list", "A list of photo"),
        ("https://blob.core.windows.net.evil.example/photos", None, ""),
    ],
)  # fmt: skip
def test_kinds_are_told_apart(uri: str, kind: str | None, words: str) -> None:
    found, sentence = recognise(uri)
    if kind is not None:
        assert (found, sentence[: len(words)]) == (kind, words)
    else:
        assert found != "azure"


@given(FOLDERS, PATHS)
def test_every_name_comes_back(folder: str, relative: str) -> None:
    with contextlib.suppress(BadInput):  # a folder like "%ff" reads as something else
        place = s3_place(f"s3://photos/{folder.replace('%', '%25')}")
        assert place is not None
        path = f"{place.folder}/{relative}" if place.folder else relative
        uri = place.uri_of(path)
        assert place.path_of(uri) == path
        assert uri.startswith(f"{place.base}/")
        assert uri.isascii()
        assert unquote(urlsplit(uri).path) == f"/{path}", "what pages show as the title"


@given(PATHS, PATHS)
def test_two_names_are_two_addresses(one: str, other: str) -> None:
    place = BucketPlace("s3://photos", "photos", "")
    assert (place.uri_of(one) == place.uri_of(other)) is (one == other)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading(text: str) -> None:
    for start in (
        "s3://",
        "gs://",
        "az://",
        "az://account1/",
        "https://a12.blob.core.windows.net/",
    ):
        for place in (s3_place, gcs_place, azure_place):
            with contextlib.suppress(BadInput):
                found = place(start + text)
                if found is not None:
                    assert found.base.isascii()
                    with contextlib.suppress(ForbiddenAddress):
                        found.path_of(start + text)
