"""Rescans: only what changed is fetched, nothing is embedded twice, nothing vanishes unasked."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.core.errors import BadInput, Conflict
from app.core.photos import BadEntry, Locator
from app.ingest import health, ledger, rescan, runs
from app.ingest.discovery import Discovery
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.progress import ProgressPublisher
from app.storage.tables import Event, Run, Source
from app.storage.tables_graph import PhotoPair
from tests.contracts.places.local import tagged
from tests.factories import RecordedJobs, make_photos
from tests.ingest.test_pipeline import COLOURS, ArithmeticImages, Bench, answers, jpeg
from tests.origin import Answer, Origin


class Counting(ArithmeticImages):
    def __init__(self):
        self.encoded = 0

    def encode_images(self, images):
        self.encoded += len(images)
        return super().encode_images(images)


@pytest.fixture
def bench(engine, redis_url, tmp_path):
    bench = Bench(engine, redis_url, tmp_path / "home")
    bench.images = Counting()
    return bench


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number, colour in enumerate(COLOURS[:4]):
        (root / f"{number}.jpg").write_bytes(jpeg(colour))
    return root


def source_of(session) -> Source:
    return session.get(Source, 1)


class TestFolder:
    def test_new_changed_moved_and_gone_are_told_apart(self, bench, folder):
        first = bench.ingest(str(folder), kind="folder")
        assert (first.indexed, first.gone, first.moved, first.changed) == (4, 0, 0, 0)
        before = dict(bench.rows("SELECT uri, id FROM photo"))
        (folder / "0.jpg").rename(folder / "renamed.jpg")
        (folder / "1.jpg").unlink()
        (folder / "2.jpg").write_bytes(jpeg((1, 200, 1)))
        (folder / "new.jpg").write_bytes(jpeg((200, 1, 200)))
        again = bench.ingest(str(folder), kind="folder")
        assert (again.state, again.unchanged) == ("done", 1)
        assert (again.moved, again.changed, again.gone, again.indexed) == (1, 1, 1, 2)
        after = dict(bench.rows("SELECT uri, id FROM photo"))
        moved, old = folder / "renamed.jpg", folder / "0.jpg"
        assert after[moved.as_uri()] == before[old.as_uri()]  # all that hangs on it stays
        assert old.as_uri() not in after
        gone = (folder / "1.jpg").as_uri()
        assert bench.rows("SELECT uri, state, health FROM photo WHERE gone_at IS NOT NULL") == [
            (gone, "indexed", "vanished")
        ]
        assert len(after) == 5

    def test_a_changed_photo_forgets_what_its_old_picture_was_compared_with(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        ids = [row[0] for row in bench.rows("SELECT id FROM photo ORDER BY uri")]
        pairs = [sorted(pair) for pair in ((ids[0], ids[2]), (ids[2], ids[3]), (ids[0], ids[1]))]
        with session_scope(bench.engine) as session:
            for a, b in pairs:
                session.add(
                    PhotoPair(
                        event_id=1,
                        a=a,
                        b=b,
                        similarity=0.9,
                        structure=0.9,
                        mirrored=False,
                        hash_distance=1,
                        same_frame=False,
                    )
                )
        (folder / "2.jpg").write_bytes(jpeg((1, 200, 1)))
        again = bench.ingest(str(folder), kind="folder")
        assert again.changed == 1
        left = bench.rows("SELECT a, b FROM photo_pair")
        assert [list(row) for row in left] == [pairs[2]]

    def test_what_vanished_stays_until_it_is_cleared_and_may_come_back(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        data = (folder / "3.jpg").read_bytes()
        (folder / "3.jpg").unlink()
        assert bench.ingest(str(folder), kind="folder").gone == 1
        assert bench.ingest(str(folder), kind="folder").gone == 0  # newly gone only
        (folder / "3.jpg").write_bytes(data)
        bench.ingest(str(folder), kind="folder")
        assert bench.rows("SELECT count(*) FROM photo WHERE health IS NOT NULL") == [(0,)]
        (folder / "3.jpg").unlink()
        bench.ingest(str(folder), kind="folder")
        with session_scope(bench.engine) as session:
            count, thumbs = rescan.clear_vanished(session, 1)
        assert (count, len(thumbs)) == (1, 1)
        assert bench.rows("SELECT count(*) FROM photo") == [(3,)]

    def test_an_empty_place_is_a_fault_and_marks_nothing_as_gone(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        for path in folder.iterdir():
            path.unlink()
        again = bench.ingest(str(folder), kind="folder")
        assert again.state == "failed"
        assert bench.rows("SELECT count(*) FROM photo WHERE gone_at IS NOT NULL") == [(0,)]
        with session_scope(bench.engine) as session:
            (told,) = health.source_health(session, 1)
        assert "No photos were found" in told.trouble

    def test_a_touched_file_is_looked_at_and_not_embedded_again(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        assert bench.images.encoded == 4
        (folder / "0.jpg").touch()
        again = bench.ingest(str(folder), kind="folder")
        assert (again.unchanged, again.indexed, again.changed) == (4, 0, 0)
        assert bench.images.encoded == 4
        assert bench.ingest(str(folder), kind="folder").unchanged == 4

    def test_a_photo_stays_in_the_gallery_while_its_new_version_fails(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        (folder / "0.jpg").write_bytes(b"not a photo any more, alas")
        again = bench.ingest(str(folder), kind="folder")
        assert (again.failed, again.unchanged) == (1, 3)
        assert bench.rows("SELECT count(*) FROM photo WHERE indexed_at IS NOT NULL") == [(4,)]
        with session_scope(bench.engine) as session:
            (told,) = health.source_health(session, 1)
        assert (told.photos, told.indexed) == (4, 4)
        assert [(t.reason, t.count) for t in told.troubles] == [("not-an-image", 1)]
        assert told.troubles[0].cure


class Hiding:
    """A place of two photos, of which one lies in a folder that is refused the second time."""

    kind, revalidates = "folder", False

    def __init__(self, *rounds):
        self.rounds = list(rounds)

    async def discover(self):
        for entry in self.rounds.pop(0):
            yield entry


def test_nothing_is_gone_behind_what_could_not_be_read(engine, redis_url):
    one, two = (Locator(f"http://o/{n}.jpg", f"http://o/{n}.jpg") for n in ("a/1", "b/2"))
    refused = BadEntry("http://o/b", "http://o/b", "forbidden", "Refused.", hides=True)
    source = Hiding([one, two], [one, refused], [one])
    with session_scope(engine) as session:
        event = create_event(session, "Hidden")
        event_id = event.id
    counts = []
    for _ in range(3):
        with session_scope(engine) as session:
            event = session.get(Event, event_id)
            run = runs.start_ingest(session, event, "folder", "/x")
            run_id = run.id
        discovery = Discovery(
            engine=engine,
            jobs=RecordedJobs(),
            progress=ProgressPublisher(redis_url),
            open_source=lambda row: source,
            model=1,
            chunk_size=4,
        )
        asyncio.run(discovery.run(run_id))
        with session_scope(engine) as session:
            counts.append(session.get(Run, run_id).gone)
            session.connection().execute(text("UPDATE run SET state = 'done'"))
            session.connection().execute(
                text(
                    "UPDATE photo SET state = 'indexed', indexed_at = now() WHERE state = 'pending'"
                )
            )
    assert counts == [0, 0, 1]
    with engine.connect() as connection:  # the refusal is settled, so it is no failure any more
        left = connection.execute(text("SELECT source_key, health FROM photo ORDER BY 1")).all()
    assert [tuple(row) for row in left] == [
        ("http://o/a/1.jpg", None),
        ("http://o/b/2.jpg", "vanished"),
    ]


class TestList:
    def served(self, tag: str = '"1"'):
        found = answers({f"/{n}.jpg": b"" for n in range(4)})
        return found | {f"/{n}.jpg": tagged(jpeg(COLOURS[n]), tag) for n in range(4)}

    def test_unchanged_photos_cost_a_question_and_no_bytes(self, bench):
        with Origin(self.served()) as origin:
            bench.ingest(origin.url("/list.txt"))
            again = bench.ingest(origin.url("/list.txt"))
            asked = [dict(headers) for path, headers in origin.seen if path == "/0.jpg"]
        assert (again.unchanged, again.indexed, again.fetched, again.bytes) == (4, 0, 0, 0)
        assert [each.get("If-None-Match") for each in asked] == [None, '"1"']
        assert bench.images.encoded == 4

    def test_a_changed_etag_with_the_same_bytes_is_not_embedded_again(self, bench):
        with Origin(self.served()) as origin:
            bench.ingest(origin.url("/list.txt"))
            origin.answers.update(self.served('"2"'))
            again = bench.ingest(origin.url("/list.txt"))
            assert (again.unchanged, again.changed) == (4, 0)
            assert bench.rows("SELECT DISTINCT version FROM photo") == [('"2"',)]
        assert bench.images.encoded == 4

    def test_changed_photos_and_dead_addresses_are_found(self, bench):
        with Origin(self.served()) as origin:
            bench.ingest(origin.url("/list.txt"))
            origin.answers["/1.jpg"] = tagged(jpeg((5, 5, 250)), '"2"')
            origin.answers["/2.jpg"] = Answer(status=404)
            again = bench.ingest(origin.url("/list.txt"))
        assert (again.unchanged, again.changed, again.failed) == (2, 1, 1)
        assert bench.rows("SELECT health FROM photo WHERE health IS NOT NULL") == [("not-found",)]
        assert bench.images.encoded == 5

    def test_a_source_that_broke_off_marks_nothing_as_gone(self, bench):
        with Origin(self.served()) as origin:
            bench.ingest(origin.url("/list.txt"))
            origin.answers["/list.txt"] = Answer(b"/0.jpg\n/1.jpg\n", announced=500, cut=8)
            bench.ingest(origin.url("/list.txt"))
        assert bench.rows("SELECT count(*) FROM photo WHERE gone_at IS NOT NULL") == [(0,)]


class TestRepointing:
    def repoint(self, bench, old, new):
        with session_scope(bench.engine) as session:
            return rescan.repoint(session, source_of(session), old, new)

    def test_a_folder_that_moved_keeps_its_vectors(self, bench, folder, tmp_path):
        bench.ingest(str(folder), kind="folder")
        ids = bench.rows("SELECT id FROM photo ORDER BY id")
        moved = tmp_path / "elsewhere"
        folder.rename(moved)
        assert bench.ingest(str(folder), kind="folder").state == "failed"
        assert self.repoint(bench, str(folder), f"{moved}/") == 4
        again = bench.ingest(str(moved), kind="folder")
        assert (again.state, again.unchanged, again.indexed, again.gone) == ("done", 4, 0, 0)
        assert bench.rows("SELECT id FROM photo ORDER BY id") == ids
        assert bench.images.encoded == 4
        assert bench.rows("SELECT count(*) FROM source") == [(1,)]

    def test_a_web_list_at_another_host(self, bench):
        served = TestList().served()
        with Origin(served) as old:
            bench.ingest(old.url("/list.txt"))
            base = old.url("")
        with Origin({f"/archive{path}": answer for path, answer in served.items()}) as new:
            new.answers["/archive/list.txt"] = Answer(b"0.jpg\n1.jpg\n2.jpg\n3.jpg")
            assert self.repoint(bench, base, new.url("/archive")) == 4
            again = bench.ingest(new.url("/archive/list.txt"))
        assert (again.unchanged, again.indexed, again.gone) == (4, 0, 0)
        assert bench.images.encoded == 4

    def test_names_may_be_written_as_they_are(self, engine):
        """Addresses in a bucket are percent-encoded; the source's is as the person wrote it."""
        made = make_photos(engine, 1)
        with session_scope(engine) as session:
            session.connection().execute(
                text(
                    "UPDATE source SET uri = 's3://b/My Photos'; UPDATE photo SET"
                    " uri = 's3://b/My%20Photos/1.jpg', source_key = 's3://b/My%20Photos/1.jpg'"
                )
            )
            source = session.get(Source, made.source_id)
            assert rescan.repoint(session, source, "s3://b/My Photos", "s3://c/Our Photos/") == 1
            assert source.uri == "s3://c/Our Photos"
        with engine.connect() as connection:
            uri = connection.execute(text("SELECT source_key FROM photo")).scalar_one()
        assert uri == "s3://c/Our%20Photos/1.jpg"

    @pytest.mark.parametrize(
        "new", ["/etc", "file:///etc", "ftp://x", "s3://b", "https://ada:secret@h", "nonsense"]
    )
    def test_web_addresses_stay_web_addresses(self, engine, new):
        """A list on the web must not become a list on the server's disk, which could be read so."""
        made = make_photos(engine, 1)
        with session_scope(engine) as session, pytest.raises(BadInput) as caught:
            rescan.repoint(session, session.get(Source, made.source_id), "http://o", new)
        assert "secret" not in str(caught.value)

    def test_only_whole_steps_of_a_path_count(self, bench, folder):
        bench.ingest(str(folder), kind="folder")
        with pytest.raises(BadInput, match="No address"):
            self.repoint(bench, str(folder)[:-2], "/other")
        with pytest.raises(BadInput, match="different"):
            self.repoint(bench, str(folder), f"{folder}/")
        assert bench.rows("SELECT count(*) FROM photo WHERE uri LIKE '%/photos/%'") == [(4,)]

    def test_an_address_that_is_taken_is_a_conflict_and_changes_nothing(
        self, bench, folder, tmp_path
    ):
        other = tmp_path / "other"
        other.mkdir()
        (other / "0.jpg").write_bytes(jpeg((9, 9, 9)))
        bench.ingest(str(folder), kind="folder")
        bench.ingest(str(other), kind="folder")
        before = bench.rows("SELECT uri FROM photo ORDER BY id")
        with pytest.raises(Conflict):
            self.repoint(bench, str(folder), str(other))
        assert bench.rows("SELECT uri FROM photo ORDER BY id") == before


class TestRenditions:
    """What the files hold doesn't matter here, so JPEGs with other endings stand for RAW files."""

    def rows(self, bench):
        return bench.rows(
            "SELECT p.id, p.uri, r.uri FROM photo p LEFT JOIN photo_rendition r ON r.photo_id = p.id"
            " ORDER BY p.id"
        )

    def test_raw_and_jpeg_are_one_photo(self, bench, folder):
        for number in range(4):
            (folder / f"{number}.NEF").write_bytes(b"raw")
        summary = bench.ingest(str(folder), kind="folder")
        assert (summary.discovered, summary.indexed, summary.failed) == (4, 4, 0)
        for _, main, other in self.rows(bench):
            assert main.endswith(".jpg")
            assert other == main.replace(".jpg", ".NEF")
        again = bench.ingest(str(folder), kind="folder")
        assert (again.unchanged, again.gone, again.discovered) == (4, 0, 4)

    def test_a_partner_that_comes_later_joins_the_photo(self, bench, folder):
        for path in list(folder.iterdir())[1:]:
            path.unlink()
        (jpg,) = folder.iterdir()
        raw = jpg.with_suffix(".heic")
        jpg.rename(raw)
        bench.ingest(str(folder), kind="folder")
        ((photo_id, uri, _),) = self.rows(bench)
        assert uri.endswith(".heic")
        jpg.write_bytes(jpeg((3, 3, 3)))
        again = bench.ingest(str(folder), kind="folder")
        assert (again.unchanged, again.indexed) == (1, 0)
        assert self.rows(bench) == [(photo_id, uri, jpg.as_uri())]
        raw.unlink()  # now only the JPEG is left: it becomes the main file
        again = bench.ingest(str(folder), kind="folder")
        assert (again.gone, again.indexed, again.failed) == (0, 1, 0)
        assert self.rows(bench) == [(photo_id, jpg.as_uri(), None)]


def test_a_stale_claim_cannot_call_a_photo_unchanged(bench, folder):
    bench.ingest(str(folder), kind="folder")
    with session_scope(bench.engine) as session:
        session.connection().execute(text("UPDATE photo SET state = 'pending' WHERE id = 1"))
        (claim,) = ledger.claim(session, [1], bench.image_model)
    assert claim.held_sha256 is not None
    with session_scope(bench.engine) as session:
        ledger.mark_unchanged(session, replace(claim, lease=claim.lease - 1), "x")
    assert bench.rows("SELECT state FROM photo WHERE id = 1") == [("working",)]


@pytest.mark.parametrize("seconds", [0, 299, 10**9])
def test_a_schedule_that_makes_no_sense_is_refused(bench, folder, seconds):
    bench.ingest(str(folder), kind="folder")
    with pytest.raises(BadInput), session_scope(bench.engine) as session:
        rescan.schedule(session, source_of(session), seconds)
