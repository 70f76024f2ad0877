"""A chunk's whole way, with the real fetcher, decoder, PostgreSQL and Redis.

Only the encoders are stand-ins, because these tests are about the way, not the models: they turn
pixels into vectors by arithmetic. tests/workers runs the same way with the real models.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlmodel import select

from app.core.errors import ServiceDown
from app.core.faces import DetectedFace
from app.core.jobs import Job
from app.core.sources import SourceSpec
from app.core.vectors import normalised
from app.ingest import control, figures, rescan, runs
from app.ingest.consent import set_faces
from app.ingest.decode import DecodePool, DecodeSpec
from app.ingest.discovery import Discovery
from app.ingest.pipeline import Pipeline
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.open import SourceOpener
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.events import create_event, find_event
from app.storage.progress import ProgressPublisher
from app.storage.sealing import Sealer
from app.storage.tables import Source
from app.storage.vectors import event_vectors, model_number
from tests.factories import FACE_MODEL, IMAGE_MODEL, RecordedJobs
from tests.origin import LOOPBACK, Answer, Origin

SEALER = Sealer("a secret for tests, long enough for anybody")


class ArithmeticImages:
    info = IMAGE_MODEL

    def encode_images(self, images):
        return normalised(np.stack([np.resize(im.mean(axis=(0, 1)), 8) + 1 for im in images]))


class OneFaceEach:
    info = FACE_MODEL

    def detect(self, images):
        landmarks = np.full((5, 2), 0.5, np.float32)
        vector = np.ones(4, np.float32)
        return [[DetectedFace((0.1, 0.2, 0.5, 0.6), landmarks, 0.99, vector)] for _ in images]


def jpeg(colour, size=(300, 200), taken="2026:06:20 14:00:00") -> bytes:
    image = Image.new("RGB", size, colour)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = taken
    data = io.BytesIO()
    image.save(data, "JPEG", exif=exif)
    return data.getvalue()


@pytest.fixture
def bench(engine, redis_url, tmp_path):
    """Runs an ingest to its end, feeding every sent job back in, as workers do."""
    return Bench(engine, redis_url, tmp_path / "home")


class Bench:
    def __init__(self, engine, redis_url, home: Path) -> None:
        self.engine, self.redis_url, self.home = engine, redis_url, home
        self.blobs = BlobStore.in_folder(home / "blobs")
        self.jobs = RecordedJobs()
        self.images = ArithmeticImages()
        with session_scope(engine) as session:
            self.image_model = model_number(session, IMAGE_MODEL)
            self.face_model = model_number(session, FACE_MODEL)

    def start_spec(self, spec: SourceSpec) -> int:
        with session_scope(self.engine) as session:
            event = find_event(session, "party") or create_event(session, "Party")
            return runs.start_ingest(
                session,
                event,
                spec.kind,
                spec.uri,
                options=dict(spec.options),
                sealed=SEALER.seal(dict(spec.credentials)),
            ).id

    def ingest_spec(self, spec: SourceSpec):
        run_id = self.start_spec(spec)
        self.jobs.sent = [(Job.DISCOVER, run_id)]
        return self.finish(run_id)

    def start(self, url: str, *, faces: bool = False, kind: str = "list") -> int:
        with session_scope(self.engine) as session:
            event = find_event(session, "party") or create_event(session, "Party")
            if faces:
                set_faces(session, event, on=True, purpose="test", by="test")
            return runs.start_ingest(session, event, kind, url).id

    def ingest(self, url: str, *, faces: bool = False, times: int = 1, kind: str = "list"):
        run_id = self.start(url, faces=faces, kind=kind)
        self.jobs.sent = [(Job.DISCOVER, run_id)] * times
        return self.finish(run_id, times)

    def finish(self, run_id: int, times: int = 1):
        """Carry out what was sent, and all that follows from it."""
        asyncio.run(self.drain(times))
        with session_scope(self.engine) as session:
            return figures.run_summary(session, run_id)

    async def drain(self, times: int) -> None:
        limits = FetchLimits(max_bytes=5_000_000, attempts=1)
        progress = ProgressPublisher(self.redis_url)
        async with (
            Fetcher(AddressPolicy(LOOPBACK), limits) as fetcher,
            SourceTools(fetcher) as tools,
            DecodePool(2) as decoder,
        ):
            opener = SourceOpener(tools)
            common = {
                "engine": self.engine,
                "jobs": self.jobs,
                "progress": progress,
                "open_source": lambda row: opener(SEALER.spec(row)),
                "chunk_size": 4,
            }
            discovery = Discovery(model=self.image_model, **common)
            pipeline = Pipeline(
                blobs=self.blobs,
                decoder=decoder,
                spec=DecodeSpec(max_pixels=4_000_000),
                images=self.images,
                faces=OneFaceEach(),
                image_model=self.image_model,
                face_model=self.face_model,
                max_photo_bytes=5_000_000,
                **common,
            )
            while self.jobs.sent:
                batch, self.jobs.sent = self.jobs.sent, []
                work = []
                for job, *arguments in batch:
                    if job is Job.DISCOVER:
                        work += [discovery.run(*arguments)]
                    elif job is Job.INGEST_CHUNK:
                        self._make_due()
                        work += [pipeline.run() for _ in range(times)]
                await asyncio.gather(*work)

    def _make_due(self) -> None:
        with session_scope(self.engine) as session:
            session.connection().execute(
                text("UPDATE photo SET retry_at = now() WHERE state = 'retry'")
            )

    def rows(self, sql: str):
        with self.engine.connect() as connection:
            return connection.execute(text(sql)).all()


def answers(photos: dict[str, bytes | Answer]) -> dict[str, Answer]:
    listed = "\n".join(photos)
    found = {name: a if isinstance(a, Answer) else Answer(a) for name, a in photos.items()}
    return found | {"/list.txt": Answer(listed.encode())}


COLOURS = [(30 * n, 200 - 20 * n, 10 * n) for n in range(8)]


def test_photos_arrive_with_everything_that_is_derived(bench):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    assert (summary.state, summary.discovered, summary.indexed) == ("done", 8, 8)
    assert summary.fetched == 8
    assert summary.bytes == sum(map(len, photos.values()))
    rows = bench.rows(
        "SELECT width, height, taken_at, format, thumb, sha256, phash, sharpness, structure FROM photo"
    )
    assert len(rows) == 8
    for width, height, taken_at, kind, thumb, sha256, phash, sharpness, structure in rows:
        assert (width, height, kind) == (300, 200, "JPEG")
        assert taken_at.isoformat() == "2026-06-20T14:00:00"
        assert len(bytes(sha256)) == 32
        assert phash is not None
        assert sharpness >= 0
        assert len(bytes(structure)) == 48 * 48
        thumbnail = Image.open(io.BytesIO(bench.blobs.get(f"thumb/{thumb[:2]}/{thumb}.webp")))
        assert thumbnail.size == (300, 200)  # smaller than 360 px: not blown up
        assert not thumbnail.getexif()
    with session_scope(bench.engine) as session:
        _, vectors = event_vectors(session, 1, bench.image_model)
    assert vectors.shape == (8, 8)
    assert bench.rows("SELECT count(*) FROM face") == [(0,)]  # no consent, no faces
    assert summary.stages["graph"] == "pending"


def test_every_message_twice_changes_nothing(bench):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        summary = bench.ingest(origin.url("/list.txt"), faces=True, times=2)
    assert (summary.indexed, summary.failed, summary.discovered) == (8, 0, 8)
    assert bench.rows("SELECT count(*), count(DISTINCT photo_id) FROM photo_vector") == [(8, 8)]
    assert bench.rows("SELECT count(*) FROM face") == [(8,)]
    assert bench.rows("SELECT count(*) FROM face_vector") == [(8,)]
    assert bench.rows("SELECT count(*) FROM run WHERE kind = 'graph'") == [(1,)]


def test_bad_entries_are_kept_with_reasons_and_cost_the_others_nothing(bench):
    good = jpeg((1, 2, 3))
    photos = {
        "/good.jpg": good,
        "/404.jpg": Answer(status=404),
        "/403.jpg": Answer(status=403),
        "/429.jpg": Answer(status=429, headers={"Retry-After": "0"}),
        "/page.jpg": b"<html>not a photo</html>",
        "/truncated.jpg": jpeg((9, 9, 9), (1500, 1500))[:9000],
        "/huge.jpg": Answer(good, announced=900_000_000),
        "/wide.png": png_header(60_000, 60_000),
        "/lies.jpg": Answer(good, announced=len(good) + 500, cut=len(good)),
        "/late.jpg": Answer(status=503, then=Answer(good)),
    }
    listed = "\n".join([*photos, "/good.jpg", "http://169.254.169.254/x.jpg", "ftp://h/y.jpg"])
    found = answers(photos) | {"/list.txt": Answer(listed.encode() + b"\n/b\xff\xfe.jpg\n")}
    with Origin(found) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    reasons = {
        uri.rsplit("/", 1)[-1]: reason
        for uri, reason in bench.rows("SELECT uri, reason FROM photo WHERE state = 'rejected'")
    }
    assert summary.state == "done"
    assert summary.indexed == 2  # good and late
    assert summary.duplicates == 1
    assert summary.failed == len(reasons) == 11
    assert reasons["404.jpg"] == "not-found"
    assert reasons["403.jpg"] == "forbidden"
    assert reasons["429.jpg"] == "rate-limited"
    assert reasons["page.jpg"] == "not-an-image"
    assert reasons["truncated.jpg"] == "truncated"
    assert reasons["huge.jpg"] == "too-large"
    assert reasons["wide.png"] == "too-large"
    assert reasons["x.jpg"] == "forbidden-address"
    assert reasons["y.jpg"] == "bad-address"
    assert all(group.cure and group.message for group in summary.failures)


def png_header(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("L", (1, 1)).save(data, "PNG")
    raw = bytearray(data.getvalue())
    raw[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    return bytes(raw)


def test_no_original_ever_touches_the_disk(bench, tmp_path, monkeypatch):
    """Watches the home, the temporary folder and the current folder while photos stream."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(scratch)
    originals = {
        f"/{n}.jpg": jpeg(tuple(np.random.default_rng(n).integers(0, 255, 3)), (900, 700))
        for n in range(24)
    }
    marks = [data[200:264] for data in originals.values()]
    seen: list[Path] = []
    sizes: set[int] = set()
    stop = threading.Event()
    watched = (bench.home, scratch)

    def watch() -> None:
        while not stop.is_set():
            for folder in watched:
                for path in folder.rglob("*"):
                    try:
                        data = path.read_bytes() if path.is_file() else b""
                    except OSError:
                        continue
                    sizes.add(len(data))
                    if any(mark in data for mark in marks) or data[:3] == b"\xff\xd8\xff":
                        seen.append(path)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Origin(answers(originals)) as origin:
            summary = bench.ingest(origin.url("/list.txt"))
    finally:
        stop.set()
        watcher.join()
    assert summary.indexed == 24
    assert seen == []
    assert len(sizes) > 1  # the watcher did see files
    kept = {path.suffix for path in bench.home.rglob("*") if path.is_file()}
    assert kept == {".webp"}


def test_a_photo_that_breaks_the_encoder_does_not_take_its_chunk_along(bench):
    class Fragile(ArithmeticImages):
        def encode_images(self, images):
            if any(im.mean() > 250 for im in images):
                raise RuntimeError("out of luck")
            return super().encode_images(images)

    bench.images = Fragile()
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS[:3])}
    photos["/white.jpg"] = jpeg((255, 255, 255))
    with Origin(answers(photos)) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    assert (summary.indexed, summary.failed) == (3, 1)
    assert summary.failures[0].reason == "internal"


def test_when_a_service_fails_photos_go_back_untouched(bench):
    class Down(ArithmeticImages):
        def encode_images(self, images):
            raise ServiceDown("gone")

    bench.images = Down()
    with Origin(answers({"/a.jpg": jpeg((1, 2, 3))})) as origin, pytest.raises(ServiceDown):
        bench.ingest(origin.url("/list.txt"))
    assert bench.rows("SELECT state, attempts FROM photo") == [("pending", 0)]


def test_a_slow_photo_does_not_keep_its_chunk_waiting(bench):
    """The slow origin answers only once the others of the same chunk are indexed."""
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS[:3])}

    def when_others_are_indexed(_):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if bench.rows("SELECT count(*) FROM photo WHERE state = 'indexed'")[0][0] == 3:
                return Answer(jpeg((9, 9, 9)))
        return Answer(status=500)

    found = answers(photos | {"/slow.jpg": b""}) | {"/slow.jpg": when_others_are_indexed}
    with Origin(found) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    assert (summary.indexed, summary.failed) == (4, 0)


def test_a_second_ingest_fetches_nothing_again(bench):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        bench.ingest(origin.url("/list.txt"))
        again = bench.ingest(origin.url("/list.txt"))
        assert origin.requests["/0.jpg"] == 1
    assert (again.indexed, again.unchanged, again.state) == (0, 8, "done")
    assert again.stages["graph"] == "none"


def test_faces_come_with_consent_and_later_consent_brings_them_later(bench):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        bench.ingest(origin.url("/list.txt"))
        again = bench.ingest(origin.url("/list.txt"), faces=True)
    assert again.indexed == 8
    assert bench.rows("SELECT count(*) FROM face_vector") == [(8,)]
    left, top = bench.rows("SELECT box_left, box_top FROM face")[0]
    assert (left, top) == pytest.approx((0.1, 0.2))
    # Plain colours have no edges, and a nose between eyes that are one point says nothing.
    sharpness, frontal = bench.rows("SELECT sharpness, frontal FROM face")[0]
    assert (sharpness, frontal) == (pytest.approx(0, abs=2), 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b""), "No photos"),
        (Answer(status=404), "404"),
        (
            Answer(
                b"<!doctype html><html><body>hi</body></html>",
                headers={"Content-Type": "text/html"},
            ),
            "page",
        ),
    ],
)
def test_a_source_without_photos_says_so(bench, answer, said):
    with Origin({"/list.txt": answer}) as origin:
        summary = bench.ingest(origin.url("/list.txt"))
    assert summary.state == "failed"
    assert said in summary.message


@pytest.mark.parametrize(("deed", "left"), [("pause", "pending"), ("cancel", "cancelled")])
def test_what_is_on_its_way_when_somebody_stops_the_run_is_given_back(
    bench, eventually, deed, left
):
    """The origin keeps all but two photos waiting for ten minutes; nobody waits for them."""
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    slow = {name: Answer(data, delay=600) for name, data in list(photos.items())[2:]}
    with Origin(answers(photos | slow)) as origin:
        run_id = bench.start(origin.url("/list.txt"))
        bench.jobs.sent = [(Job.DISCOVER, run_id)]
        working = threading.Thread(target=lambda: asyncio.run(bench.drain(1)), daemon=True)
        working.start()
        eventually(
            lambda: bench.rows("SELECT count(*) FROM photo WHERE state = 'indexed'") == [(2,)]
        )
        with session_scope(bench.engine) as session:
            getattr(control, deed)(session, run_id)
        working.join(60)
        assert not working.is_alive()
    assert bench.rows("SELECT state, count(*), max(attempts) FROM photo GROUP BY 1 ORDER BY 1") == [
        *([("cancelled", 6, 0)] if left == "cancelled" else []),
        ("indexed", 2, 1),
        *([("pending", 6, 0)] if left == "pending" else []),
    ]
    with session_scope(bench.engine) as session:
        summary = figures.run_summary(session, run_id)
    assert (summary.indexed, summary.failed) == (2, 0)
    assert summary.cancelled == (6 if left == "cancelled" else 0)


def test_a_schedule_leaves_a_paused_run_alone(bench):
    with Origin(answers({"/0.jpg": jpeg(COLOURS[0])})) as origin:
        run_id = bench.start(origin.url("/list.txt"))
        with session_scope(bench.engine) as session:
            source = session.exec(select(Source)).one()
            rescan.schedule(session, source, 300)
            session.connection().execute(text("UPDATE source SET next_scan_at = now()"))
            control.pause(session, run_id)
            session.flush()
            assert rescan.due_sources(session) == []
            assert rescan.due_sources(session) == []  # its turn has passed
            session.connection().execute(text("UPDATE source SET next_scan_at = now()"))
            control.cancel(session, run_id)
            session.flush()
            assert rescan.due_sources(session) == [source.id]


def test_who_scans_at_the_same_time_gets_the_same_run(bench):
    with Origin(answers({"/0.jpg": jpeg(COLOURS[0])})) as origin:
        bench.ingest(origin.url("/list.txt"))
    started: list[int] = []
    together = threading.Barrier(4)

    def scan() -> None:
        with session_scope(bench.engine) as session:
            source = session.exec(select(Source)).one()
            together.wait()
            started.append(runs.start_scan(session, source).id)

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 4
    assert len(set(started)) == 1


def test_a_run_that_is_paused_and_read_again_counts_its_photos_once(bench):
    photos = {f"/{n}.jpg": jpeg(c) for n, c in enumerate(COLOURS)}
    with Origin(answers(photos)) as origin:
        run_id = bench.start(origin.url("/list.txt"))
        bench.ingest(origin.url("/list.txt"))
        with session_scope(bench.engine) as session:  # one more photo is found, and it is paused
            session.connection().execute(
                text("UPDATE run SET state = 'paused', finished_at = NULL, summary = NULL")
            )
        again = bench.ingest(origin.url("/list.txt"))
    assert again.id == run_id
    assert (again.discovered, again.indexed, again.unchanged) == (8, 8, 0)
