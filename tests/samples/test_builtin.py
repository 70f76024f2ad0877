"""The sample that the demo starts with, and the server that plays its origin."""

import hashlib
import io
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from datetime import datetime, timedelta

import pytest
from PIL import Image

from app.samples.builtin import EVENT_NAMES, SUBJECTS, builtin_sample
from app.samples.origin import SampleOrigin, csv_list

EXIF = 0x8769


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return list(builtin_sample())


def test_it_is_large_enough_and_every_photo_is_another(sample):
    assert len(sample) >= 150
    assert len({photo.name for photo in sample}) == len(sample)
    assert len({hashlib.sha256(photo.data).digest() for photo in sample}) == len(sample)
    assert {photo.event for photo in sample} == set(range(len(EVENT_NAMES))) == {0, 1}


def test_the_two_events_share_people(sample):
    titles = defaultdict(set)
    for photo in sample:
        titles[photo.event].add(photo.title)
    shared = titles[0] & titles[1]
    assert len(shared) >= 3
    assert shared == {subject.title for subject in SUBJECTS if subject.events == (0, 1)}
    assert titles[0] - shared
    assert titles[1] - shared


def test_each_photo_is_a_jpeg_with_its_time(sample):
    for photo in sample:
        image = Image.open(io.BytesIO(photo.data))
        assert image.format == "JPEG"
        assert image.mode == "RGB"
        details = image.getexif().get_ifd(EXIF)
        taken = datetime.strptime(details[0x9003], "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
        taken += timedelta(milliseconds=int(details[0x9291]))
        assert abs(taken - photo.taken_at) < timedelta(milliseconds=1)


def test_time_goes_forward_within_every_series_and_events_follow_each_other(sample):
    series = defaultdict(list)
    for photo in sample:
        series[photo.event, photo.title].append(photo.taken_at)
    assert all(times == sorted(set(times)) for times in series.values())
    ends = [max(p.taken_at for p in sample if p.event == event) for event in (0, 1)]
    starts = [min(p.taken_at for p in sample if p.event == event) for event in (0, 1)]
    assert ends[0] < starts[1]


def test_it_is_the_same_every_time(sample):
    again = [next(photos).data for photos in [builtin_sample()]]
    assert again == [sample[0].data]
    first = SUBJECTS[0]
    count = sum(photo.title == first.title for photo in sample)
    repeated = builtin_sample()
    assert [next(repeated) for _ in range(count)] == sample[:count]


def test_it_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    photos = builtin_sample()
    for _ in range(12):
        next(photos)
    assert list(tmp_path.iterdir()) == []


def get(url: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, "", b""


def test_the_origin_serves_and_stops(sample):
    photo = sample[0]
    rows = csv_list([{"url": photo.name, "title": 'a "quoted", title'}])
    files = {photo.name: photo.data, "lazy.jpg": lambda: b"read when asked", "list.csv": rows}
    before = threading.active_count()
    with SampleOrigin(files) as origin:
        assert get(f"{origin.url}/{photo.name}") == (200, "image/jpeg", photo.data)
        assert get(f"{origin.url}/lazy.jpg")[2] == b"read when asked"
        assert get(f"{origin.url}/list.csv")[1].startswith("text/csv")
        assert get(f"{origin.url}/../etc/passwd")[0] == 404
        assert get(f"{origin.url}/nothing.jpg")[0] == 404
    assert threading.active_count() <= before
    with pytest.raises(urllib.error.URLError):
        get(f"{origin.url}/{photo.name}")


def test_the_list_is_read_back_as_it_was_written():
    import csv

    rows = [
        {"url": "http://a/1.jpg", "title": 'x, "y"\nz'},
        {"url": "http://a/2.jpg", "title": "é"},
    ]
    assert list(csv.DictReader(io.StringIO(csv_list(rows).decode(), newline=""))) == rows
