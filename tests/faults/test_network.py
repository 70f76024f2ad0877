"""Workers on machines of their own, one of which loses its network in the middle of a run.

Each machine is a network namespace with its own address, host name and home folder. PostgreSQL,
Redis, an S3-compatible blob store and the origin are reached over the bridge between them.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

from app.ingest import ledger
from app.operate import fleet
from app.settings import Settings
from app.storage import migrate
from app.storage.blobs import BlobStore, thumb_key
from app.storage.engine import session_scope
from tests.factories import make_photos
from tests.faults.conftest import LONG, PATIENCE, note, only_long
from tests.faults.installation import Installation, hashes, wait_for
from tests.faults.network import Network
from tests.faults.pictures import as_answers, pictures
from tests.faults.pool import Pool
from tests.faults.servers import Servers
from tests.origin import Origin

pytestmark = pytest.mark.slow

PHOTOS = 3000 if LONG else 100


@pytest.fixture(scope="module")
def network():
    with Network(3) as made:
        yield made


@pytest.fixture(scope="module")
def servers(network, tmp_path_factory):
    with Servers(tmp_path_factory.mktemp("servers") / "home", network.address, network.cidr) as up:
        migrate.upgrade(up.database_url)
        yield up


@pytest.fixture
def bucket(network, monkeypatch):
    """A blob store that all machines share; its variables are set for them and for this test."""
    server = ThreadedMotoServer(network.address, 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    urlopen(Request(f"{endpoint}/blobs", method="PUT"), timeout=30).close()
    yield f"s3://blobs/{secrets.token_hex(4)}"  # moto keeps what an earlier server was given
    server.stop()


class Fleet(Installation):
    """The installation as its machines see it."""

    def __init__(self, network, servers, bucket, folder) -> None:
        self._network, self._folder = network, folder
        self.settings = Settings.from_environment(
            {
                "DATABASE_URL": servers.database_url,
                "REDIS_URL": servers.redis_url,
                "CLAIR_BLOBS_URL": bucket,
                "CLAIR_SECRET_KEY": "one secret for all machines of this test",
                "CLAIR_ALLOWED_CIDRS": network.cidr,
            },
            home=folder / "unused",
        )
        self.connect(servers.database_url, servers.redis_url)
        self.blobs = BlobStore.at_url(bucket)
        self.pool = Pool(self.settings)

    def start(self, n: int):
        """A worker on machine `n`, with a home folder of its own."""
        return self.pool.start(self._folder / f"machine-{n}", prefix=self._network.inside(n))

    def seen(self) -> dict[str, fleet.WorkerSeen]:
        with session_scope(self.engine) as session:
            return {worker.host: worker for worker in fleet.workers(session)}

    def snapshot(self, run_id: int) -> list[tuple]:
        """Every photo, vector and the run itself, with the transaction that wrote each of them:
        any write at all would change it."""
        return (
            self.rows("SELECT id, xmin::text FROM photo WHERE run_id = :r ORDER BY id", r=run_id)
            + self.rows(
                "SELECT photo_id, v.xmin::text FROM photo_vector v JOIN photo ON photo.id = photo_id"
                " WHERE run_id = :r ORDER BY 1",
                r=run_id,
            )
            + self.rows("SELECT id, xmin::text FROM run WHERE id = :r", r=run_id)
        )

    def check(self, run_id: int, photos: dict[str, bytes]) -> None:
        """Every photo is there exactly once, with its content, its vector and its thumbnail."""
        assert self.states(run_id) == {"indexed": len(photos)}
        found = self.contents(run_id)
        assert [row[:2] for row in found] == hashes(photos)
        for thumb in {row[2] for row in found}:
            assert self.blobs.get(thumb_key(thumb))[8:12] == b"WEBP"


@pytest.fixture
def machines(network, servers, bucket, tmp_path):
    made = Fleet(network, servers, bucket, tmp_path)
    with made.pool:
        yield made
    made.redis.flushall()
    for table in ("event", "worker", "installation"):
        made.execute(f"DELETE FROM {table}")
    made.disconnect()


def test_a_machine_that_is_cut_off_is_replaced_and_can_do_no_harm(machines, network):
    photos = pictures(PHOTOS)
    with Origin(as_answers(photos), host=network.address) as origin:
        cut = machines.start(0)
        cut.hold()
        run_id = machines.ingest("Cut off", origin.url("/list.txt"))
        wait_for(lambda: cut.holding and sum(machines.states(run_id).values()) == PHOTOS, PATIENCE)
        held = machines.rows("SELECT id, lease FROM photo WHERE state = 'working'")
        assert held
        machines.start(1)
        machines.start(2)
        wait_for(lambda: machines.states(run_id)["indexed"] > 0, PATIENCE)
        hosts = {"machine-0", "machine-1", "machine-2"}
        assert set(machines.seen()) == hosts

        network.cut(0)
        cut_at = time.monotonic()
        if not LONG:
            machines.bury([photo for photo, _ in held])
        wait_for(lambda: machines.state(run_id) == "done", PATIENCE)
        took = time.monotonic() - cut_at
        machines.check(run_id, photos)
        leases = dict(machines.rows("SELECT id, lease FROM photo WHERE run_id = :r", r=run_id))
        assert all(leases[photo] > lease for photo, lease in held)  # taken over, all of them
        assert {leases[photo] for photo in leases if photo not in dict(held)} == {1}
        if LONG:
            assert machines.seen()["machine-0"].state is fleet.WorkerState.STALE
        before = machines.snapshot(run_id)

        # Its cable is back, and it goes on with what it held: thumbnails, vectors, counters.
        network.mend(0)
        cut.let_go()
        wait_for(lambda: machines.seen()["machine-0"].done >= len(held), PATIENCE)
        assert machines.snapshot(run_id) == before
        machines.check(run_id, photos)

        # And it works again like any other.
        for worker in machines.pool.workers[1:]:
            assert worker.end() == 0
        fresh = pictures(PHOTOS + 20)
        again = {name: fresh[name] for name in fresh if name not in photos}
        origin.answers |= as_answers(again)
        second = machines.ingest("Back again", origin.url("/list.txt"))
        wait_for(lambda: machines.state(second) == "done", PATIENCE)
        machines.check(second, again)
        assert set(machines.seen()) == {"machine-0"}
    note(f"network cut: {len(held)} photos taken over, {PHOTOS} done {took:.1f} s after the cut")


@only_long
def test_writes_that_a_cut_interrupts_change_nothing_either(machines, network):
    """The machine is cut off while it stores; what it sends again later is refused."""
    photos = pictures(40)
    with Origin(as_answers(photos), host=network.address) as origin:
        cut = machines.start(0)
        cut.hold()
        run_id = machines.ingest("Cut off while storing", origin.url("/list.txt"))
        wait_for(lambda: cut.holding and sum(machines.states(run_id).values()) == 40, PATIENCE)
        network.cut(0)
        cut.let_go()
        if not LONG:
            machines.bury()
        machines.start(1)
        wait_for(lambda: machines.state(run_id) == "done", PATIENCE)
        before = machines.snapshot(run_id)
        network.mend(0)
        wait_for(
            lambda: "chunk given back" in cut.said or machines.seen()["machine-0"].done, PATIENCE
        )
        assert machines.pool.workers[1].end() == 0
        fresh = pictures(60)
        again = {name: fresh[name] for name in fresh if name not in photos}
        origin.answers |= as_answers(again)
        second = machines.ingest("Alone", origin.url("/list.txt"))
        wait_for(lambda: machines.state(second) == "done", PATIENCE)
        assert machines.snapshot(run_id) == before
        machines.check(run_id, photos)
        machines.check(second, again)


LOCKS = """
import json, sys, time
from sqlalchemy import text
from app.storage.engine import make_engine
connection = make_engine(sys.argv[1]).connect()
lock = text("SELECT 1 FROM photo WHERE id = ANY(:ids) FOR UPDATE")
connection.execute(lock, {"ids": json.loads(sys.argv[2])})
print("locked", flush=True)
time.sleep(600)
"""


@only_long
def test_what_a_cut_machine_has_locked_does_not_hold_the_others_up(machines, network):
    """It was in the middle of a transaction, whose end PostgreSQL will never hear of."""
    made = make_photos(machines.engine, 3)
    with session_scope(machines.engine) as session:
        assert len(ledger.claim(session, made.photo_ids)) == 3
    ids = json.dumps(made.photo_ids)
    command = [*network.inside(1), sys.executable, "-c", LOCKS, machines.settings.database_url, ids]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "locked\n"
            network.cut(1)
            began = time.monotonic()
            machines.execute("UPDATE photo SET lease_until = now()")
            with session_scope(machines.engine) as session:
                assert ledger.sweep(session).suspects == 3
            note(f"locks of a cut machine: gone after {time.monotonic() - began:.1f} s")
        finally:
            process.kill()
            network.mend(1)
