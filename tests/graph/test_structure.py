"""Pictures laid over each other: copies are found however they were cut, strangers are not."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from app.graph import structure
from app.graph.frames import grey, same_frame, side_for, small_picture
from tests.graph.looks import cropped, picture, recompressed, scene, thumb


def compared(first: Image.Image, second: Image.Image) -> structure.Alike:
    pictures = np.stack([picture(first), picture(second)])
    return structure.compare(pictures, np.array([0]), np.array([1]))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((120, 80)),
        lambda image: recompressed(image, 40),
        lambda image: ImageEnhance.Brightness(image).enhance(0.6),
        lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    ],
)
def test_size_encoding_and_light_change_nothing(change):
    original = scene(1)
    found = compared(original, change(original))
    assert found.structure[0] > 0.98
    assert not found.mirrored[0]
    assert found.moved[0] < 0.01


@pytest.mark.parametrize(
    "cut", [(0.1, 0, 0, 0), (0, 0.1, 0, 0), (0.05, 0, 0.05, 0.1), (0.02, 0.03, 0.08, 0.07)]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_tenth_cut_off_is_found(cut, swapped):
    original = scene(2)
    pair = (original, cropped(original, *cut))
    found = compared(*(pair[::-1] if swapped else pair))
    assert found.structure[0] > 0.9
    # From the outside in: a scale by what is left, a shift by half the difference.
    left, top, right, bottom = cut
    assert found.moved[0] == pytest.approx(max(left + right, top + bottom), abs=0.03)


def test_a_mirror_image_is_found_and_told():
    original = scene(3)
    found = compared(original, ImageOps.mirror(original))
    assert found.structure[0] > 0.98
    assert found.mirrored[0]
    both = compared(original, ImageOps.mirror(cropped(original, 0.08, 0, 0, 0.05)))
    assert both.structure[0] > 0.9
    assert both.mirrored[0]


def test_strangers_are_no_copies_whatever_the_alignment():
    pictures = np.stack([picture(scene(seed)) for seed in range(40)])
    a, b = (np.array(side) for side in zip(*itertools.combinations(range(40), 2), strict=True))
    found = structure.compare(pictures, a, b)
    assert found.structure.max() < 0.6
    assert np.quantile(found.structure, 0.99) < 0.45


def test_which_comes_first_does_not_matter():
    pictures = np.stack([picture(scene(4)), picture(cropped(scene(4), 0.07, 0, 0, 0.04))])
    one = structure.compare(pictures, np.array([0]), np.array([1]))
    other = structure.compare(pictures, np.array([1]), np.array([0]))
    assert one.structure[0] == pytest.approx(other.structure[0], abs=0.01)


def test_a_pair_is_judged_alone():
    """What else is compared in the same go changes nothing."""
    pictures = np.stack([picture(scene(seed // 2)) for seed in range(12)])
    a, b = (np.array(side) for side in zip(*itertools.combinations(range(12), 2), strict=True))
    together = structure.compare(pictures, a, b)
    for row in (0, 7, 40, 65):
        alone = structure.compare(pictures, a[row : row + 1], b[row : row + 1])
        assert alone.structure[0] == pytest.approx(together.structure[row], abs=1e-4)


def test_a_flat_picture_is_like_nothing():
    flat = np.full((48, 48), 7, np.uint8)
    pictures = np.stack([flat, flat, picture(scene(5))])
    found = structure.compare(pictures, np.array([0, 0]), np.array([1, 2]))
    assert np.all(found.structure < 0.1)


def test_no_pairs():
    none = np.empty(0, np.int64)
    assert len(structure.compare(np.empty((0, 48, 48), np.uint8), none, none).structure) == 0


def frames_agree(first: Image.Image, second: Image.Image) -> bool:
    side = side_for(min(max(first.size), max(second.size)))
    return same_frame(grey(thumb(first), side), grey(thumb(second), side), side)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
        lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3)),
        lambda image: recompressed(image, 40),
    ],
)
def test_one_frame_is_the_same_however_it_is_encoded(change):
    for seed in range(5):
        original = scene(seed, 1000, 700)
        assert frames_agree(original, change(original))


def test_another_exposure_is_another_picture():
    original = scene(9, 1000, 700)
    assert not frames_agree(original, ImageEnhance.Brightness(original).enhance(0.95))
    assert not frames_agree(original, ImageEnhance.Contrast(original).enhance(0.95))


def test_the_next_frame_is_another():
    """A subject of a twelfth of the side that moved by its own width, nothing else."""
    first, second = scene(6, 1000, 700), scene(6, 1000, 700)
    subject = scene(7, 80, 80)
    first.paste(subject, (300, 300))
    second.paste(subject, (380, 300))
    assert compared(first, second).structure[0] > 0.9  # too near for the small picture to tell
    assert not frames_agree(first, second)


def test_a_picture_from_a_thumbnail_equals_the_stored_one():
    original = scene(8)
    again = np.frombuffer(small_picture(thumb(original), 48), np.uint8).reshape(48, 48)
    pictures = np.stack([picture(original), again])
    assert structure.compare(pictures, np.array([0]), np.array([1])).structure[0] > 0.98
    assert small_picture(b"no picture", 48) is None
