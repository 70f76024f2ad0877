import numpy as np
import pytest

from app.core.errors import BadInput
from app.core.jobs import Job
from app.search.similar import similar_photos
from app.search.text import pack_vector, search_text, unpack_vector
from app.storage.cache import RedisCache
from app.storage.engine import session_scope
from app.storage.events import create_event, get_event
from app.storage.tables import Photo
from tests.factories import IMAGE_MODEL, RecordedJobs, index_photos, make_photos


@pytest.fixture
def cache(redis_url):
    made = RedisCache(redis_url)
    yield made
    made.close()


def test_the_best_photos_come_first_and_only_from_the_chosen_event(engine, cache):
    made = make_photos(engine, 12)
    vectors = index_photos(engine, made)
    other = make_photos(engine, 12, event="Other")
    index_photos(engine, other)
    jobs = RecordedJobs(pack_vector(vectors[4]))
    with session_scope(engine) as session:
        hits = search_text(
            session, jobs, cache, IMAGE_MODEL, [get_event(session, "party")], " a  dog ", 5
        )
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0].photo.id == made.photo_ids[4]
    assert {hit.photo.event_id for hit in hits} == {made.event_id}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert jobs.asked == [(Job.ENCODE_TEXT, IMAGE_MODEL.id, "a dog")]


def test_a_query_is_encoded_once(engine, cache):
    made = make_photos(engine, 2)
    vectors = index_photos(engine, made)
    jobs = RecordedJobs(pack_vector(vectors[0]))
    for _ in range(3):
        with session_scope(engine) as session:
            search_text(session, jobs, cache, IMAGE_MODEL, [get_event(session, "party")], "dog", 5)
    assert len(jobs.asked) == 1


@pytest.mark.parametrize("query", ["", "   ", "x" * 501])
def test_unusable_queries_say_so(engine, cache, query):
    with session_scope(engine) as session, pytest.raises(BadInput):
        search_text(session, RecordedJobs(), cache, IMAGE_MODEL, [], query, 5)


def test_nothing_indexed_is_no_error_and_asks_nobody(engine, cache):
    jobs = RecordedJobs()
    with session_scope(engine) as session:
        event = create_event(session, "Party")
        assert search_text(session, jobs, cache, IMAGE_MODEL, [event], "dog", 5) == []
    assert jobs.asked == []


def test_similar_photos_leave_the_photo_itself_out(engine):
    made = make_photos(engine, 10)
    vectors = index_photos(engine, made)
    with session_scope(engine) as session:
        hits = similar_photos(session, IMAGE_MODEL, session.get(Photo, made.photo_ids[0]), 3)
    expected = np.argsort(-(vectors @ vectors[0]))[1:4]
    assert [hit.photo.id for hit in hits] == [made.photo_ids[i] for i in expected]


def test_a_photo_without_a_vector_has_no_similar_ones(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session:
        photo = session.get(Photo, made.photo_ids[0])
        assert similar_photos(session, IMAGE_MODEL, photo, 3) == []


def test_vectors_survive_packing():
    vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
    np.testing.assert_array_equal(unpack_vector(pack_vector(vector)), vector)
