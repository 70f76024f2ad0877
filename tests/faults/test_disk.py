"""A full disk, under the thumbnails and under PostgreSQL: nothing is lost, and once there is room
again everything goes on by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from app.embedded.ports import free_port
from app.embedded.services import start_services
from app.settings import Settings
from app.storage import migrate
from app.storage.blobs import BlobStore, open_blobs, thumb_key
from tests.faults.conftest import LONG, PATIENCE, note, only_long
from tests.faults.installation import Installation, hashes, wait_for
from tests.faults.pictures import as_answers, pictures
from tests.faults.place import Place
from tests.faults.pool import Pool
from tests.origin import Origin

pytestmark = pytest.mark.slow

PHOTOS = 3000 if LONG else 100
START_MB = 700  # the embedded services refuse to start with less than 500 MB


class Disk:
    """A file system whose size changes while it is in use."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        done = self._mount("mount", "-t", "tmpfs", "-o", f"size={START_MB}m", "tmpfs", str(folder))
        if os.geteuid() != 0 or done.returncode:
            pytest.skip("a file system can only be mounted by root, outside a plain container")

    def _mount(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def resize(self, size: int) -> None:
        done = self._mount("mount", "-o", f"remount,size={size}", str(self.folder))
        assert done.returncode == 0, done.stderr

    def fill(self) -> None:
        """Take all the room that is left."""
        self.resize(shutil.disk_usage(self.folder).used)

    def remove(self) -> None:
        self._mount("umount", str(self.folder))


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()


def run_through(ledger, worker, disk, url: str, what: str) -> int:
    """Ingest while the disk fills up after a third of the photos, and has room again later."""
    run_id = ledger.ingest("Full disk", url)
    wait_for(lambda: ledger.states(run_id)["indexed"] >= PHOTOS // 3, PATIENCE)
    disk.fill()
    wait_for(lambda: "indexing rests" in worker.said, PATIENCE)
    disk.resize(START_MB * 1_000_000)
    took = wait_for(lambda: ledger.state(run_id) == "done", PATIENCE)
    note(f"disk full under {what}: {PHOTOS} done {took:.1f} s after there was room again")
    return run_id


def check(ledger, run_id: int, photos: dict[str, bytes], blobs: BlobStore) -> None:
    assert ledger.states(run_id) == {"indexed": PHOTOS}
    assert ledger.deaths(run_id) == 0  # the fault was nobody's who worked
    found = ledger.contents(run_id)
    assert [row[:2] for row in found] == hashes(photos)
    for _, _, thumb in found:
        data = blobs.get(thumb_key(thumb))
        assert (
            len(data) == int.from_bytes(data[4:8], "little") + 8
        )  # RIFF's own length: it is whole


def test_no_room_for_thumbnails(ledger, local, disk, tmp_path):
    photos = pictures(PHOTOS)
    shared = (disk.folder / "blobs").as_uri()
    settings = Settings.from_environment({**local.to_environment(), "CLAIR_BLOBS_URL": shared})
    with Origin(as_answers(photos)) as origin, Pool(settings) as pool:
        run_id = run_through(ledger, pool.start(), disk, origin.url("/list.txt"), "the thumbnails")
        check(ledger, run_id, photos, BlobStore.at_url(shared))
        assert sum(origin.requests.values()) < 3 * PHOTOS  # not fetched in vain again and again


def test_no_room_for_the_database(disk, tmp_path):
    photos = pictures(PHOTOS)
    embedded = Settings.from_environment({}, home=disk.folder / "home")
    with start_services(embedded, durable=False) as services:
        migrate.upgrade(services.database_url)
        settings = Settings.from_environment(
            {
                **services.environment(),
                "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8",
            },
            home=tmp_path / "worker",  # with the thumbnails, on another disk
        )
        ledger = Installation()
        ledger.connect(services.database_url, services.redis_url)
        with Origin(as_answers(photos)) as origin, Pool(settings) as pool:
            worker = pool.start()
            run_id = run_through(ledger, worker, disk, origin.url("/list.txt"), "the database")
            assert "PostgreSQL has no disk space left" in worker.said
            check(ledger, run_id, photos, open_blobs(settings.home, None))
        ledger.disconnect()


@only_long
def test_no_room_for_anything_on_a_whole_machine(disk, few):
    """`clairvision up` with its home on the disk that fills: database, thumbnails, logs and all. It
    stays full for a while, and nobody does anything but make room."""
    place = Place(disk.folder / "home", free_port())
    place.start()
    with Origin(as_answers(few)) as origin:
        run_id = place.ingest("Full machine", origin.url("/list.txt"))
        wait_for(lambda: place.states(run_id)["indexed"] >= len(few) // 4, PATIENCE)
        disk.fill()
        time.sleep(45)
        disk.resize(START_MB * 1_000_000)
        took = wait_for(lambda: place.state(run_id) == "done", PATIENCE)
        place.drop_stages(run_id)
    assert place.states(run_id) == {"indexed": len(few)}
    assert [found[:2] for found in place.contents(run_id)] == hashes(few)
    assert place.page("/readyz") == 200
    place.stop()
    note(f"disk full under a whole machine: done {took:.1f} s after there was room again")
