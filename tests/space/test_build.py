"""The layout stage: clouds and points in the database, coloured by chapters, grown and let go."""

import numpy as np
import pytest
from sqlalchemy import text

from app.core.vectors import normalised
from app.graph.build import GraphStage
from app.graph.clusters import ClustersStage
from app.graph.stage import carry_out
from app.ingest import runs
from app.space.build import KEPT_LAYOUTS, LayoutStage
from app.space.cloud import NO_GROUP, decode_cloud
from app.space.store import LOOK, LOOK_TIME, PEOPLE, built_spaces, latest_layout
from app.storage.blobs import BlobStore, cloud_key
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.storage.vectors import model_number, store_face_vectors, store_photo_vectors
from tests.factories import FACE_MODEL, IMAGE_MODEL, index_photos, make_photos


@pytest.fixture
def blobs(tmp_path):
    return BlobStore.in_folder(tmp_path / "blobs")


@pytest.fixture
def carry(engine, tmp_path, blobs):
    """Runs the stages of an event up to its layout; returns the layout's run."""

    def unreachable():
        raise AssertionError("the words are not needed here")

    def run_stages(made, *kinds, **options):
        stages = {
            RunKind.GRAPH: GraphStage(engine, IMAGE_MODEL, tmp_path / "kept"),
            RunKind.CLUSTERS: ClustersStage(IMAGE_MODEL, blobs, unreachable, words=[]),
            RunKind.LAYOUT: LayoutStage(IMAGE_MODEL, blobs, FACE_MODEL, **options),
        }
        for kind in kinds or (RunKind.GRAPH, RunKind.LAYOUT):
            with session_scope(engine) as session:
                run_id = runs.start_stage(session, made.event_id, kind).id
            assert carry_out(engine, run_id, stages[kind]).event_id == made.event_id
        with session_scope(engine) as session:
            return session.get(Run, run_id)

    return run_stages


def points(engine, event_id, name=LOOK):
    """Places by photo id, of the newest layout."""
    with session_scope(engine) as session:
        layout = latest_layout(session, event_id, name)
        rows = session.connection().execute(
            text("SELECT photo_id, x, y, z FROM layout_point WHERE layout_id = :id"),
            {"id": layout.id},
        )
        return layout, {row[0]: tuple(row[1:]) for row in rows}


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
        rows = [
            (row[0], made.event_id, vector)
            for row, vector in zip(ids.all(), normalised(vectors), strict=True)
        ]
        store_photo_vectors(session, made.model, rows)
    return [row[0] for row in rows]


@pytest.mark.parametrize("n", [0, 1, 3, 30])
def test_the_stage_makes_a_cloud_that_names_every_photo(engine, blobs, carry, n):
    made = make_photos(engine, n)
    index_photos(engine, made)
    run = carry(made)
    layout, placed = points(engine, made.event_id)
    assert layout.count == n
    assert sorted(placed) == made.photo_ids
    assert run.summary["spaces"][LOOK]["fitted"] == layout.fitted == n
    assert (layout.trustworthiness is None) == (n < 8)
    cloud = decode_cloud(blobs.get(cloud_key(layout.version)))
    assert sorted(cloud.ids.tolist()) == made.photo_ids
    assert (cloud.groups == NO_GROUP).all()


def test_a_run_that_is_done_is_not_done_again(engine, blobs, carry):
    made = make_photos(engine, 9)
    index_photos(engine, made)
    run = carry(made)
    assert carry_out(engine, run.id, LayoutStage(IMAGE_MODEL, blobs)) is None
    assert carry(made).summary["skipped"] is True


def test_photos_have_the_colour_of_their_chapter(engine, blobs, carry):
    made = make_photos(engine, 40)
    index_photos(engine, made, np.repeat(np.eye(8)[:2], 20, axis=0) + 0.01)
    carry(made, RunKind.GRAPH, RunKind.CLUSTERS, RunKind.LAYOUT)
    layout, _ = points(engine, made.event_id)
    cloud = decode_cloud(blobs.get(cloud_key(layout.version)))
    with engine.connect() as connection:
        numbers = dict(
            connection.execute(
                text(
                    "SELECT m.photo_id, c.number FROM cluster_member m"
                    " JOIN cluster c ON c.id = m.cluster_id WHERE m.level = 'chapter'"
                )
            ).all()
        )
    assert {int(i): int(g) for i, g in zip(cloud.ids, cloud.groups, strict=True)} == numbers
    assert len(set(numbers.values())) == 2


def test_new_photos_come_into_the_layout_that_is_there(engine, carry):
    made = make_photos(engine, 40)
    random = np.random.default_rng(1)
    index_photos(engine, made, random.normal(size=(40, 8)))
    carry(made)
    first, before = points(engine, made.event_id)
    fresh = add_photos(engine, made, random.normal(size=(4, 8)))
    summary = carry(made).summary["spaces"][LOOK]
    second, after = points(engine, made.event_id)
    assert (summary["came"], summary["refitted"], summary["fit"]) == (4, False, 1)
    assert sorted(set(after) - set(before)) == fresh
    assert {photo: after[photo] for photo in before} == before
    assert (second.bounds, second.fit, second.fitted, second.placed) == (first.bounds, 1, 40, 4)
    carry(made, RunKind.LAYOUT, refit=True)
    third, _ = points(engine, made.event_id)
    assert (third.fit, third.fitted, third.placed) == (2, 44, 0)


def test_only_colours_change_where_only_chapters_did(engine, carry):
    made = make_photos(engine, 40)
    index_photos(engine, made)
    carry(made)
    first, before = points(engine, made.event_id)
    carry(made, RunKind.CLUSTERS, RunKind.LAYOUT)
    second, after = points(engine, made.event_id)
    assert after == before
    assert second.version != first.version


def test_a_photo_that_is_deleted_meanwhile_has_no_place(engine, blobs, carry):
    made = make_photos(engine, 12)
    index_photos(engine, made)
    carry(made, RunKind.GRAPH)
    with session_scope(engine) as session:
        run = runs.start_stage(session, made.event_id, RunKind.LAYOUT)
        stage = LayoutStage(IMAGE_MODEL, blobs)
        given = stage.read(session, run)
        built = stage.build(given, lambda share: None)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM photo WHERE id = :id"), {"id": made.photo_ids[0]})
    with session_scope(engine) as session:
        stage.store(session, session.get(Run, run.id), given, built)
    assert sorted(points(engine, made.event_id)[1]) == made.photo_ids[1:]


def test_times_and_faces_make_spaces_of_their_own_and_leave_with_them(engine, tmp_path, carry):
    made = make_photos(engine, 20)
    index_photos(engine, made)
    with session_scope(engine) as session:
        connection = session.connection()
        connection.execute(
            text(
                "UPDATE photo SET taken_at = '2026-06-12 14:00'::timestamp + id * interval '1 min'"
            )
        )
        faces = connection.execute(
            text(
                "INSERT INTO face (photo_id, event_id, box_left, box_top, box_right, box_bottom,"
                " score, landmarks) SELECT id, event_id, 0, 0, 1, 1, 1, '{}' FROM photo"
                " WHERE id = ANY(:ids) RETURNING id"
            ),
            {"ids": made.photo_ids[:9]},
        )
        random = np.random.default_rng(2)
        store_face_vectors(
            session,
            model_number(session, FACE_MODEL),
            [(row[0], made.event_id, random.normal(size=4)) for row in faces.all()],
        )
    carry(made)
    with session_scope(engine) as session:
        assert built_spaces(session, made.event_id) == [LOOK, LOOK_TIME, PEOPLE]
    assert sorted(points(engine, made.event_id, PEOPLE)[1]) == made.photo_ids[:9]
    assert len(points(engine, made.event_id, LOOK_TIME)[1]) == 20
    clouds = len(list((tmp_path / "blobs").rglob("*.bin")))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM face"))
    carry(made)
    with session_scope(engine) as session:
        assert built_spaces(session, made.event_id) == [LOOK, LOOK_TIME]
    assert len(list((tmp_path / "blobs").rglob("*.bin"))) == clouds - 1


def test_old_layouts_and_their_blobs_go(engine, tmp_path, blobs, carry):
    made = make_photos(engine, 10)
    versions = []
    for round_ in range(4):
        rng = np.random.default_rng(round_)
        index_photos(engine, made, rng.normal(size=(10, IMAGE_MODEL.dim)))
        carry(made)
        versions.append(points(engine, made.event_id)[0].version)
    assert len(set(versions)) == 4
    assert len(list((tmp_path / "blobs").rglob("*.bin"))) == KEPT_LAYOUTS
    with pytest.raises(KeyError):
        blobs.get(cloud_key(versions[0]))
