import pytest

from app.core.errors import BadInput
from app.core.marks import HOME_MARK
from app.sources.folder import FolderSource


async def test_the_home_of_an_installation_is_never_a_source(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    home = tmp_path / "home" / "blobs"
    home.mkdir(parents=True)
    (home / "thumb.webp").write_bytes(b"x")
    (home.parent / HOME_MARK).touch()
    found = [entry.uri async for entry in FolderSource(str(tmp_path)).discover()]
    assert [uri.rsplit("/", 1)[-1] for uri in found] == ["a.jpg"]
    (tmp_path / "link").symlink_to(home)
    for inside in (home.parent, home, tmp_path / "link"):
        with pytest.raises(BadInput, match="installation"):
            [entry async for entry in FolderSource(str(inside)).discover()]
