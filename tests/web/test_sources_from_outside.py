"""What may be named as a source through pages and API, by people who don't sit at the server."""

import pytest

from app.core.errors import BadInput
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


@pytest.mark.parametrize("source", ["", ".", "../..", "photos", "~"])
def test_a_place_relative_to_the_server_is_not(source):
    with pytest.raises(BadInput):
        recognised(source, "auto")
