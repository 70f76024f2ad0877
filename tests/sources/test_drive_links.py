"""Which addresses are folders of Google Drive."""

from __future__ import annotations

import pytest

from app.core.errors import BadInput
from app.core.sources import SourceSpec
from app.sources.drive import DriveSource
from app.sources.http import Fetcher
from app.sources.kinds import SourceTools
from app.sources.open import recognise


@pytest.mark.parametrize(
    "uri",
    [
        "https://drive.google.com/drive/folders/1AbC_d-9",
        "https://drive.google.com/drive/folders/1AbC_d-9?usp=drive_link",
        "https://drive.google.com/drive/u/0/folders/1AbC_d-9",
        "https://drive.google.com/drive/u/12/folders/1AbC_d-9/?resourcekey=0-x#grid",
        "https://drive.google.com/drive/mobile/folders/1AbC_d-9",
        "https://drive.google.com/open?id=1AbC_d-9&usp=drive_fs",
        "https://drive.google.com/folderview?id=1AbC_d-9",
    ],
)
def test_links_are_recognised(uri: str) -> None:
    kind, sentence = recognise(uri)
    assert kind == "drive"
    assert "1AbC_d-9" in sentence


@pytest.mark.parametrize(
    "uri",
    [
        "https://drive.google.com/file/d/1AbC/view", "https://drive.google.com/drive/my-drive",
        "https://drive.google.com/drive/folders/", "https://drive.google.com/open?id=a'b",
        "https://drive.google.com/uc?id=1AbC",
    ],
)  # fmt: skip
def test_other_links_are_refused(uri: str) -> None:
    with pytest.raises(BadInput, match="folder"):
        recognise(uri)
    with pytest.raises(BadInput):
        DriveSource(SourceSpec("drive", uri, (), (("token", "x"),)), SourceTools(Fetcher()))
    assert recognise("https://drive.google.com.evil.example/drive/folders/1AbC")[0] != "drive"
