"""The wire format. The golden file is decoded by frontend/tests as well."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.errors import BadInput
from app.space.cloud import NO_GROUP, PointCloud, bounds, decode_cloud, encode_cloud, morton

GOLDEN = Path(__file__).parents[1] / "golden"


def cloud_of(positions, groups=None):
    n = len(positions)
    return PointCloud(
        np.arange(1, n + 1, dtype=np.uint32),
        np.asarray(positions, np.float32),
        np.zeros(n, np.uint16) if groups is None else np.asarray(groups, np.uint16),
    )


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 40), st.just(3)),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_what_is_encoded_comes_back_within_half_a_step(positions):
    cloud = cloud_of(positions)
    back = decode_cloud(encode_cloud(cloud))
    order = np.argsort(back.ids)
    low, high = bounds(cloud.positions)
    step = (high - low) / 65535
    np.testing.assert_array_equal(back.ids[order], cloud.ids)
    error = np.abs(back.positions[order] - cloud.positions)
    assert (error <= step * 0.5 + 1e-3).all()


def test_ids_and_groups_travel_with_their_points():
    positions = np.random.default_rng(3).normal(size=(100, 3)).astype(np.float32)
    cloud = cloud_of(positions, groups=np.arange(100))
    back = decode_cloud(encode_cloud(cloud))
    np.testing.assert_array_equal(back.groups, back.ids - 1)


def test_points_are_in_morton_order():
    positions = np.random.default_rng(3).normal(size=(500, 3)).astype(np.float32)
    back = decode_cloud(encode_cloud(cloud_of(positions)))
    low, high = bounds(positions)
    quantised = np.rint((back.positions - low) / (high - low) * 65535).astype(np.uint16)
    assert (np.diff(morton(quantised).astype(np.int64)) >= 0).all()


def test_morton_interleaves_bits():
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [65535, 65535, 65535]], np.uint16)
    assert morton(points).tolist() == [1, 2, 4, 2**48 - 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-1],
        lambda d: d[:20],
        lambda d: b"XXXX" + d[4:],
        lambda d: d + b"\0",
        lambda d: b"",
    ],
)
def test_damaged_clouds_are_refused(damage):
    data = encode_cloud(cloud_of(np.eye(3)))
    with pytest.raises(BadInput):
        decode_cloud(damage(data))


def test_the_golden_file_decodes_to_what_its_json_says():
    said = json.loads((GOLDEN / "cloud-v1.json").read_text("utf-8"))
    cloud = decode_cloud((GOLDEN / "cloud-v1.bin").read_bytes())
    points = said["points"]
    assert cloud.ids.tolist() == [point["id"] for point in points]
    clusters = [NO_GROUP if p["cluster"] is None else p["cluster"] for p in points]
    assert cloud.groups.tolist() == clusters
    np.testing.assert_allclose(cloud.positions, [p["position"] for p in points], atol=1e-4)


def test_encoding_the_golden_points_gives_the_golden_bytes():
    golden = (GOLDEN / "cloud-v1.bin").read_bytes()
    assert encode_cloud(decode_cloud(golden)) == golden
