"""The Duplicates and Scenes tabs, with and without scripts."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from app.storage.engine import session_scope
from app.storage.tables import Event
from app.storage.tables_graph import (
    Cluster,
    ClusterLevel,
    GroupKind,
    PhotoGroup,
    PhotoGroupMember,
)
from tests.web.conftest import FixedVectorQueue, Seeder

Festival = tuple[Event, list[int]]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def add_group(engine: Engine, festival: Festival):
    event, ids = festival

    def add(kind: GroupKind, *numbers: int) -> int:
        with session_scope(engine) as session:
            group = PhotoGroup(
                event_id=event.id, kind=kind, best_id=ids[numbers[0]], size=len(numbers),
                reason="The sharpest <faces>.",
            )  # fmt: skip
            session.add(group)
            session.flush()
            for rank, number in enumerate(numbers):
                session.add(
                    PhotoGroupMember(
                        group_id=group.id, photo_id=ids[number], kind=kind, rank=rank,
                        similarity=1 - rank / 10, reason=f"Softer, {rank} s later.",
                    )
                )  # fmt: skip
            return group.id

    return add


def flags(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT flag FROM photo ORDER BY id")).scalars())


def csrf(html: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found
    return found[1]


def test_groups_are_shown_with_their_reasons(owner: TestClient, add_group) -> None:
    group_id = add_group(GroupKind.BURST, 2, 0, 1)
    html = owner.get(
        "/events/summer-festival/duplicates"
    ).text  # the first kind with some to decide
    assert f'id="group-{group_id}"' in html
    assert "The sharpest &lt;faces&gt;." in html
    assert "Softer, 2 s later." in html
    assert "Keep the best, reject 2" in html
    assert "80 % alike" in html
    assert "1 of 1 to decide" in html
    assert 'aria-current="page"' in html
    assert (
        "Nothing left to decide here"
        in owner.get("/events/summer-festival/duplicates?kind=exact").text
    )
    assert owner.get("/events/summer-festival/duplicates?kind=friends").status_code == 422


def test_a_group_is_decided_by_a_plain_form_and_undone(
    owner: TestClient, engine: Engine, add_group
) -> None:
    group_id = add_group(GroupKind.BURST, 0, 1, 2)
    page = "/events/summer-festival/duplicates"
    form = {
        "csrf_token": csrf(owner.get(page).text),
        "verdict": "keep-best",
        "kind": "burst",
        "open": "1",
    }
    judge = f"/events/summer-festival/groups/{group_id}/judge"
    sent = owner.post(judge, data=form, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, f"{page}?kind=burst")
    assert flags(engine)[:3] == [0, -1, -1]
    assert "All groups are decided" in owner.get(f"{page}?kind=burst").text
    assert "1 kept, 2 rejected." in owner.get(f"{page}?kind=burst&open=0").text
    token = {"csrf_token": form["csrf_token"]}
    owner.post("/events/summer-festival/undo", data=token)
    assert flags(engine)[:3] == [0, 0, 0]
    owner.post("/events/summer-festival/redo", data=token)
    assert flags(engine)[:3] == [0, -1, -1]
    assert owner.post(judge, data=form | {"verdict": "burn"}).status_code == 400


def test_a_script_gets_the_group_alone_with_its_own_undo(
    owner: TestClient, engine: Engine, add_group
) -> None:
    group_id = add_group(GroupKind.EXACT, 0, 1)
    token = {"csrf_token": csrf(owner.get("/events/summer-festival/duplicates").text)}
    judge = f"/events/summer-festival/groups/{group_id}/judge"
    part = owner.post(judge, data=token | {"verdict": "keep-best"}, headers=HTMX).text
    assert part.strip().startswith("<li")
    assert "1 kept, 1 rejected." in part
    batch = re.search(r'name="batch" value="(\d+)"', part)
    assert batch
    undo = token | {"batch": batch[1], "group_id": f"{group_id}"}
    part = owner.post("/events/summer-festival/undo", data=undo, headers=HTMX).text
    assert "Keep the best, reject 1" in part
    assert flags(engine)[:2] == [0, 0]


def test_another_best_frame_leads_at_once(owner: TestClient, add_group, festival: Festival) -> None:
    group_id = add_group(GroupKind.BURST, 0, 1, 2)
    token = {"csrf_token": csrf(owner.get("/events/summer-festival/duplicates").text)}
    best = f"/events/summer-festival/groups/{group_id}/best"
    part = owner.post(best, data=token | {"photo_id": f"{festival[1][2]}"}, headers=HTMX).text
    first = re.search(r'data-frame="(\d+)"', part)
    assert first
    assert int(first[1]) == festival[1][2]
    assert "Chosen by you." in part
    assert owner.post(best, data=token | {"photo_id": "x"}).status_code == 400


def test_groups_of_another_event_are_out_of_reach(
    owner: TestClient, add_group, seed: Seeder
) -> None:
    group_id = add_group(GroupKind.BURST, 0, 1)
    seed.event("Gala")
    token = {"csrf_token": csrf(owner.get("/events/gala/sources").text), "verdict": "keep-all"}
    assert owner.post(f"/events/gala/groups/{group_id}/judge", data=token).status_code == 404


def test_many_groups_come_in_pages(owner: TestClient, engine: Engine, festival: Festival) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "WITH made AS (INSERT INTO photo_group (event_id, kind, size, reason)"
                " SELECT :e, 'burst', 2, 'Best.' FROM generate_series(1, 45) RETURNING id)"
                " SELECT count(*) FROM made"
            ),
            {"e": festival[0].id},
        )
    address: str | None = "/events/summer-festival/duplicates?kind=burst&open=0"
    seen: list[str] = []
    while address:
        html = owner.get(address, headers=HTMX).text
        seen += re.findall(r'id="group-(\d+)"', html)
        more = re.search(r'hx-get="([^"]+)"', html)
        address = more[1].replace("&amp;", "&") if more else None
    assert len(seen) == len(set(seen)) == 45


def test_the_slider_groups_anew(owner: TestClient, queue: FixedVectorQueue, add_group) -> None:
    add_group(GroupKind.BURST, 0, 1)
    html = owner.get("/events/summer-festival/duplicates").text
    sent = owner.post(
        "/events/summer-festival/sensitivity",
        data={"csrf_token": csrf(html), "value": "70", "kind": "burst"},
        follow_redirects=False,
    )
    assert sent.headers["location"].endswith("/duplicates?kind=burst")
    html = owner.get("/events/summer-festival/duplicates").text
    assert 'value="70"' in html
    assert "The photos are being grouped." in html


def test_scenes_with_their_names_and_times(
    owner: TestClient, engine: Engine, festival: Festival
) -> None:
    event, ids = festival
    with session_scope(engine) as session:
        chapter = Cluster(
            event_id=event.id, level=ClusterLevel.CHAPTER, number=0, name="Stage", size=5,
            words=["stage", "concert", "crowd"], cover_id=ids[0],
            first_at=datetime(2026, 7, 4, 20, 15), last_at=datetime(2026, 7, 4, 23, 40),  # noqa: DTZ001
        )  # fmt: skip
        session.add(chapter)
        session.flush()
        for number, name in enumerate(("Band", "Crowd")):
            session.add(
                Cluster(
                    event_id=event.id, level=ClusterLevel.SCENE, number=number, name=name, size=2,
                    words=[], parent_id=chapter.id,
                )
            )  # fmt: skip
        chapter_id = chapter.id
    page = "/events/summer-festival/scenes"
    html = owner.get(page).text
    assert "1 chapter, 2 scenes." in html
    assert "5 photos · 4 July 2026, 20:15 to 23:40" in html
    assert "stage, concert, crowd" in html
    assert f"/events/summer-festival?cluster={chapter_id}" in html
    rename = f"/events/summer-festival/clusters/{chapter_id}/name"
    token = {"csrf_token": csrf(html)}
    owner.post(rename, data=token | {"name": "Main act"})
    assert "Main act" in owner.get(page).text
    assert owner.post("/events/summer-festival/clusters/99999/name", data=token).status_code == 404


def test_another_events_scene_keeps_its_name(
    owner: TestClient, engine: Engine, festival: Festival, seed: Seeder
) -> None:
    with session_scope(engine) as session:
        cluster = Cluster(
            event_id=festival[0].id, level=ClusterLevel.CHAPTER, number=0, name="Stage", size=1,
            words=[],
        )  # fmt: skip
        session.add(cluster)
        session.flush()
        cluster_id = cluster.id
    seed.event("Gala")
    form = {"csrf_token": csrf(owner.get("/events/gala/sources").text), "name": "Taken"}
    assert owner.post(f"/events/gala/clusters/{cluster_id}/name", data=form).status_code == 404
    assert "Taken" not in owner.get("/events/summer-festival/scenes").text
