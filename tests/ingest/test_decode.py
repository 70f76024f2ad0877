"""The decode pool: right pixels from good photos, reasons for bad ones, and it never dies."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.errors import NotAnImage, Overloaded, PhotoRejected, TryAgain
from app.core.failures import CURES
from app.ingest.decode import _ENVIRONMENT, DecodeLimits, DecodePool, DecodeSpec
from tests.ingest.pictures import encoded, hostile, many_scans, mutated, of_every_kind, png, scene

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CLAIR_TEST_DATA", ROOT.parent / "shared" / "data"))
REASONS = {
    "not-an-image", "truncated", "damaged", "unsupported-format", "too-large", "too-many-scans",
    "decode-timeout", "decode-memory", "decoder-died",
}  # fmt: skip
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture
async def pool() -> AsyncIterator[DecodePool]:
    async with DecodePool(2) as pool:
        yield pool


async def reason_of(pool: DecodePool, data: bytes, spec: DecodeSpec | None = None) -> str:
    with pytest.raises(PhotoRejected) as caught:
        await pool.decode(data, spec)
    assert caught.value.message
    return caught.value.reason


async def outcome_of(pool: DecodePool, data: bytes) -> str:
    try:
        found = await pool.decode(data)
    except PhotoRejected as error:
        return error.reason if error.message else "no message"
    height, width, _ = found.pixels.shape
    assert max(width, height) <= 1024
    assert (found.width >= found.height) == (width >= height)
    return "decoded"


def child_pid(pool: DecodePool) -> int:
    return pool._alive[0].process.pid


async def test_everything_is_derived(pool: DecodePool) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "EOS R5", 6
    data = encoded(scene(1600, 1000), exif=exif)
    found = await pool.decode(data)
    assert (found.width, found.height, found.format) == (1000, 1600, "JPEG")
    assert found.pixels.shape == (1024, 640, 3)
    assert found.pixels.dtype == np.uint8
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.exif.camera == "Canon EOS R5"
    assert 0 <= found.phash < 2**64
    small = np.frombuffer(found.structure, np.uint8).reshape(48, 48).astype(float)
    whole = Image.fromarray(found.pixels).convert("L").resize((48, 48), Image.Resampling.BOX)
    assert np.abs(small - np.asarray(whole, float)).mean() < 2
    assert 0 < found.quality.exposure < 1
    thumb = Image.open(io.BytesIO(found.thumb))
    assert (thumb.format, thumb.size) == ("WEBP", (225, 360))


async def test_nothing_served_carries_metadata(pool: DecodePool) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    exif.get_ifd(0x8825)[1] = "N"
    data = encoded(scene(), exif=exif, comment=b"a secret comment")
    served = [(await pool.decode(data)).thumb]
    served += [await pool.render(data, 200, "jpeg"), await pool.render(data, 200, "webp")]
    for picture in served:
        opened = Image.open(io.BytesIO(picture))
        assert not opened.getexif()
        assert not {"exif", "icc_profile", "comment", "xmp"} & set(opened.info)
        assert b"secret" not in picture


async def test_previews(pool: DecodePool) -> None:
    data = encoded(scene(1600, 1000))
    preview = Image.open(io.BytesIO(await pool.render(data, 1024)))
    assert (preview.format, preview.size) == ("JPEG", (1024, 640))
    small = Image.open(io.BytesIO(await pool.render(encoded(scene(50, 40)), 1024)))
    assert small.size == (50, 40)


async def test_hostile_files_get_reasons_and_the_pool_lives(pool: DecodePool) -> None:
    good = encoded(scene())
    expected = (await pool.decode(good)).sha256
    decoded = 0
    for name, data in hostile():
        outcome = await outcome_of(pool, data)
        assert outcome in REASONS | {"decoded"}, name
        decoded += outcome == "decoded"
    assert (await pool.decode(good)).sha256 == expected
    assert decoded < 60


@linux
async def test_damaged_files_of_every_kind_stay_within_the_limits(pool: DecodePool) -> None:
    """SECURITY's figures: no dead pool, at most 512 MB a child, a reason and a cure every time."""
    outcomes, peak = Counter[str](), 0
    for number, (name, good) in enumerate(of_every_kind().items()):
        assert await outcome_of(pool, good) == "decoded", name
        for data in mutated(good, 30, number):
            outcomes[await outcome_of(pool, data)] += 1
        peak = max(peak, *(peak_memory(child.process.pid) for child in pool._alive))
    assert set(outcomes) <= set(CURES) | {"decoded"}
    assert 100 < outcomes["decoded"] < 350
    assert peak < 512_000_000
    assert (await pool.decode(encoded(scene()))).width == 320


def peak_memory(pid: int) -> int:
    """Bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not-an-image"),
        (b"<html>", "not-an-image"),
        (b"<svg/>", "not-an-image"),
        (encoded(scene())[:-3000], "truncated"),
        (encoded(scene(), "PNG")[:-3000], "truncated"),
        (encoded(scene(), "WEBP")[:-300], "damaged"),
        (png(20_000, 20_000, data=False), "too-large"),
        (many_scans(120, 64), "too-many-scans"),
    ],
)
async def test_reasons(pool: DecodePool, data: bytes, reason: str) -> None:
    assert await reason_of(pool, data) == reason


async def test_refusals_are_not_an_image_where_they_are(pool: DecodePool) -> None:
    with pytest.raises(NotAnImage, match="web page"):
        await pool.decode(b"<html>")
    with pytest.raises(NotAnImage, match="HEIF picture of a kind"):
        await pool.decode(b"\x00\x00\x00\x18ftypavci" + b"\x00" * 50)


async def test_the_limits_are_settings(pool: DecodePool) -> None:
    data = encoded(scene(300, 200))
    assert await reason_of(pool, data, DecodeSpec(max_pixels=59_999)) == "too-large"
    assert (await pool.decode(data, DecodeSpec(max_pixels=60_000))).width == 300


async def test_processor_time_is_bounded() -> None:
    limits = DecodeLimits(cpu_seconds=0.3)
    async with DecodePool(1, limits=limits) as pool:
        slow = many_scans(400, 1024)
        assert await reason_of(pool, slow, DecodeSpec(max_scans=1000)) == "decode-timeout"
        for _ in range(5):  # each picture has its own time: these together take longer
            await pool.decode(encoded(scene(1600, 1200)))


@linux
async def test_memory_is_bounded() -> None:
    async with DecodePool(1, limits=DecodeLimits(memory_bytes=60_000_000)) as pool:
        assert await reason_of(pool, png(6000, 6000)) == "decode-memory"
        assert (await pool.decode(encoded(scene()))).width == 320


@linux
async def test_a_webp_bomb_is_refused(pool: DecodePool) -> None:
    bomb = bytearray(encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    for width, height, reason in ((9000, 9000, "decode-memory"), (16383, 16383, "too-large")):
        bits = int.from_bytes(bomb[21:25], "little") & 0xF0000000
        bomb[21:25] = (bits | (height - 1) << 14 | (width - 1)).to_bytes(4, "little")
        assert await reason_of(pool, bytes(bomb)) == reason


async def test_a_picture_of_99_megapixels_stays_under_512_mb(pool: DecodePool) -> None:
    data = png(10_000, 9_900)
    found = await pool.decode(data)
    assert (found.width, found.height) == (10_000, 9_900)
    assert found.pixels.max() == 255  # transparent everywhere, so white
    if sys.platform.startswith("linux"):
        assert peak_memory(child_pid(pool)) < 512_000_000


@linux
@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, "decode-memory"), (signal.SIGSEGV, "decoder-died"),
     (signal.SIGXCPU, "decode-timeout")],
)  # fmt: skip
async def test_a_child_that_dies_costs_one_photo(number: int, reason: str) -> None:
    async with DecodePool(1) as pool:
        await pool.decode(encoded(scene()))
        os.kill(child_pid(pool), number)
        assert await reason_of(pool, encoded(scene())) == reason
        assert (await pool.decode(encoded(scene()))).width == 320
        assert pool.started == 2


@linux
async def test_a_child_that_hangs_is_killed() -> None:
    async with DecodePool(1, limits=DecodeLimits(wall_seconds=0.3)) as pool:
        await pool.decode(encoded(scene()))
        os.kill(child_pid(pool), signal.SIGSTOP)
        with pytest.raises(TryAgain) as caught:
            await pool.decode(encoded(scene()))
        assert caught.value.reason == "decode-timeout"
        assert (await pool.decode(encoded(scene()))).width == 320


async def test_children_are_recycled() -> None:
    async with DecodePool(1, limits=DecodeLimits(recycle_after=2)) as pool:
        for _ in range(5):
            await pool.decode(encoded(scene(64, 48)))
        assert pool.started == 3


async def test_a_cancelled_caller_leaves_no_half_read_answer() -> None:
    async with DecodePool(1) as pool:
        await pool.decode(encoded(scene()))
        task = asyncio.create_task(pool.decode(png(4000, 3000)))
        while pool._idle:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await pool.decode(encoded(scene(77, 55)))).width == 77


async def test_overload_is_refused_rather_than_queued() -> None:
    async with DecodePool(1, max_waiting=2) as pool:
        data = encoded(scene())
        outcomes = await asyncio.gather(
            *(pool.decode(data) for _ in range(8)), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, Overloaded)]
        assert len(refused) + sum(not isinstance(each, Exception) for each in outcomes) == 8
        assert refused


async def test_many_at_once_share_the_children(pool: DecodePool) -> None:
    pictures = [encoded(scene(100 + n, 80)) for n in range(30)]
    found = await asyncio.gather(*(pool.decode(data) for data in pictures))
    assert [each.width for each in found] == [100 + n for n in range(30)]
    assert pool.started == 2


@linux
async def test_a_child_holds_nothing_of_ours(
    pool: DecodePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    await pool.decode(encoded(scene()))
    process = Path(f"/proc/{child_pid(pool)}")
    variables = {each.split(b"=")[0] for each in (process / "environ").read_bytes().split(b"\0")}
    assert variables - {b""} == {name.encode() for name in _ENVIRONMENT}
    opened = sorted(os.readlink(each).split(":")[0] for each in (process / "fd").iterdir())
    assert opened == ["/dev/null"] * 3 + ["socket"]
    assert os.readlink(process / "cwd") == "/"
    assert pool.confinement is not None
    assert {"memory", "cpu", "files", "writes", "processes"} <= set(pool.confinement)


CONFINED = """
import os, socket, sys, threading
sys.path.insert(0, {root!r})
from app.ingest.decode_confine import shut
held = shut(memory_bytes=50_000_000, cpu_seconds=60, files=3)
def outcome(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(held, *(outcome(action) for action in (
    lambda: open("/etc/hostname"), lambda: socket.socket(), os.fork,
    lambda: os.kill(os.getppid(), 0), lambda: os.execv("/bin/true", ["true"]),
    lambda: os.listdir("/"), lambda: bytearray(200_000_000), lambda: bytearray(1_000_000),
    lambda: threading.Thread(target=print, args=("",), kwargs={{"end": ""}}).start(),
)))
"""


@linux
def test_the_doors_are_shut() -> None:
    script = CONFINED.format(root=str(ROOT))
    said = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    if "seccomp" not in said:
        pytest.skip("this kernel or machine has no seccomp filter")
    assert said.split("]")[1].split() == ["PermissionError"] * 6 + ["MemoryError", "done", "done"]


ORPHANED = """
import asyncio, sys
sys.path.insert(0, {root!r})
from app.ingest.decode import DecodePool
async def main():
    pool = DecodePool(1)
    try:
        await pool.decode(b"no picture")
    except Exception:
        print(pool._alive[0].process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@linux
def test_a_killed_parent_leaves_no_child() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANED.format(root=str(ROOT))], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    # Readable once the process ended.
    ready, _, _ = select.select([child], [], [], 20)
    os.close(child)
    assert ready


async def test_a_child_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ingest.decode._START", "raise SystemExit('no decoder here')")
    async with DecodePool(1) as pool:
        with pytest.raises(TryAgain, match="no decoder here") as caught:
            await pool.decode(encoded(scene()))
    assert caught.value.reason == "decoder-start"


@pytest.mark.skipif(not (DATA / "formats").is_dir(), reason="no CLAIR_TEST_DATA/formats")
async def test_odd_files_from_the_wild(pool: DecodePool) -> None:
    files = [path for path in sorted((DATA / "formats").rglob("*")) if path.is_file()]
    outcomes = Counter([await outcome_of(pool, path.read_bytes()) for path in files])
    assert outcomes["decoded"] > 390
    assert set(outcomes) <= {"decoded", "not-an-image", "truncated", "damaged"}
