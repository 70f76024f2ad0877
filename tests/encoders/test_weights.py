"""Fetching weights from a real loopback server that breaks off, lies, and forgets."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.core.errors import BadInput, Conflict, DiskFull, ModelUnavailable, UnknownModel
from app.encoders import clip_table, download, weights
from app.encoders.weights import State

DEFAULT = clip_table.DEFAULT
HUB_PATH = "/laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K/resolve/main/open_clip_model.safetensors"
FACENET_PATH = "/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt"


def safetensors_file(size: int = 300_000) -> bytes:
    header = json.dumps(
        {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(index % 251 for index in range(size))


class Origin:
    """What the server serves, how often it breaks off, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, str] = {}
        self.cut_after: list[int] = []  # bytes after which the next answers break off
        self.etag = '"one"'
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.address = ""


@pytest.fixture
def origin() -> Iterator[Origin]:
    served = Origin()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            served.paths.append(self.path)
            if self.path.startswith("/moved"):
                self._answer(self.path.removeprefix("/moved"))
            elif self.path in served.announced:  # as Hugging Face: checksum first, then elsewhere
                self.send_response(302)
                self.send_header("X-Linked-ETag", f'"{served.announced[self.path]}"')
                self.send_header("Location", "/moved" + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._answer(self.path)

        def _answer(self, path: str) -> None:
            content = served.files.get(path)
            if content is None:
                self.send_error(404)
                return
            asked = self.headers.get("Range")
            served.ranges.append(asked)
            start = 0
            if asked and self.headers.get("If-Range") == served.etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            self.send_header("ETag", served.etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = start + served.cut_after.pop(0) if served.cut_after else len(content)
            self.wfile.write(content[start:end])
            if end < len(content):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_pull_fetches_checks_and_notes(origin: Origin, tmp_path: Path) -> None:
    content = safetensors_file()
    origin.files[HUB_PATH] = content
    origin.announced[HUB_PATH] = hashlib.sha256(content).hexdigest()
    seen: list[tuple[int, int | None]] = []
    path = weights.pull(
        DEFAULT,
        tmp_path,
        mirror=origin.address,
        progress=lambda done, whole: seen.append((done, whole)),
    )
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert weights.require(DEFAULT, tmp_path) == path
    assert weights.check(DEFAULT, tmp_path).state is State.READY
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, path.name + ".json"]
    asked = len(origin.paths)
    assert weights.pull(DEFAULT, tmp_path, mirror=origin.address) == path
    assert len(origin.paths) == asked


def test_a_broken_download_goes_on_where_it_ended(origin: Origin, tmp_path: Path) -> None:
    content = origin.files[HUB_PATH] = safetensors_file()
    origin.cut_after = [100_000, 50_000]
    path = weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    assert path.read_bytes() == content
    assert origin.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_pull_resumes_too(origin: Origin, tmp_path: Path) -> None:
    content = origin.files[HUB_PATH] = safetensors_file()
    origin.cut_after = [100_000, 0, 0, 0, 0]
    with pytest.raises(ModelUnavailable, match="broke off at 100000 of") as raised:
        weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    for way in ("Try again", "--from FILE", "--profile pocket"):
        assert way in str(raised.value)
    listed = {status.name: status for status in weights.list_models(tmp_path)}
    assert listed[DEFAULT].state is State.PARTIAL
    assert listed[DEFAULT].size == 100_000
    origin.cut_after = []
    origin.ranges.clear()
    assert weights.pull(DEFAULT, tmp_path, mirror=origin.address).read_bytes() == content
    assert origin.ranges == ["bytes=100000-"]


def test_a_file_that_changed_meanwhile_starts_anew(origin: Origin, tmp_path: Path) -> None:
    origin.files[HUB_PATH] = b"old" * 90_000
    origin.cut_after = [90_000, 0]
    with pytest.raises(ModelUnavailable):
        weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    content = origin.files[HUB_PATH] = safetensors_file()
    origin.etag, origin.cut_after = '"two"', []
    assert weights.pull(DEFAULT, tmp_path, mirror=origin.address).read_bytes() == content


def test_a_wrong_checksum_is_refused_and_thrown_away(origin: Origin, tmp_path: Path) -> None:
    origin.files[HUB_PATH] = safetensors_file()
    origin.announced[HUB_PATH] = "0" * 64
    with pytest.raises(ModelUnavailable, match="checksum"):
        weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    assert list((tmp_path / "studio").iterdir()) == []


def test_an_error_page_is_no_checkpoint(origin: Origin, tmp_path: Path) -> None:
    origin.files[FACENET_PATH] = b"<html>Please sign in</html>"
    with pytest.raises(ModelUnavailable, match="not a whole PyTorch file"):
        weights.pull(weights.FACENET, tmp_path, mirror=origin.address)
    assert weights.find(weights.FACENET, tmp_path) is None


def test_the_next_address_is_tried_where_one_has_nothing(origin: Origin, tmp_path: Path) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(10)}, buffer)
    origin.files[HUB_PATH.replace("model.safetensors", "pytorch_model.bin")] = buffer.getvalue()
    path = weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    assert path.suffix == ".bin"


def test_a_server_without_the_file_is_named_with_the_ways_out(
    origin: Origin, tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable, match=r"answers 404.*--from FILE.*--profile pocket"):
        weights.pull(weights.FACENET, tmp_path, mirror=origin.address)


def test_an_unreachable_server_is_named_with_the_ways_out(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ModelUnavailable, match=r"refused.*models pull.*--from.*pocket"):
            weights.pull("facenet", tmp_path, mirror=mirror)


def test_a_full_disk_is_noticed_before_the_download(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.files[HUB_PATH] = safetensors_file()
    monkeypatch.setattr(download, "_SPARE", 1 << 60)
    with pytest.raises(DiskFull, match="MB are free"):
        weights.pull(DEFAULT, tmp_path, mirror=origin.address)


def test_two_pulls_of_one_file_do_not_mix(origin: Origin, tmp_path: Path) -> None:
    origin.files[HUB_PATH] = safetensors_file()
    part = tmp_path / "studio" / f"{DEFAULT.replace('/', '--')}.safetensors.part"
    with download._sole(part), pytest.raises(Conflict):
        weights.pull(DEFAULT, tmp_path, mirror=origin.address)


def test_a_file_can_be_brought_along(tmp_path: Path) -> None:
    mine = tmp_path / "usb" / "clip.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(safetensors_file())
    path = weights.pull("open_clip/" + DEFAULT, tmp_path, from_file=mine)
    assert path.read_bytes() == mine.read_bytes()
    assert weights.check(DEFAULT, tmp_path).state is State.READY
    for content, message in ((mine.read_bytes()[:-1], "bytes"), (b"text", "header")):
        mine.write_bytes(content)
        with pytest.raises(ModelUnavailable, match=message):
            weights.pull(DEFAULT, tmp_path, from_file=mine)
    with pytest.raises(BadInput, match="no file"):
        weights.pull(DEFAULT, tmp_path, from_file=tmp_path / "nothing.pt")
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(BadInput, match="not a checkpoint"):
        weights.pull(DEFAULT, tmp_path, from_file=tmp_path / "notes.txt")


def test_a_stated_checksum_holds_for_files_too(tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(10)}, tmp_path / "mine.pt")
    with pytest.raises(ModelUnavailable, match="not the published file"):
        weights.pull("ViT-L-14/openai", tmp_path, from_file=tmp_path / "mine.pt")


def test_check_finds_what_time_has_done(origin: Origin, tmp_path: Path) -> None:
    origin.files[HUB_PATH] = safetensors_file()
    path = weights.pull(DEFAULT, tmp_path, mirror=origin.address)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert weights.check(DEFAULT, tmp_path).state is State.DAMAGED
    path.write_bytes(content[:-5])
    status = weights.check(DEFAULT, tmp_path)
    assert (status.state, "bytes" in status.detail) == (State.DAMAGED, True)
    with pytest.raises(ModelUnavailable, match="models pull"):
        weights.require(DEFAULT, tmp_path)
    path.unlink()
    assert weights.check(DEFAULT, tmp_path).state is State.MISSING


def test_the_list_shows_every_profile(tmp_path: Path, models_dir: Path) -> None:
    listed = weights.list_models(tmp_path)
    assert {status.profile for status in listed} == {"pocket", "studio"}
    assert {one.state for one in listed if one.profile == "pocket"} == {State.AT_FIRST_USE}
    (tmp_path / "studio").mkdir()
    for name in ("ViT-B-32--openai.safetensors", "strangers--file.pt"):
        (tmp_path / "studio" / name).write_bytes(safetensors_file(10))
    names = [status.name for status in weights.list_models(tmp_path)]
    assert "ViT-B-32/openai" in names
    assert not any("strangers" in name for name in names)


@pytest.mark.parametrize("name", ["facenett", "ViT-L14/openai", "ViT-L-14", "pocket", ""])
def test_unknown_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        weights.pull(name, tmp_path)


def test_a_mirror_must_be_an_http_address(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not an http address"):
        weights.pull("facenet", tmp_path, mirror="file:///etc")
