"""Faces: the detector, the alignment and the vectors equal facenet-pytorch's and dlib's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.errors import ModelUnavailable
from app.core.ports import FaceEncoder
from app.core.vectors import Pixels
from app.encoders import dlib_net, nets
from app.encoders.found_faces import smallest_face
from app.encoders.mtcnn import Mtcnn
from app.encoders.packages import dlib_face_weights
from app.encoders.pocket_faces import SAME_PERSON, PocketFaceEncoder
from app.encoders.registry import load_face_encoder
from tests.encoders.comparing import cosines, picture


@pytest.fixture(scope="module")
def faces(models_dir: Path) -> FaceEncoder:
    return load_face_encoder("pocket", models_dir, threads=2)


@pytest.fixture(scope="module")
def mtcnn(models_dir: Path) -> Mtcnn:
    return Mtcnn(models_dir)


def _assert_equal_to_reference(mtcnn: Mtcnn, photo: Pixels, smallest: int) -> int:
    from facenet_pytorch import MTCNN
    from PIL import Image

    reference = MTCNN(min_face_size=smallest, keep_all=True)
    boxes, scores, points = reference.detect(Image.fromarray(photo), landmarks=True)
    found = mtcnn.detect(photo, smallest=smallest)
    if boxes is None:
        assert len(found.boxes) == 0
        return 0
    assert len(found.boxes) == len(boxes)
    assert np.abs(found.boxes - boxes).max() < 0.5
    assert np.abs(found.points - points).max() < 0.5
    assert np.abs(found.scores - scores).max() < 1e-3
    return len(boxes)


def test_detection_equals_facenet_pytorch(mtcnn: Mtcnn, photos: dict[str, Pixels]) -> None:
    counts = {name: _assert_equal_to_reference(mtcnn, photos[name], 20) for name in photos}
    assert counts["astronaut"] == 1
    four = np.tile(photos["astronaut"][:400, :400], (2, 2, 1))
    assert _assert_equal_to_reference(mtcnn, four, 20) == 4


def test_detection_equals_facenet_pytorch_on_press_photos(mtcnn: Mtcnn, test_data: Path) -> None:
    paths = sorted((test_data / "faces" / "athlete").rglob("*.*"))[:4]
    paths += sorted((test_data / "captions" / "full").iterdir())[:3]
    assert sum(_assert_equal_to_reference(mtcnn, picture(path), 40) for path in paths) > 3


@pytest.mark.parametrize("shape", [(1, 1, 3), (11, 500, 3), (13, 13, 3), (30, 2000, 3)])
def test_tiny_and_thin_pictures_have_no_faces(faces: FaceEncoder, shape: tuple[int, ...]) -> None:
    assert faces.detect([np.full(shape, 200, np.uint8)]) == [[]]


def test_faces_at_the_edge_keep_boxes_inside(faces: FaceEncoder, photos: dict[str, Pixels]) -> None:
    cut = photos["astronaut"][30:300, 195:400]
    for face in faces.detect([cut])[0]:
        assert all(0 <= edge <= 1 for edge in face.box)
        assert face.box[0] < face.box[2]
        assert face.box[1] < face.box[3]


def test_the_encoder_keeps_its_contract(faces: FaceEncoder, photos: dict[str, Pixels]) -> None:
    assert isinstance(faces, FaceEncoder)
    small = photos["astronaut"][::2, ::2]
    both = np.zeros((512, 800, 3), np.uint8)
    both[:256, :256] = small
    both[:, 288:] = photos["astronaut"]
    empty, one, two = faces.detect([photos["coffee"], photos["astronaut"], both])
    assert empty == []
    assert len(one) == 1
    assert one[0].vector.shape == (faces.info.dim,) == (128,)
    assert one[0].vector.dtype == np.float32
    assert one[0].landmarks.shape == (5, 2)
    left, top, right, bottom = one[0].box
    assert (one[0].landmarks > (left, top)).all()
    assert (one[0].landmarks < (right, bottom)).all()
    widths = [face.box[2] - face.box[0] for face in two]
    assert widths == sorted(widths, reverse=True)
    assert len(two) == 2
    assert np.linalg.norm(two[0].vector - two[1].vector) < SAME_PERSON
    assert faces.detect([]) == []


def test_mirrored_pictures_give_the_same_vector(
    faces: FaceEncoder, photos: dict[str, Pixels]
) -> None:
    photo = photos["astronaut"]
    plain, mirrored = faces.detect([photo, np.ascontiguousarray(photo[:, ::-1])])
    assert np.linalg.norm(plain[0].vector - mirrored[0].vector) < 0.2


def test_dlibs_network_equals_dlib(
    models_dir: Path, mtcnn: Mtcnn, photos: dict[str, Pixels]
) -> None:
    import dlib

    encoder = PocketFaceEncoder(models_dir, threads=1)
    photo = photos["astronaut"]
    chip = encoder._chip(photo, mtcnn.detect(photo, smallest=20).boxes[0])
    noise = np.random.default_rng(3).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    chips = np.stack([chip, chip[:, ::-1], photos["cat"][:150, :150], noise])
    reference = dlib.face_recognition_model_v1(str(dlib_face_weights()))
    wanted = np.array([reference.compute_face_descriptor(np.ascontiguousarray(c)) for c in chips])
    session = nets.open_session(nets.ensure(nets.POCKET_FACE, models_dir)["dlib-face"])
    found = session.run(None, {"chips": chips})[0]
    assert cosines(found, wanted).min() > 0.999999
    assert np.abs(found - wanted).max() < 1e-4


def test_one_persons_photos_lie_together(faces: FaceEncoder, test_data: Path) -> None:
    folder = test_data / "faces" / "lfw"
    people = [path for path in sorted(folder.iterdir()) if len(list(path.glob("*.jpg"))) > 2][:6]
    vectors, names = [], []
    for person in people:
        for path in sorted(person.glob("*.jpg"))[:4]:
            found = faces.detect([picture(path, 250)])[0]
            if found:
                vectors.append(found[0].vector)
                names.append(person.name)
    apart = np.linalg.norm(np.array(vectors)[:, None] - np.array(vectors)[None], axis=2)
    same = np.array(names)[:, None] == np.array(names)[None]
    pairs = np.triu(np.ones_like(same), 1).astype(bool)
    assert (apart[same & pairs] < SAME_PERSON).mean() > 0.8
    assert (apart[~same & pairs] < SAME_PERSON).mean() < 0.02


def test_the_smallest_face_follows_the_picture() -> None:
    assert smallest_face(np.zeros((683, 1024, 3), np.uint8)) == pytest.approx(40)
    assert smallest_face(np.zeros((250, 250, 3), np.uint8)) == 20


def test_a_damaged_weight_file_is_refused(tmp_path: Path) -> None:
    whole = dlib_face_weights().read_bytes()
    broken = tmp_path / "broken.dat"
    for content in (whole[: len(whole) // 2], b"", b"\x00" * 1000, whole[:400]):
        broken.write_bytes(content)
        with pytest.raises(ModelUnavailable, match="Reinstall"):
            dlib_net.to_onnx(broken)
