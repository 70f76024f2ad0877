from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.core.errors import BadInput, UnknownEvent
from app.storage.engine import session_scope
from app.storage.events import create_event, get_event, slug_of
from app.storage.vectors import (
    event_vectors,
    known_model_number,
    model_number,
    nearest_photos,
    store_photo_vectors,
)
from tests.factories import FACE_MODEL, IMAGE_MODEL, index_photos, make_photos


def test_vectors_come_back_as_stored_within_half_precision(engine):
    made = make_photos(engine, 5)
    vectors = index_photos(engine, made)
    with session_scope(engine) as session:
        ids, read = event_vectors(session, made.event_id, made.model)
    assert ids.tolist() == sorted(made.photo_ids)
    np.testing.assert_allclose(read, vectors, atol=1e-3)


def test_nearest_photos_are_the_most_similar_first(engine):
    made = make_photos(engine, 30)
    vectors = index_photos(engine, made)
    with session_scope(engine) as session:
        found = nearest_photos(session, made.model, vectors[3], event_ids=[made.event_id], limit=5)
    expected = np.argsort(-(vectors @ vectors[3]))[:5]
    assert [photo_id for photo_id, _ in found] == [made.photo_ids[i] for i in expected]
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)


def test_models_keep_apart(engine):
    with session_scope(engine) as session:
        assert known_model_number(session, IMAGE_MODEL) is None
        first = model_number(session, IMAGE_MODEL)
        assert model_number(session, FACE_MODEL) != first
        assert (
            model_number(session, IMAGE_MODEL) == first == known_model_number(session, IMAGE_MODEL)
        )


def test_a_photos_vector_is_replaced_not_doubled(engine):
    made = make_photos(engine, 2)
    index_photos(engine, made)
    new = np.eye(IMAGE_MODEL.dim, dtype=np.float32)[0]
    with session_scope(engine) as session:
        store_photo_vectors(session, made.model, [(made.photo_ids[0], made.event_id, new)])
        ids, vectors = event_vectors(session, made.event_id, made.model)
    assert len(ids) == 2
    np.testing.assert_allclose(vectors[0], new)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Été à Paris", "ete-a-paris"),
        ("  A -- B ", "a-b"),
        ("写真", "event"),
        ("x" * 200, "x" * 80),
    ],
)
def test_slugs(name, slug):
    assert slug_of(name) == slug


def test_two_events_of_one_name_get_two_slugs(engine):
    with session_scope(engine) as session:
        slugs = [create_event(session, "Party").slug for _ in range(3)]
        assert slugs == ["party", "party-2", "party-3"]
        assert get_event(session, "party-2").slug == "party-2"
        with pytest.raises(UnknownEvent, match="nowhere"):
            get_event(session, "nowhere")


def test_events_made_at_once_get_different_slugs(engine):
    def make(_):
        with session_scope(engine) as session:
            return create_event(session, "Twin").slug

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == ["twin", "twin-2", "twin-3", "twin-4"]


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "\u202e\u2066", "\x00", "x" * 201])
def test_names_that_nobody_can_see_or_read(engine, name):
    with session_scope(engine) as session, pytest.raises(BadInput):
        create_event(session, name)
