"""The groups stage: groups in the database, under ids that stay, with the owner's choice."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from sqlalchemy import text

from app.core.vectors import normalised
from app.curate.decisions import Field, decide
from app.graph.build import GraphStage
from app.graph.groups import GroupsStage
from app.graph.stage import carry_out
from app.ingest import derive, runs
from app.storage.blobs import BlobStore, thumb_key
from app.storage.copying import read_columns
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind, RunState
from tests.factories import IMAGE_MODEL, Made, index_photos, make_photos
from tests.graph.looks import cropped, picture, recompressed, scene, thumb


@pytest.fixture
def blobs(tmp_path):
    return BlobStore.in_folder(tmp_path / "blobs")


@pytest.fixture
def build(engine, tmp_path, blobs):
    """Runs graph and groups for an event; returns the groups' run."""

    def run_stages(made: Made) -> Run:
        graph = GraphStage(engine, IMAGE_MODEL, tmp_path / "cache")
        for kind, stage in (
            (RunKind.GRAPH, graph),
            (RunKind.GROUPS, GroupsStage(engine, IMAGE_MODEL, blobs)),
        ):
            with session_scope(engine) as session:
                run_id = runs.start_stage(session, made.event_id, kind).id
            assert carry_out(engine, run_id, stage) is not None
        with session_scope(engine) as session:
            return session.get(Run, run_id)

    return run_stages


def vectors(scenes: list[int]) -> np.ndarray:
    """Alike for one scene."""
    random = np.random.default_rng(4)
    base = random.normal(size=(max(scenes) + 1, IMAGE_MODEL.dim))
    noise = random.normal(0, 0.02, (len(scenes), IMAGE_MODEL.dim))
    return normalised(normalised(base)[scenes] + noise)


def show(engine, blobs, photo_id: int, image: Image.Image, *, structure: bool = True, **more):
    """Give a photo the looks of an image, as the ingest does; `more` are columns."""
    small = thumb(image)
    name = hashlib.sha256(small).hexdigest()[:32]
    blobs.put(thumb_key(name), small)
    luma = derive.luma_of(image)
    quality = derive.quality_of(luma)
    columns = {
        "sha256": hashlib.sha256(image.tobytes()).digest(),
        "phash": int(np.uint64(derive.perceptual_hash(luma)).view(np.int64)),
        "structure": picture(image).tobytes() if structure else None,
        "thumb": name,
        "width": image.width,
        "height": image.height,
        "size": image.width * image.height // 4,
        "sharpness": quality.sharpness,
        "exposure": quality.exposure,
        "clipped": quality.clipped,
    } | more
    names = ", ".join(f"{name} = :{name}" for name in columns)
    with engine.begin() as connection:
        connection.execute(
            text(f"UPDATE photo SET {names} WHERE id = :id"),
            {**columns, "id": photo_id},
        )


@pytest.fixture
def party(engine, blobs):
    """Nine photos: a frame with two copies and a look-alike, a burst of three, and two alone."""
    made = make_photos(engine, 9)
    scenes = [0, 0, 0, 0, 1, 1, 1, 2, 3]
    index_photos(engine, made, vectors(scenes))
    frame = scene(0, 900, 600)
    burst = [scene(1, 900, 600) for _ in range(3)]
    for number, image in enumerate(burst):
        image.paste(scene(20, 90, 90), (100 + 150 * number, 250))
    images = [
        frame.resize((450, 300)),
        frame,
        recompressed(frame, 60),
        ImageOps.mirror(cropped(frame, 0.05, 0, 0, 0.04)),
        *burst,
        scene(2, 900, 600),
        scene(3, 900, 600),
    ]
    for number, (photo_id, image) in enumerate(zip(made.photo_ids, images, strict=True)):
        taken = f"2026-07-14 15:00:0{number}" if number in (4, 5, 6) else None
        camera = "Clair One" if taken else None
        show(engine, blobs, photo_id, image, taken_at=taken, camera=camera)
    return made


def groups(engine, made: Made) -> dict[str, list[tuple]]:
    """By kind: (id, indices of the members with the best first, reason), by id."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT g.kind, g.id, g.best_id, g.size, g.reason,"
                " array_agg(m.photo_id ORDER BY m.rank) AS members"
                " FROM photo_group g JOIN photo_group_member m ON m.group_id = g.id"
                " WHERE g.kind = m.kind GROUP BY g.id ORDER BY g.id"
            )
        ).all()
    found: dict[str, list[tuple]] = {"exact": [], "burst": [], "lookalike": []}
    for row in rows:
        assert row.best_id == row.members[0]
        assert row.size == len(row.members)
        members = [made.photo_ids.index(photo) for photo in row.members]
        found[row.kind].append((row.id, members, row.reason))
    return found


def members(engine, made: Made, kind: str) -> dict[int, tuple]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT photo_id, similarity, reason FROM photo_group_member WHERE kind = :kind"),
            {"kind": kind},
        )
        return {made.photo_ids.index(row[0]): (row[1], row[2]) for row in rows}


def test_three_kinds_each_inside_the_next(engine, build, party):
    run = build(party)
    assert run.state == RunState.DONE
    found = groups(engine, party)
    assert [sorted(each[1]) for each in found["exact"]] == [[0, 1, 2]]
    assert found["exact"][0][1][0] in (1, 2)
    # What is nothing but a group of a narrower kind is told once.
    assert [sorted(each[1]) for each in found["burst"]] == [[4, 5, 6]]
    assert [sorted(each[1]) for each in found["lookalike"]] == [[0, 1, 2, 3]]
    assert found["lookalike"][0][1][0] == found["exact"][0][1][0]
    why = members(engine, party, "lookalike")
    assert why[0][1] == "same picture, smaller: 25 % of the pixels"
    assert why[3][1].startswith("mirrored")
    assert all(0.9 < similarity <= 1.001 for similarity, _ in why.values())
    best = found["burst"][0][1][0]
    why = members(engine, party, "burst")
    later = {4: 0, 5: 1, 6: 2}
    for photo in {4, 5, 6} - {best}:
        apart = later[photo] - later[best]
        assert why[photo][1].startswith(f"{abs(apart)} s {'later' if apart > 0 else 'earlier'}")


def test_counts_of_every_step_of_the_slider(engine, build, party):
    build(party)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT sensitivity, counts FROM grouping")).one()
    assert row.sensitivity == 50
    assert list(map(int, row.counts)) == list(range(0, 101, 5))
    assert row.counts["50"] == {"exact": [1, 3], "burst": [1, 6], "lookalike": [1, 7]}


def test_the_owners_choice_is_the_best_for_ever(engine, build, party):
    build(party)
    before = groups(engine, party)
    with session_scope(engine) as session:
        decide(session, party.event_id, [(Field.BEST, 1, [party.photo_ids[3]])], by="me")
    build(party)
    after = groups(engine, party)
    number, order, reason = after["lookalike"][0]
    assert (number, order[0], reason) == (before["lookalike"][0][0], 3, "your choice")
    assert after["exact"] == before["exact"]  # in its own group another is still the best
    with session_scope(engine) as session:
        decide(session, party.event_id, [(Field.BEST, 1, [party.photo_ids[0]])], by="me")
    set_sensitivity(engine, party, 70)
    build(party)
    newest = groups(engine, party)
    assert newest["lookalike"][0][1][0] == 0
    assert newest["exact"][0][1][0] == 0


def set_sensitivity(engine, made: Made, value: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO grouping (event_id, sensitivity) VALUES (:event, :value)"
                " ON CONFLICT (event_id) DO UPDATE SET sensitivity = :value"
            ),
            {"event": made.event_id, "value": value},
        )


def test_the_same_again_is_skipped_and_another_sensitivity_looks_at_nothing_again(
    engine, build, party
):
    first = build(party)
    assert first.summary["pairs_looked_at"] > 0
    before = groups(engine, party)
    assert build(party).summary["skipped"] is True
    set_sensitivity(engine, party, 0)
    strict = build(party)
    assert strict.summary["skipped"] is False
    assert strict.summary["pairs_looked_at"] == 0
    set_sensitivity(engine, party, 50)
    build(party)
    assert groups(engine, party) == before


def test_a_group_that_loses_a_member_keeps_its_id(engine, build, party):
    build(party)
    before = groups(engine, party)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM photo WHERE id = :id"), {"id": party.photo_ids[0]})
    build(party)
    after = groups(engine, party)
    assert [each[0] for each in after["lookalike"]] == [each[0] for each in before["lookalike"]]
    assert sorted(after["lookalike"][0][1]) == [1, 2, 3]
    with engine.connect() as connection:
        assert (
            connection.execute(
                text("SELECT count(*) FROM photo_pair WHERE a = :id OR b = :id"),
                {"id": party.photo_ids[0]},
            ).scalar()
            == 0
        )


def test_a_photo_deleted_while_the_stage_works_is_left_out(engine, build, party, blobs, tmp_path):
    graph = GraphStage(engine, IMAGE_MODEL, tmp_path / "cache")
    with session_scope(engine) as session:
        graph_run = runs.start_stage(session, party.event_id, RunKind.GRAPH).id
    carry_out(engine, graph_run, graph)
    gone = party.photo_ids[2]

    class Slow(GroupsStage):
        def build(self, given, report):
            made = super().build(given, report)
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM photo WHERE id = :id"), {"id": gone})
                connection.execute(
                    text("UPDATE photo SET sha256 = sha256(sha256) WHERE id = :id"),
                    {"id": party.photo_ids[4]},
                )
            return made

    with session_scope(engine) as session:
        run_id = runs.start_stage(session, party.event_id, RunKind.GROUPS).id
    assert carry_out(engine, run_id, Slow(engine, IMAGE_MODEL, blobs)) is not None
    assert sorted(groups(engine, party)["exact"][0][1]) == [0, 1]
    with session_scope(engine) as session:
        pairs = read_columns(session, "SELECT a, b FROM photo_pair", {"a": "i8", "b": "i8"}, {})
    looked = set(pairs["a"].tolist()) | set(pairs["b"].tolist())
    assert gone not in looked
    assert party.photo_ids[4] not in looked  # it is another picture now: looked at the next time
    assert party.photo_ids[1] in looked


def test_photos_of_before_get_their_picture_from_the_thumbnail(engine, build, party):
    with engine.begin() as connection:
        connection.execute(text("UPDATE photo SET structure = NULL"))
    build(party)
    assert [sorted(each[1]) for each in groups(engine, party)["lookalike"]] == [[0, 1, 2, 3]]
    with engine.connect() as connection:
        lengths = connection.execute(
            text("SELECT octet_length(structure) FROM photo ORDER BY id")
        ).scalars()
        assert set(list(lengths)[:7]) == {48 * 48}


def test_a_lost_thumbnail_only_costs_what_it_would_have_shown(engine, build, party):
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE photo SET thumb = 'cd' WHERE id = ANY(:ids)"), {"ids": party.photo_ids[:3]}
        )
    build(party)
    found = groups(engine, party)
    assert found["exact"] == []
    assert sorted(found["lookalike"][0][1]) == [0, 1, 2, 3]


def test_an_event_without_photos(engine, build):
    made = make_photos(engine, 1)
    run = build(made)
    assert run.state == RunState.DONE
    assert groups(engine, made) == {"exact": [], "burst": [], "lookalike": []}


def test_identical_files_without_any_edge(engine, build, blobs):
    made = make_photos(engine, 2)
    index_photos(engine, made, vectors([0, 1]))
    for photo_id in made.photo_ids:
        show(engine, blobs, photo_id, scene(5, 600, 400))
    build(made)
    (exact,) = groups(engine, made)["exact"]
    assert exact[1:] == ([0, 1], "first of equal files")
    assert members(engine, made, "exact")[1][1] == "same file"
