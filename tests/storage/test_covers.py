"""The photos on an event's card."""

from app.storage.engine import session_scope
from app.storage.gallery import covers
from tests.factories import index_photos, make_photos


def test_covers_are_spread_evenly_over_each_event(engine):
    long, short = make_photos(engine, 40), make_photos(engine, 3, event="Short")
    waiting = make_photos(engine, 5, event="Waiting")
    index_photos(engine, long)
    index_photos(engine, short)
    ids = [long.event_id, short.event_id, waiting.event_id]
    with session_scope(engine) as session:
        found = {event: [p.id for p in photos] for event, photos in covers(session, ids).items()}
    assert found == {
        long.event_id: [long.photo_ids[n] for n in (5, 15, 25, 35)],
        short.event_id: short.photo_ids,
        waiting.event_id: [],
    }
