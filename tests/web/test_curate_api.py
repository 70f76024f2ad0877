"""Groups, decisions and clusters over the API."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from app.storage.engine import session_scope
from app.storage.tables import Event
from app.storage.tables_graph import (
    Cluster,
    ClusterLevel,
    ClusterMember,
    Grouping,
    GroupKind,
    PhotoGroup,
    PhotoGroupMember,
)

Festival = tuple[Event, list[int]]
MEMBER = {
    "id", "width", "height", "thumb", "href", "title", "taken_at", "uri", "rank", "similarity",
    "reason", "flag", "kept", "size",
}  # fmt: skip


@pytest.fixture
def burst(engine: Engine, festival: Festival) -> tuple[int, list[int]]:
    """A burst of three of the festival's photos: its id and theirs."""
    event, ids = festival
    with session_scope(engine) as session:
        group = PhotoGroup(
            event_id=event.id, kind=GroupKind.BURST, best_id=ids[0], size=3, reason="Sharpest."
        )
        session.add(group)
        session.flush()
        for rank, photo_id in enumerate(ids[:3]):
            session.add(
                PhotoGroupMember(
                    group_id=group.id, photo_id=photo_id, kind=GroupKind.BURST, rank=rank,
                    similarity=1.0 - rank / 10, reason=f"{rank} s later",
                )
            )  # fmt: skip
        session.add(Grouping(event_id=event.id, sensitivity=40, counts={"0": {"burst": [1, 3]}}))
        return group.id, ids[:3]


def test_groups_with_what_a_person_needs_to_judge_them(
    api: TestClient, burst: tuple[int, list[int]]
) -> None:
    body = api.get("events/summer-festival/groups?kind=burst").json()
    assert body["counts"] == {
        "exact": {"groups": 0, "open": 0, "photos": 0},
        "burst": {"groups": 1, "open": 1, "photos": 3},
        "lookalike": {"groups": 0, "open": 0, "photos": 0},
    }
    assert body["sensitivity"] == {"value": 40, "counts": {"0": {"burst": [1, 3]}}}
    assert body["next"] is None
    (group,) = body["items"]
    assert (group["id"], group["count"], group["undecided"]) == (burst[0], 3, 3)
    assert (group["reason"], group["event"]) == ("Sharpest.", "summer-festival")
    assert [member["id"] for member in group["members"]] == burst[1]
    assert set(group["members"][0]) == MEMBER
    assert group["members"][1]["similarity"] == pytest.approx(0.9)
    assert api.get(f"groups/{burst[0]}").json() == group
    assert api.get("events/summer-festival/groups").json()["items"] == []
    for wrong in ("kind=friends", "limit=0", "cursor=x"):
        assert api.get(f"events/summer-festival/groups?{wrong}").status_code in (400, 422)


def test_a_group_is_judged_and_the_judgement_undone(
    api: TestClient, burst: tuple[int, list[int]]
) -> None:
    group_id, ids = burst
    judged = api.post(f"groups/{group_id}/judge", json={"verdict": "keep-best"}).json()
    assert [m["flag"] for m in judged["group"]["members"]] == [0, -1, -1]
    assert api.get("events/summer-festival/groups?kind=burst").json()["items"] == []
    assert len(api.get("events/summer-festival/groups?kind=burst&open=0").json()["items"]) == 1
    undone = api.post("events/summer-festival/undo", json={"batch": judged["batch"]}).json()
    assert undone == {"batch": judged["batch"], "photos": ids}
    assert api.get(f"groups/{group_id}").json()["undecided"] == 3
    assert api.post("events/summer-festival/undo").json() == {"batch": None, "photos": []}
    assert api.post("events/summer-festival/redo").json()["photos"] == ids
    kept = api.post(
        f"groups/{group_id}/judge", json={"verdict": "keep-chosen", "kept": ids[1:]}
    ).json()
    assert [m["kept"] for m in kept["group"]["members"]] == [False, True, True]
    wrong = api.post(f"groups/{group_id}/judge", json={"verdict": "keep-chosen"})
    assert wrong.status_code == 422
    assert api.post("groups/999999/judge", json={"verdict": "keep-all"}).status_code == 404


def test_a_best_frame_is_chosen(api: TestClient, burst: tuple[int, list[int]]) -> None:
    group_id, ids = burst
    chosen = api.post(f"groups/{group_id}/best", json={"photo_id": ids[2]}).json()["group"]
    assert chosen["members"][0]["id"] == ids[2]
    assert chosen["reason"] == "Chosen by you."


def test_decisions_about_any_photos(api: TestClient, festival: Festival) -> None:
    _, ids = festival
    body = {"decisions": [{"field": "flag", "value": 1, "photos": ids[:2]}]}
    made = api.post("events/summer-festival/decisions", json=body).json()
    assert made["photos"] == ids[:2]
    for wrong in (
        {"decisions": []},
        {"decisions": [{"field": "flag", "value": 9, "photos": ids}]},
        {"decisions": [{"field": "mood", "value": 1, "photos": ids}]},
        {"decisions": [{"field": "flag", "value": 1, "photos": []}]},
        {"decisions": [{"field": "flag", "value": 1, "photos": [10**15]}]},
    ):
        assert 400 <= api.post("events/summer-festival/decisions", json=wrong).status_code < 500


def test_the_sensitivity_is_set(api: TestClient, burst: tuple[int, list[int]]) -> None:
    answer = api.post("events/summer-festival/sensitivity", json={"value": 75})
    assert answer.status_code == 202
    assert answer.json()["value"] == 75
    assert api.get("events/summer-festival/groups").json()["sensitivity"]["value"] == 75
    assert api.post("events/summer-festival/sensitivity", json={"value": 101}).status_code == 422


def test_clusters_and_their_own_names(api: TestClient, festival: Festival, engine: Engine) -> None:
    event, ids = festival
    with session_scope(engine) as session:
        chapter = Cluster(
            event_id=event.id, level=ClusterLevel.CHAPTER, number=0, name="Stage", size=5,
            words=["stage", "concert"], cover_id=ids[0],
        )  # fmt: skip
        session.add(chapter)
        session.flush()
        session.add(
            Cluster(
                event_id=event.id, level=ClusterLevel.SCENE, number=0, name="Crowd", size=2,
                words=["crowd"], parent_id=chapter.id,
            )
        )  # fmt: skip
        chapter_id = chapter.id
    items = api.get("events/summer-festival/clusters").json()["items"]
    assert [(c["level"], c["name"], c["count"]) for c in items] == [
        ("chapter", "Stage", 5), ("scene", "Crowd", 2),
    ]  # fmt: skip
    assert items[0]["cover"]["id"] == ids[0]
    assert items[1]["parent"] == chapter_id
    assert len(api.get("events/summer-festival/clusters?level=scene").json()["items"]) == 1
    assert api.get("events/summer-festival/clusters?level=act").status_code == 422
    named = api.post(f"clusters/{chapter_id}/name", json={"name": "  First \t dance "}).json()
    assert (named["name"], named["own_name"]) == ("First dance", True)
    back = api.post(f"clusters/{chapter_id}/name", json={"name": ""}).json()
    assert (back["name"], back["own_name"]) == ("Stage", False)
    assert api.post(f"clusters/{chapter_id}/name", json={"name": "x" * 81}).status_code == 422
    assert api.post("clusters/999999/name", json={"name": "x"}).status_code == 404


def test_stacks_fold_groups_into_their_best_frames(
    api: TestClient, burst: tuple[int, list[int]], festival: Festival, engine: Engine
) -> None:
    _, ids = burst
    others = festival[1][3:]

    def shown(fold: str) -> list[tuple[int, int]]:
        body = api.get(f"events/summer-festival/photos?fold={fold}").json()
        assert body["total"] == len(body["items"])
        assert body["in_event"] == 5
        return [(p["id"], p["stack"]["count"] if p["stack"] else 0) for p in body["items"]]

    assert shown("none") == [(photo_id, 0) for photo_id in festival[1]]
    assert shown("exact") == shown("none")
    assert shown("burst") == [(ids[0], 3), *((photo_id, 0) for photo_id in others)]
    assert shown("lookalike") == shown("burst")
    # The copies within the burst have another best frame: the burst's counts, for it is wider.
    with session_scope(engine) as session:
        copies = PhotoGroup(
            event_id=festival[0].id, kind=GroupKind.EXACT, best_id=ids[1], size=2, reason="Larger."
        )
        session.add(copies)
        session.flush()
        for rank, photo_id in enumerate((ids[1], ids[0])):
            session.add(
                PhotoGroupMember(
                    group_id=copies.id, photo_id=photo_id, kind=GroupKind.EXACT, rank=rank,
                    similarity=1.0, reason="",
                )
            )  # fmt: skip
    assert shown("exact") == [
        (ids[1], 2), (ids[2], 0), *((photo_id, 0) for photo_id in others),
    ]  # fmt: skip
    assert shown("burst")[0] == (ids[0], 3)
    # A best frame that is deleted leaves its stack to the next.
    with session_scope(engine) as session:
        session.connection().execute(text("DELETE FROM photo WHERE id = :id"), {"id": ids[0]})
    body = api.get("events/summer-festival/photos?fold=burst").json()
    assert body["items"][0]["id"] == ids[1]
    assert api.get("events/summer-festival/photos?fold=friends").status_code == 422


def test_the_photos_of_one_scene(api: TestClient, festival: Festival, engine: Engine) -> None:
    event, ids = festival
    with session_scope(engine) as session:
        scene = Cluster(
            event_id=event.id, level=ClusterLevel.SCENE, number=0, name="Stage", size=2, words=[]
        )
        session.add(scene)
        session.flush()
        for photo_id in ids[1:3]:
            session.add(
                ClusterMember(photo_id=photo_id, level=ClusterLevel.SCENE, cluster_id=scene.id)
            )
        cluster_id = scene.id
    body = api.get(f"events/summer-festival/photos?cluster={cluster_id}").json()
    assert [photo["id"] for photo in body["items"]] == ids[1:3]
    assert (body["total"], body["in_event"]) == (2, 5)
    api.post("events", json={"name": "Gala"})
    assert api.get(f"events/gala/photos?cluster={cluster_id}").status_code == 404
