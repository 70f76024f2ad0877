"""The pocket profile: equal to the reference libraries, and useful on real photographs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.errors import HomeUnusable, ModelUnavailable
from app.core.ports import ImageEncoder, TextEncoder
from app.core.vectors import Pixels
from app.encoders import head, lite2, nets
from app.encoders.minilm import MiniLM
from app.encoders.packages import lite2_weights
from app.encoders.registry import load_image_encoder, load_text_encoder
from tests.encoders.comparing import cosines


@pytest.fixture(scope="module")
def images(models_dir: Path) -> ImageEncoder:
    return load_image_encoder("pocket", models_dir, threads=2)


@pytest.fixture(scope="module")
def texts(models_dir: Path) -> TextEncoder:
    return load_text_encoder("pocket", models_dir, threads=1)


def test_the_encoders_keep_their_contracts(
    images: ImageEncoder, texts: TextEncoder, photos: dict[str, Pixels]
) -> None:
    assert isinstance(images, ImageEncoder)
    assert isinstance(texts, TextEncoder)
    assert images.info == texts.info
    for vectors in (images.encode_images(list(photos.values())), texts.encode_texts(["a cat"] * 3)):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == images.info.dim == 768
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert images.encode_images([]).shape == (0, 768)
    assert texts.encode_texts([]).shape == (0, 768)


def test_words_find_their_photograph(
    images: ImageEncoder, texts: TextEncoder, photos: dict[str, Pixels]
) -> None:
    queries = {
        "astronaut": "a person wearing a uniform",
        "coffee": "a cup of coffee",
        "cat": "a cat",
        "rocket": "a rocket launch",
    }
    pictures = images.encode_images(list(photos.values()))
    scores = texts.encode_texts([queries[name] for name in photos]) @ pictures.T
    assert scores.argmax(1).tolist() == list(range(len(photos)))


def test_texts_fill_the_language_part_only(texts: TextEncoder) -> None:
    vectors = texts.encode_texts(["first dance", ""])
    assert not vectors[:, : head.PART].any()
    assert vectors[:, head.PART :].any(1).all()


def test_an_edited_copy_lies_nearer_than_another_photo(
    images: ImageEncoder, photos: dict[str, Pixels]
) -> None:
    cat = photos["cat"]
    edited = np.asarray(Image.fromarray(cat).resize((300, 200)).point(lambda value: value * 0.8))
    vectors = images.encode_images([cat, edited, photos["coffee"], photos["rocket"]])
    copy, *others = vectors[1:] @ vectors[0]
    assert copy > 0.8
    assert max(others) < 0.5


def test_batches_and_threads_change_nothing(
    images: ImageEncoder, photos: dict[str, Pixels]
) -> None:
    pictures = list(photos.values())
    together = images.encode_images(pictures)
    with ThreadPoolExecutor(4) as pool:
        apart = list(pool.map(lambda one: images.encode_images([one])[0], pictures))
    assert np.abs(together - np.stack(apart)).max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 700, 3), (900, 2, 3)])
def test_extreme_shapes_get_a_vector(images: ImageEncoder, shape: tuple[int, int, int]) -> None:
    vector = images.encode_images([np.full(shape, 128, np.uint8)])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_network_equals_the_reference_library(
    models_dir: Path, photos: dict[str, Pixels]
) -> None:
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    reference = EfficientNet.from_name("efficientnet-lite2").eval()
    reference.load_state_dict(torch.load(lite2_weights(), weights_only=True))
    features, classes = lite2.Lite2(models_dir, threads=1).describe(list(photos.values()))
    for index, photo in enumerate(photos.values()):
        pixels = torch.from_numpy(lite2.views(photo)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            x = (pixels.float() - 127.0) / 128.0
            wanted = reference.extract_features(x).mean((2, 3)).mean(0).numpy()
            likely = reference(x).softmax(1).mean(0).numpy()
        assert cosines(features[index], wanted) > 0.9999
        assert cosines(classes[index], likely) > 0.9999


def test_minilm_equals_sentence_transformers(models_dir: Path) -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "minilm.json").read_text("utf-8"))
    ours = MiniLM(models_dir).encode(golden["texts"])
    assert cosines(ours, np.array(golden["vectors"])).min() > 0.9999


def _scaled_against_full(images: ImageEncoder, jpeg: bytes) -> float:
    """Cosine of the vectors from a scaled and from a full decode of one JPEG."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        full = np.asarray(opened.convert("RGB"))
    with Image.open(io.BytesIO(jpeg)) as opened:
        opened.draft("RGB", (1024, round(1024 * opened.height / opened.width)))
        assert opened.width < full.shape[1]
        opened.thumbnail((1024, 1024), Image.Resampling.BILINEAR, reducing_gap=2.0)
        scaled = np.asarray(opened.convert("RGB"))
    vectors = images.encode_images([full, scaled])
    return float(vectors[0] @ vectors[1])


@pytest.mark.parametrize("name", ["astronaut", "coffee", "cat", "rocket"])
def test_a_scaled_decode_gives_the_same_vector(
    images: ImageEncoder, photos: dict[str, Pixels], name: str
) -> None:
    large = Image.fromarray(photos[name])
    large = large.resize((3000, round(3000 * large.height / large.width)), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    large.save(jpeg, "JPEG", quality=92)
    assert _scaled_against_full(images, jpeg.getvalue()) > 0.999


def test_a_scaled_decode_of_camera_files_gives_the_same_vector(
    images: ImageEncoder, test_data: Path
) -> None:
    compared = 0
    for path in sorted((test_data / "formats").rglob("*.jpg")):
        jpeg = path.read_bytes()
        with Image.open(path) as opened:
            if max(opened.size) < 2400 or opened.mode != "RGB" or jpeg[:2] != b"\xff\xd8":
                continue
        assert _scaled_against_full(images, jpeg) > 0.999, path
        compared += 1
        if compared == 6:
            break
    assert compared or pytest.skip("no large JPEG in formats/")


def test_the_runtime_is_free_of_torch(models_dir: Path) -> None:
    nets.ensure((*nets.POCKET_IMAGE, *nets.POCKET_TEXT, *nets.POCKET_FACE), models_dir)
    script = f"""
import sys, pathlib
import numpy as np
from app.encoders.registry import load_face_encoder, load_image_encoder, load_text_encoder
folder = pathlib.Path({str(models_dir)!r})
load_image_encoder("pocket", folder).encode_images([np.zeros((9, 9, 3), np.uint8)])
load_text_encoder("pocket", folder).encode_texts(["a"])
load_face_encoder("pocket", folder).detect([np.zeros((99, 99, 3), np.uint8)])
print([name for name in ("torch", "transformers", "pkg_resources") if name in sys.modules])
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_damaged_net_says_what_to_do(models_dir: Path, tmp_path: Path) -> None:
    for name in nets.POCKET_IMAGE:
        copy = nets.location(name, tmp_path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        whole = nets.ensure((name,), models_dir)[name].read_bytes()
        copy.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="Delete"):
        lite2.Lite2(tmp_path, threads=1)


def test_a_models_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HomeUnusable, match="can't be written"):
        nets.ensure(nets.POCKET_IMAGE, tmp_path / "file")


def test_a_failed_export_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    with pytest.raises(ModelUnavailable, match="could not be prepared"):
        nets.run_export([f"no-such-net={target}"])
    assert not list(tmp_path.iterdir())


def test_a_damaged_head_says_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "head.npz"
    broken.write_bytes(head.LATEST.read_bytes()[:1000])
    with pytest.raises(ModelUnavailable, match="train"):
        head.load(broken)


def test_the_committed_head_is_small(tmp_path: Path) -> None:
    assert head.LATEST.stat().st_size < 4_000_000
    loaded = head.load()
    head.save(loaded, tmp_path / "again.npz", {})
    again = head.load(tmp_path / "again.npz")
    assert np.array_equal(loaded.components, again.components)
    assert np.array_equal(head.load_caption_mean(), loaded.language.caption_mean)
