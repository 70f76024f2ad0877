"""The websocket: who gets in, what is told, how often, and when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import Engine
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from app.storage import accounts
from app.storage.engine import session_scope
from app.storage.progress import CHANNEL, Change, ProgressPublisher
from app.storage.tables import Event
from app.storage.tables_graph import Layout
from app.storage.vectors import model_number
from app.web import hub
from app.web.authorize import OwnerPrincipal
from app.web.hub import Connection, Hub
from tests.web.conftest import ADDRESS, Seeder, Tokens
from tests.web.test_api import failed_run

Festival = tuple[Event, list[int]]
HERE = {"Origin": ADDRESS}


def ticket(client: TestClient) -> str:
    return str(client.post("/ws/ticket").json()["ticket"])


def connect(
    client: TestClient, headers: dict[str, str] = HERE, **query: str
) -> WebSocketTestSession:
    query = {"ticket": ticket(client)} | query
    return client.websocket_connect(
        f"ws://localhost:8765/ws?ticket={query['ticket']}", headers=headers
    )


def refused(client: TestClient, headers: dict[str, str] = HERE, **query: str) -> bool:
    with pytest.raises(WebSocketDisconnect) as end, connect(client, headers, **query):
        pass
    return end.value.code == 1008


def test_only_a_fresh_ticket_from_this_origin_opens_it(
    owner: TestClient, anonymous: TestClient, redis_url: str
) -> None:
    used = ticket(owner)
    with connect(owner, ticket=used) as socket:
        socket.send_json({"type": "ping"})
        assert socket.receive_json() == {"type": "pong"}
    assert refused(owner, ticket=used)
    assert refused(owner, ticket="")
    assert refused(owner, ticket="invented")
    for origin in ("https://evil.example", "http://localhost", "null", f"{ADDRESS}.evil.example"):
        assert refused(owner, {"Origin": origin})
    assert refused(owner, {})
    late = ticket(owner)
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter("clairvision:ticket:*"))
        assert all(0 < client.ttl(key) <= 30 for key in keys)
        assert not any(late.encode() in key for key in keys)
        client.delete(*keys)  # as if 30 seconds had passed
    assert refused(owner, ticket=late)


def test_no_ticket_is_logged(owner: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = ticket(owner)
    with caplog.at_level(logging.INFO), connect(owner, ticket=secret):
        logging.getLogger("uvicorn.error").info(
            '%s - "WebSocket %s" [accepted]', "127.0.0.1:5", f"/ws?ticket={secret}"
        )
    assert "WS /ws 101" in caplog.text
    assert secret not in caplog.text


def test_a_token_gets_no_ticket(anonymous: TestClient, tokens: Tokens) -> None:
    bearer = {"Authorization": f"Bearer {tokens.write}"}
    assert anonymous.post("/ws/ticket", headers=bearer).status_code == 401


def test_a_ticket_needs_the_csrf_header(owner: TestClient) -> None:
    del owner.headers["X-CSRF-Token"]
    answer = owner.post("/ws/ticket")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


def test_progress_on_subscribing_and_whenever_something_changes(
    owner: TestClient, festival: Festival, engine: Engine, redis_url: str, listening: None
) -> None:
    publisher = ProgressPublisher(redis_url)
    with connect(owner) as socket:
        socket.send_json({"type": "subscribe", "event": "summer-festival"})
        first = socket.receive_json()
        assert (first["type"], first["event"]) == ("progress", "summer-festival")
        assert (first["progress"]["state"], first["progress"]["runs"]) == ("none", [])
        with session_scope(engine) as session:
            run_id = failed_run(session, festival[0]).id
        publisher.publish(festival[0].id)
        told = socket.receive_json()
        assert (told["type"], told["event"]) == ("progress", "summer-festival")
        assert [run["id"] for run in told["progress"]["runs"]] == [run_id]
        assert told["progress"]["failed"] == 3
        socket.send_json({"type": "unsubscribe", "event": "summer-festival"})
        publisher.publish(festival[0].id)
        socket.send_json({"type": "ping"})
        assert socket.receive_json() == {"type": "pong"}
    publisher.close()


def test_what_a_person_decides_is_told_at_once_and_again_after_a_drop(
    owner: TestClient, festival: Festival, listening: None
) -> None:
    body = {"source": "https://photos.example/list.txt"}
    run_id = owner.post("/api/v1/events/summer-festival/runs", json=body).json()["id"]
    address = "/api/v1/events/summer-festival/progress"

    def states(socket: WebSocketTestSession) -> tuple[str, list[str]]:
        progress = socket.receive_json()["progress"]
        return progress["state"], [run["state"] for run in progress["runs"]]

    with connect(owner) as socket:
        socket.send_json({"type": "subscribe", "event": "summer-festival"})
        assert states(socket) == ("pending", ["pending"])
        owner.post(f"/api/v1/runs/{run_id}/pause")
        assert states(socket) == ("paused", ["paused"])
    # While nobody listened it went on; whoever comes back is told what the API says too.
    owner.post(f"/api/v1/runs/{run_id}/resume")
    owner.post(f"/api/v1/runs/{run_id}/cancel")
    with connect(owner) as socket:
        socket.send_json({"type": "subscribe", "event": "summer-festival"})
        told = socket.receive_json()["progress"]
        assert told["state"] == "cancelled"
        asked = owner.get(address).json()
        assert told == asked


def test_a_new_space_is_told(
    owner: TestClient,
    festival: Festival,
    engine: Engine,
    redis_url: str,
    image_model: Any,
    listening: None,
) -> None:
    publisher = ProgressPublisher(redis_url)
    with connect(owner) as socket:
        socket.send_json({"type": "subscribe", "event": "summer-festival"})
        socket.receive_json()
        with session_scope(engine) as session:
            number = model_number(session, image_model)
            session.add(
                Layout(
                    event_id=festival[0].id, name="look", version="ab12", count=5, model=number,
                    bounds=[0, 0, 0, 1, 1, 1],
                )
            )  # fmt: skip
        publisher.publish(festival[0].id, Change.LAYOUT)
        expected = {"type": "layout", "version": "ab12", "event": "summer-festival"}
        assert socket.receive_json() == expected
    publisher.close()


@pytest.fixture
def listening(
    anonymous: TestClient, redis_url: str, eventually: Callable[[Callable[[], object]], None]
) -> Iterator[None]:
    """The application's subscription is made."""
    with redis.Redis.from_url(redis_url) as client:
        eventually(lambda: dict(client.pubsub_numsub(CHANNEL)).get(CHANNEL.encode(), 0) > 0)
        yield


SENSELESS = [
    "no json", "[]", "{}", '{"type":"dance"}', '{"type":"subscribe"}',
    '{"type":"subscribe","event":"nowhere"}', '{"type":"subscribe","event":["a"]}',
    '{"type":"subscribe","event":"a\\u0000b"}', "[" * 1000,
]  # fmt: skip


def test_senseless_messages_are_answered_and_the_socket_lives(owner: TestClient) -> None:
    with connect(owner) as socket:
        for sent in SENSELESS:
            socket.send_text(sent)
            assert socket.receive_json()["type"] == "error", sent
        socket.send_json({"type": "ping"})
        assert socket.receive_json() == {"type": "pong"}


def test_a_large_message_ends_it(owner: TestClient) -> None:
    with connect(owner) as socket:
        socket.send_text("x" * 2000)
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_json()
        assert end.value.code == 1009


def test_one_page_watches_a_bounded_number_of_events(owner: TestClient, seed: Seeder) -> None:
    for n in range(hub.MAX_EVENTS + 1):
        seed.event(f"Event {n}")
    with connect(owner) as socket:
        for n in range(hub.MAX_EVENTS + 1):
            socket.send_json({"type": "subscribe", "event": f"event-{n}"})
        kinds = [socket.receive_json()["type"] for _ in range(hub.MAX_EVENTS + 1)]
        assert kinds == ["progress"] * hub.MAX_EVENTS + ["error"]


def test_signing_out_ends_the_socket(owner: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.CHECK_SESSIONS < 5
    with connect(owner) as socket:
        owner.post("/logout")
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_json()
        assert end.value.code == 1008


async def test_a_stalled_reader_costs_a_bounded_queue_and_gets_one_refetch() -> None:
    connection = Connection(OwnerPrincipal(1, "Ada", b"", ""))
    for n in range(10_000):
        connection.push({"type": "progress", "n": n})
    waiting = []
    while True:
        try:
            async with asyncio.timeout(0):
                waiting.append(json.loads(await connection.next()))
        except TimeoutError:
            break
    assert len(waiting) <= hub.QUEUE
    assert waiting[0] == {"type": "refetch"}
    assert waiting[-1] == {"type": "progress", "n": 9_999}


async def test_nonsense_on_the_channel_does_not_end_the_progress(
    engine: Engine, festival: Festival, redis_url: str
) -> None:
    central = Hub(engine, redis_url)
    connection = Connection(OwnerPrincipal(1, "Ada", b"", ""))
    connection.events[festival[0].id] = "summer-festival"
    central.join(connection)
    with redis.Redis.from_url(redis_url) as client:
        async with central.running():
            for nonsense in ("no json", "[]", "5", '[1, "dance"]', '["x", "progress"]'):
                while not client.publish(CHANNEL, nonsense):
                    await asyncio.sleep(0.01)
            told = asyncio.create_task(connection.next())
            while not told.done():  # the subscription is being made again meanwhile
                client.publish(CHANNEL, json.dumps([festival[0].id, "progress"]))
                await asyncio.sleep(0.05)
    assert json.loads(told.result())["type"] == "progress"


async def test_many_nudges_become_few_messages(
    engine: Engine, festival: Festival, redis_url: str
) -> None:
    """However often an event changes, its watchers are told at most twice a second, and the last
    change always."""
    event_id = festival[0].id
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
        owner = accounts.use_welcome_link(session, link, "Ada", "a long password")
        accounts.start_session(session, owner)
    central = Hub(engine, redis_url)
    connection = Connection(OwnerPrincipal(1, "Ada", b"", ""))
    connection.events[event_id] = "summer-festival"
    central.join(connection)
    loop = asyncio.get_running_loop()
    publisher = ProgressPublisher(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        async with central.running():
            while not dict(client.pubsub_numsub(CHANNEL)).get(CHANNEL.encode()):
                await asyncio.sleep(0.01)
            started = loop.time()
            for _ in range(200):
                publisher.publish(event_id)
                await asyncio.sleep(0.005)
            with session_scope(engine) as session:
                run_id = failed_run(session, festival[0]).id
            publisher.publish(event_id)
            told = []
            while not told or not told[-1]["progress"]["runs"]:
                told.append(json.loads(await connection.next()))
            seconds = loop.time() - started
    assert told[-1]["progress"]["runs"][0]["id"] == run_id
    assert len(told) <= 2 * seconds + 2
    publisher.close()
