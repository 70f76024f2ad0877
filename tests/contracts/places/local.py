"""Folders and lists."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place
from tests.origin import Answer, Origin


def folder(tmp_path: Path, _: ExitStack) -> Place:
    root = tmp_path / "photos"
    root.mkdir()
    for name, data in PHOTOS.items():
        (root / name).write_bytes(data)
    return Place(
        SourceSpec("folder", str(root)),
        gone=lambda name: (root / name).unlink(),
        change=lambda name, data: _write(root / name, data),
        nowhere=SourceSpec("folder", str(tmp_path / "nowhere")),
    )


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def list_on_the_web(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(served())
    origin.answers["/list.txt"] = Answer("\n".join(PHOTOS).encode())
    return Place(
        SourceSpec("list", origin.url("/list.txt")),
        gone=lambda name: origin.answers.__setitem__(f"/{name}", Answer(status=410)),
        change=changer(origin),
        nowhere=SourceSpec("list", origin.url("/missing.txt")),
    )


def list_on_disk(tmp_path: Path, held: ExitStack) -> Place:
    origin = held.enter_context(served())
    path = tmp_path / "list.csv"
    path.write_text("url,title\n" + "".join(f"{origin.url(f'/{n}')},A\n" for n in PHOTOS))
    return Place(
        SourceSpec("list", str(path)),
        gone=lambda name: origin.answers.__setitem__(f"/{name}", Answer(status=404)),
        change=changer(origin),
        nowhere=SourceSpec("list", str(tmp_path / "missing.csv")),
    )


def list_of_files(tmp_path: Path, _: ExitStack) -> Place:
    for name, data in PHOTOS.items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "list.txt"
    path.write_text("\n".join(PHOTOS))
    return Place(
        SourceSpec("list", path.as_uri()),
        gone=lambda name: (tmp_path / name).unlink(),
        change=lambda name, data: _write(tmp_path / name, data),
        nowhere=SourceSpec("list", (tmp_path / "none.txt").as_uri()),
    )


def served() -> Origin:
    """The photos over HTTP, each with an ETag and honouring If-None-Match."""
    return Origin({f"/{name}": tagged(data, '"1"') for name, data in PHOTOS.items()})


def tagged(data: bytes, tag: str):
    def respond(request):
        if request.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers={"ETag": tag})
        return Answer(data, headers={"ETag": tag})

    return respond


def changer(origin: Origin) -> Callable[[str, bytes], None]:
    def change(name: str, data: bytes) -> None:
        origin.answers[f"/{name}"] = tagged(data, '"2"')

    return change


PLACES = {
    "folder": folder,
    "list on the web": list_on_the_web,
    "list on disk": list_on_disk,
    "list of files": list_of_files,
}
