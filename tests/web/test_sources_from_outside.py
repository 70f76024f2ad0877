"""What may be named as a source through pages and API, by people who don't sit at the server."""

import pytest

from app.core.errors import BadInput
from app.sources.open import KINDS
from app.web.commands import recognised


def test_web_lists_and_full_folders_are_taken(tmp_path):
    assert recognised(" https://h/list.csv ", "auto") == ("https://h/list.csv", "list")
    assert recognised(str(tmp_path), "auto") == (str(tmp_path), "folder")


@pytest.mark.parametrize("kind", ["auto", "list"])
def test_a_list_on_the_servers_disk_is_not(tmp_path, kind):
    secret = tmp_path / "passwd"
    secret.write_text("root:x:0:0\n")
    for source in (str(secret), secret.as_uri()):
        with pytest.raises(BadInput) as caught:
            recognised(source, kind)
        assert "root:x" not in str(caught.value)


def test_every_kind_takes_its_own_addresses_and_no_other(tmp_path):
    folder = str(tmp_path)
    taken = [
        ("s3://bucket/a", "auto", "s3"), ("s3://bucket/a", "s3", "s3"),
        ("https://nas.example/photos/", "webdav", "webdav"), (folder, "folder", "folder"),
        ("https://h/list", "list", "list"),
    ]  # fmt: skip
    for source, kind, found in taken:
        assert recognised(source, kind) == (source, found)
    refused = [
        ("https://h/list.csv", "folder"), ("s3://bucket/a", "list"), (folder, "s3"),
        (folder, "webdav"), ("ftp://h/a", "auto"), ("https://h/a", "no-such-kind"),
    ]  # fmt: skip
    for source, kind in refused:
        with pytest.raises(BadInput) as caught:
            recognised(source, kind)
        assert caught.value.cure


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_kind_opens_a_file_of_the_server(tmp_path, kind):
    """Whatever a kind would make of it: what it holds could come back as failures."""
    for name in ("secrets.json", "page.html", "manifest.json", "list.txt"):
        file = tmp_path / name
        file.write_text('{"@context": "http://iiif.io/api/presentation/3/context.json"}')
        for source in (str(file), file.as_uri()):
            with pytest.raises(BadInput):
                recognised(source, kind)


@pytest.mark.parametrize("source", ["", ".", "../..", "photos", "~"])
def test_a_place_relative_to_the_server_is_not(source):
    with pytest.raises(BadInput):
        recognised(source, "auto")
