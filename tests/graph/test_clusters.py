"""The clusters stage: rows, members and names in the database, stable while the event grows."""

import numpy as np
import pytest
from sqlalchemy import text

from app.core.errors import ModelUnavailable
from app.core.vectors import normalised
from app.graph.build import GraphStage
from app.graph.clusters import ClustersStage
from app.graph.stage import carry_out
from app.ingest import runs
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.storage.vectors import store_photo_vectors
from tests.factories import IMAGE_MODEL, index_photos, make_photos

WORDS = ["dog", "wedding", "concert", "snow", "cake", "DJ"]


class Encoder:
    """The n-th word is the n-th axis."""

    info = IMAGE_MODEL

    def encode_texts(self, texts):
        return np.eye(8, dtype=np.float32)[[WORDS.index(one) for one in texts]]


def looks(*shown, seed=0):
    """A vector for each word."""
    random = np.random.default_rng(seed)
    rows = np.eye(8)[[WORDS.index(word) for word in shown]] + np.eye(8)[7]
    return normalised(rows + random.normal(scale=0.03, size=rows.shape))


@pytest.fixture
def blobs(tmp_path):
    return BlobStore.in_folder(tmp_path / "blobs")


@pytest.fixture
def cluster(engine, tmp_path, blobs):
    """Runs graph and clusters of an event; returns the clusters' run."""

    def run_stages(made, encoder=Encoder):
        for stage in (
            GraphStage(engine, IMAGE_MODEL, tmp_path / "kept"),
            ClustersStage(IMAGE_MODEL, blobs, encoder, words=WORDS),
        ):
            with session_scope(engine) as session:
                run_id = runs.start_stage(session, made.event_id, stage.kind).id
            carried = carry_out(engine, run_id, stage)
        assert carried.following.kind == RunKind.LAYOUT
        with session_scope(engine) as session:
            return session.get(Run, run_id)

    return run_stages


def add_photos(engine, made, vectors):
    with session_scope(engine) as session:
        ids = session.connection().execute(
            text(
                "INSERT INTO photo (event_id, source_id, source_key, uri, state, indexed_at, thumb)"
                " SELECT :event, :source, 'more ' || n || clock_timestamp(), 'u', 'indexed',"
                " clock_timestamp(), 'ab' FROM generate_series(1, :n) AS n RETURNING id"
            ),
            {"event": made.event_id, "source": made.source_id, "n": len(vectors)},
        )
        rows = [(row[0], made.event_id, v) for row, v in zip(ids.all(), vectors, strict=True)]
        store_photo_vectors(session, made.model, rows)
    return [row[0] for row in rows]


def stored(engine, level="chapter"):
    """Clusters by name, as dictionaries, with their `photos`."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT * FROM cluster WHERE level = :level ORDER BY id"), {"level": level}
        ).mappings()
        found = {row["name"]: dict(row, photos=set()) for row in rows}
        by_id = {row["id"]: row for row in found.values()}
        members = connection.execute(
            text("SELECT cluster_id, photo_id FROM cluster_member WHERE level = :level"),
            {"level": level},
        )
        for cluster_id, photo_id in members:
            by_id[cluster_id]["photos"].add(photo_id)
    return found


def set_times(engine, minutes):
    """taken_at by photo id, in minutes after two o'clock."""
    with engine.begin() as connection:
        for photo_id, after in minutes.items():
            connection.execute(
                text(
                    "UPDATE photo SET taken_at = '2026-06-12 14:00'::timestamp"
                    " + :after * interval '1 min' WHERE id = :id"
                ),
                {"id": photo_id, "after": after},
            )


def party(engine, *shown, seed=0):
    made = make_photos(engine, len(shown))
    index_photos(engine, made, looks(*shown, seed=seed))
    return made


@pytest.fixture
def three(engine):
    """Twenty photos each of a dog, a wedding and a concert."""
    return party(engine, *["dog"] * 20, *["wedding"] * 20, *["concert"] * 20)


def test_chapters_and_scenes_are_stored_with_what_pages_show(engine, cluster, three):
    set_times(engine, {photo: n for n, photo in enumerate(three.photo_ids[:20])})
    run = cluster(three)
    chapters, scenes = stored(engine), stored(engine, "scene")
    assert set(chapters) == {"Dog", "Wedding", "Concert"}
    assert sorted(c["number"] for c in chapters.values()) == [0, 1, 2]
    dog = chapters["Dog"]
    assert dog["photos"] == set(three.photo_ids[:20])
    assert (dog["size"], dog["words"], dog["own_name"]) == (20, ["dog"], None)
    assert dog["cover_id"] in dog["photos"]
    assert f"{dog['first_at']:%H:%M} {dog['last_at']:%H:%M}" == "14:00 14:19"
    assert chapters["Wedding"]["first_at"] is None
    for scene in scenes.values():
        (parent,) = [c for c in chapters.values() if c["id"] == scene["parent_id"]]
        assert scene["photos"] <= parent["photos"]
    assert sum(scene["size"] for scene in scenes.values()) == 60
    assert run.summary["chapters"] == run.summary["chapters_named"] == 3
    assert run.summary["scenes"] == len(scenes)


def test_ids_numbers_and_names_stay_while_the_event_grows(engine, cluster, three):
    cluster(three)
    before, scenes = stored(engine), stored(engine, "scene")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE cluster SET own_name = 'Our day' WHERE name = 'Wedding'"),
        )
    fresh = add_photos(engine, three, looks(*["snow"] * 30, *["wedding"] * 10, seed=5))
    run = cluster(three)
    after = stored(engine)
    assert set(after) == {"Dog", "Wedding", "Concert", "Snow"}
    for name, chapter in before.items():
        assert (after[name]["id"], after[name]["number"]) == (chapter["id"], chapter["number"])
        assert after[name]["photos"] >= chapter["photos"]
    assert after["Wedding"]["own_name"] == "Our day"
    assert after["Wedding"]["photos"] >= set(fresh[30:])
    assert after["Snow"]["number"] == 3
    assert run.summary["chapters_kept"] == 3
    kept = {s["id"] for s in scenes.values()} & {s["id"] for s in stored(engine, "scene").values()}
    assert len(kept) >= len(scenes) / 2


def test_clusters_that_go_make_room_for_others(engine, cluster, three):
    cluster(three)
    before = stored(engine)
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM photo WHERE id = ANY(:ids)"), {"ids": three.photo_ids[20:40]}
        )
    add_photos(engine, three, looks(*["cake"] * 20, seed=8))
    cluster(three)
    after = stored(engine)
    assert set(after) == {"Dog", "Concert", "Cake"}
    assert after["Cake"]["number"] == before["Wedding"]["number"]
    assert after["Cake"]["id"] != before["Wedding"]["id"]
    assert after["Dog"]["id"] == before["Dog"]["id"]
    assert sum(s["size"] for s in stored(engine, "scene").values()) == 60


def test_unchanged_photos_are_not_clustered_again(engine, cluster, three):
    cluster(three)
    with engine.begin() as connection:
        connection.execute(text("UPDATE cluster SET own_name = 'Mine', cover_id = NULL"))
    assert cluster(three).summary["skipped"] is True
    assert {c["own_name"] for c in stored(engine).values()} == {"Mine"}


def test_a_cluster_that_words_don_t_name_is_named_by_time_or_number(engine, cluster):
    # The looks are of axis 6, which is no word's.
    random = np.random.default_rng(1)
    vectors = np.eye(8)[[0] * 20 + [6] * 20 + [5] * 20] + np.eye(8)[7]
    made = make_photos(engine, 60)
    index_photos(engine, made, vectors + random.normal(scale=0.03, size=vectors.shape))
    cluster(made)
    assert set(stored(engine)) == {"Dog", "DJ", f"Chapter {_nameless(engine)['number'] + 1}"}
    set_times(engine, {photo: 3 * n for n, photo in enumerate(made.photo_ids)})
    cluster(made)
    assert set(stored(engine)) == {"Dog", "DJ", "15:03–15:54"}


def _nameless(engine):
    (found,) = [c for c in stored(engine).values() if not c["words"]]
    return found


def test_without_a_text_encoder_clusters_are_numbered_until_there_is_one(engine, cluster, three):
    def missing():
        raise ModelUnavailable("There are no weights here.")

    cluster(three, missing)
    assert set(stored(engine)) == {"Chapter 1", "Chapter 2", "Chapter 3"}
    before = {c["number"]: c["id"] for c in stored(engine).values()}
    add_photos(engine, three, looks("dog", seed=3))
    cluster(three)
    after = stored(engine)
    assert set(after) == {"Dog", "Wedding", "Concert"}
    assert {c["number"]: c["id"] for c in after.values()} == before


def test_a_rejected_photo_is_no_cover(engine, cluster, three):
    cluster(three)
    cover = stored(engine)["Dog"]["cover_id"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE photo SET flag = -1 WHERE id = :id"), {"id": cover})
    add_photos(engine, three, looks("dog", seed=3))
    cluster(three)
    assert stored(engine)["Dog"]["cover_id"] not in (None, cover)


def test_a_photo_that_is_deleted_meanwhile_is_in_no_cluster(engine, cluster, blobs, three):
    cluster(three)
    stage = ClustersStage(IMAGE_MODEL, blobs, Encoder, words=WORDS)
    with session_scope(engine) as session:
        run = runs.start_stage(session, three.event_id, RunKind.CLUSTERS)
        given = stage.read(session, run)
        made = stage.build(given, lambda share: None)
    with engine.begin() as connection:
        gone = three.photo_ids[:21]
        connection.execute(text("DELETE FROM photo WHERE id = ANY(:ids)"), {"ids": gone})
    with session_scope(engine) as session:
        stage.store(session, session.get(Run, run.id), given, made)
    after = stored(engine)
    assert set(after) == {"Wedding", "Concert"}
    assert after["Wedding"]["size"] == len(after["Wedding"]["photos"]) == 19


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_the_smallest_events_have_clusters_too(engine, cluster, n):
    made = party(engine, *["dog"] * n)
    run = cluster(made)
    assert run.summary["photos"] == n
    assert sum(c["size"] for c in stored(engine).values()) == n
    assert len(stored(engine)) == (n > 0) or n == 30


def test_identical_photos_make_clusters(engine, cluster):
    made = make_photos(engine, 50)
    index_photos(engine, made, np.tile(np.eye(8)[0], (50, 1)))
    cluster(made)
    assert sum(c["size"] for c in stored(engine).values()) == 50
    names = list(stored(engine, "scene"))
    assert len(names) == len(set(names))


def test_an_event_that_lost_all_photos_has_no_clusters(engine, cluster, three):
    cluster(three)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM photo"))
    cluster(three)
    assert stored(engine) == stored(engine, "scene") == {}
