import numpy as np
import pytest
from sqlalchemy import text

from app.core.vectors import normalised
from app.graph.build import GraphStage
from app.graph.knn import nearest_neighbours
from app.graph.stage import carry_out
from app.ingest import runs
from app.space.build import LayoutStage
from app.space.cloud import decode_cloud
from app.space.groups import colour_groups
from app.space.layout import lay_out
from app.space.store import latest_layout
from app.storage.blobs import BlobStore, cloud_key
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from tests.factories import IMAGE_MODEL, index_photos, make_photos


def blocks(count, size, dim=32, noise=0.02):
    """`count` well separated groups of `size` unit vectors."""
    rng = np.random.default_rng(11)
    centres = np.repeat(np.eye(dim)[:count], size, axis=0)
    return normalised(centres + rng.normal(scale=noise, size=centres.shape))


def graph_of(vectors):
    found = nearest_neighbours(vectors)
    return found.rows, found.weights


def test_groups_stay_together_in_space():
    vectors = blocks(5, 40)
    positions = lay_out(vectors, *graph_of(vectors))
    assert positions.shape == (200, 3)
    assert np.isfinite(positions).all()
    label = np.arange(200) // 40
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (label[nearest] == label[:, None]).mean() > 0.98


def test_the_same_photos_get_the_same_places():
    vectors = blocks(3, 20)
    graph = graph_of(vectors)
    np.testing.assert_array_equal(lay_out(vectors, *graph), lay_out(vectors, *graph))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_few_photos_have_a_place_too(n):
    vectors = normalised(np.random.default_rng(0).normal(size=(n, 16)))
    positions = lay_out(vectors, *graph_of(vectors))
    assert positions.shape == (n, 3)
    assert np.isfinite(positions).all()


def test_identical_photos_do_not_break_the_layout():
    vectors = np.tile(np.eye(8, dtype=np.float32)[0], (50, 1))
    assert np.isfinite(lay_out(vectors, *graph_of(vectors))).all()


def test_colour_groups_follow_the_vectors():
    vectors = blocks(4, 30)
    groups = colour_groups(vectors)
    assert all(len(set(groups[i * 30 : i * 30 + 30])) <= 3 for i in range(4))
    owners = {g: set(np.flatnonzero(groups == g) // 30) for g in set(groups.tolist())}
    assert all(len(blocks_) == 1 for blocks_ in owners.values())
    np.testing.assert_array_equal(groups, colour_groups(vectors))


@pytest.mark.parametrize("n", [0, 1, 3, 30])
def test_the_stage_makes_a_cloud_that_names_every_photo(engine, tmp_path, n):
    made = make_photos(engine, n)
    index_photos(engine, made)
    with session_scope(engine) as session:
        graph = runs.follow_up(session, session.get(Run, made.run_id), RunKind.GRAPH).id
    layout_run = carry_out(
        engine, graph, GraphStage(engine, IMAGE_MODEL, tmp_path / "kept")
    ).following
    stage = LayoutStage(IMAGE_MODEL, BlobStore.in_folder(tmp_path / "blobs"))
    assert carry_out(engine, layout_run.id, stage).event_id == made.event_id
    assert carry_out(engine, layout_run.id, stage) is None
    with session_scope(engine) as session:
        layout = latest_layout(session, made.event_id)
        points = session.connection().execute(text("SELECT count(*) FROM layout_point")).scalar()
    assert layout.count == points == n
    blobs = BlobStore.in_folder(tmp_path / "blobs")
    cloud = decode_cloud(blobs.get(cloud_key(layout.version)))
    assert sorted(cloud.ids.tolist()) == made.photo_ids


def test_old_layouts_and_their_blobs_go(engine, tmp_path):
    made = make_photos(engine, 10)
    blobs = BlobStore.in_folder(tmp_path / "blobs")
    versions = []
    for round_ in range(4):
        rng = np.random.default_rng(round_)
        index_photos(engine, made, rng.normal(size=(10, IMAGE_MODEL.dim)))
        with session_scope(engine) as session:
            graph = runs.follow_up(session, session.get(Run, made.run_id), RunKind.GRAPH).id
        layout = carry_out(
            engine, graph, GraphStage(engine, IMAGE_MODEL, tmp_path / "kept")
        ).following
        carry_out(engine, layout.id, LayoutStage(IMAGE_MODEL, blobs))
        with session_scope(engine) as session:
            versions.append(latest_layout(session, made.event_id).version)
    assert len(list((tmp_path / "blobs").rglob("*.bin"))) == 2
    with pytest.raises(KeyError):
        blobs.get(cloud_key(versions[0]))
