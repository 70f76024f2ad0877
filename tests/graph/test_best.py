"""The best frame: what was measured, in words; the owner's choice over all of it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from app.graph.best import Measures, copy_words, frame_words, rank_copies, rank_frames


def measures(n: int, **columns) -> Measures:
    """n equal photos without faces, but for these columns."""
    usual = {
        "pixels": 12e6,
        "bytes": 4e6,
        "sharpness": 300.0,
        "exposure": 0.5,
        "clipped": 0.0,
        "face_area": 0.0,
        "face_sharpness": np.nan,
        "face_frontal": np.nan,
        "taken": np.nan,
    }
    made = {name: np.full(n, value) for name, value in usual.items()}
    made["chosen"] = np.zeros(n, np.int64)
    made["rejected"] = np.zeros(n, np.bool_)
    made |= {name: np.array(values) for name, values in columns.items()}
    assert set(made) == {each.name for each in fields(Measures)}
    return Measures(**made)


@pytest.mark.parametrize(
    ("columns", "best", "reason"),
    [
        ({"pixels": [3e6, 12e6, 6e6]}, 1, "most pixels"),
        ({"bytes": [3e6, 1e6, 9e6]}, 2, "largest file"),
        ({"bytes": [9e6, 9e6, 1e6]}, 0, "first of equal files"),
        ({"pixels": [12e6, 3e6, 3e6], "chosen": [0, 7, 9]}, 2, "your choice"),
    ],
)
def test_the_best_of_copies(columns, best, reason):
    ranked = rank_copies(measures(3, **columns), [2, 0, 1])
    assert ranked.members[0] == best
    assert sorted(ranked.members) == [0, 1, 2]
    assert ranked.reason == reason


@pytest.mark.parametrize(
    ("columns", "best", "reason"),
    [
        ({"sharpness": [100.0, 400.0, 200.0]}, 1, "sharpest"),
        ({"exposure": [0.1, 0.5, 0.05]}, 1, "best exposed"),
        ({"clipped": [0.3, 0.2, 0.0]}, 2, "best exposed"),
        ({"pixels": [1e6, 12e6, 2e6]}, 1, "most pixels"),
        ({}, 0, "no clear difference"),
        # Blurred faces before a sharp wall are no good picture of anybody.
        (
            {
                "sharpness": [900.0, 300.0, 300.0],
                "face_area": [0.1, 0.1, 0.1],
                "face_sharpness": [20.0, 200.0, 40.0],
                "face_frontal": [0.9, 0.9, 0.9],
            },
            1,
            "sharpest faces",
        ),
        (
            {
                "face_area": [0.1, 0.1, 0.1],
                "face_sharpness": [100.0, 100.0, 100.0],
                "face_frontal": [0.1, 0.2, 0.95],
            },
            2,
            "faces to the camera",
        ),
        (
            {
                "face_area": [0.02, 0.1, 0.02],
                "face_sharpness": [100.0, 100.0, 100.0],
                "face_frontal": [0.9, 0.9, 0.9],
            },
            1,
            "largest faces",
        ),
        ({"sharpness": [900.0, 100.0, 50.0], "chosen": [0, 0, 5]}, 2, "your choice"),
        ({"sharpness": [np.nan, np.nan, 50.0]}, 2, "sharpest"),
    ],
)
def test_the_best_of_frames(columns, best, reason):
    ranked = rank_frames(measures(3, **columns), [0, 1, 2])
    assert ranked.members[0] == best
    assert ranked.reason == reason


def test_a_photo_without_the_faces_of_the_others_is_not_the_best():
    made = measures(
        2,
        sharpness=[900.0, 300.0],
        face_area=[0.0, 0.1],
        face_sharpness=[np.nan, 100.0],
        face_frontal=[np.nan, 0.9],
    )
    assert rank_frames(made, [0, 1]).members == (1, 0)
    assert frame_words(made, 0, 1, in_time=False, mirrored=False) == "looks alike, no face found"


def test_what_the_owner_rejected_comes_last():
    made = measures(3, pixels=[12e6, 6e6, 3e6], rejected=[True, False, True])
    ranked = rank_copies(made, [0, 1, 2])
    assert (ranked.members, ranked.reason) == ((1, 0, 2), "the only one that is not rejected")
    made = measures(3, sharpness=[900.0, 100.0, 300.0], rejected=[True, False, False])
    assert rank_frames(made, [0, 1, 2]).members == (2, 1, 0)


def test_what_a_copy_is():
    made = measures(4, pixels=[12e6, 3e6, 12e6, 12e6], bytes=[4e6, 1e6, 1e6, 4e6])
    assert copy_words(made, 3, 0, identical=True) == "same file"
    assert copy_words(made, 1, 0, identical=False) == "same picture, smaller: 25 % of the pixels"
    assert copy_words(made, 2, 0, identical=False) == "same picture, 25 % of the bytes"
    assert copy_words(made, 0, 1, identical=False) == "same picture, larger"
    assert copy_words(made, 0, 2, identical=False) == "same picture, encoded anew"


def test_what_a_frame_is_worse_in():
    made = measures(
        3,
        taken=[10.0, 12.0, 10.0],
        sharpness=[300.0, 100.0, 290.0],
        exposure=[0.5, 0.3, 0.6],
        clipped=[0.0, 0.1, 0.0],
        pixels=[12e6, 3e6, 12e6],
    )
    assert frame_words(made, 1, 0, in_time=True, mirrored=False) == (
        "2 s later, softer, darker, more clipped, fewer pixels"
    )
    assert frame_words(made, 2, 0, in_time=True, mirrored=False) == "same second, brighter"
    assert frame_words(made, 0, 1, in_time=True, mirrored=False) == "2 s earlier, brighter"
    assert frame_words(made, 2, 0, in_time=False, mirrored=True) == "mirrored, brighter"
    unknown = replace(made, taken=np.full(3, np.nan))
    assert frame_words(unknown, 2, 0, in_time=True, mirrored=False) == "same burst, brighter"


def test_faces_in_words():
    made = measures(
        2,
        face_area=[0.1, 0.1],
        face_sharpness=[200.0, 50.0],
        face_frontal=[0.9, 0.3],
    )
    assert frame_words(made, 1, 0, in_time=False, mirrored=False) == (
        "looks alike, softer faces, faces turned away"
    )
