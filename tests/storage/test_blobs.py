"""One contract for every place that blobs are kept in."""

import os
import subprocess
import threading
from urllib.request import Request, urlopen

import pytest
from obstore.store import LocalStore, MemoryStore

from app.core.errors import BadInput, DiskFull, ServiceDown
from app.storage.blobs import BlobStore, cloud_key, open_blobs, thumb_key


@pytest.fixture(params=["folder", "memory", "url"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return BlobStore.in_folder(tmp_path / "new" / "blobs")
    if request.param == "memory":
        return BlobStore(MemoryStore())
    return BlobStore.at_url(tmp_path.as_uri())


def test_what_is_put_is_got(blobs):
    for key, data in (
        (thumb_key("ab12"), b"x" * 70_000),
        (cloud_key("cd"), b""),
        ("a/b/c/d", b"1"),
    ):
        blobs.put(key, data)
        assert blobs.get(key) == data


def test_the_last_one_put_counts(blobs):
    blobs.put("k/1", b"first, and longer")
    blobs.put("k/1", b"second")
    assert blobs.get("k/1") == b"second"


def test_a_missing_one_is_a_key_error(blobs):
    with pytest.raises(KeyError, match="thumb/zz/zz"):
        blobs.get(thumb_key("zz"))
    blobs.put("k/1", b"1")
    with pytest.raises(KeyError):
        blobs.get("k/2")


def test_deleting_twice_is_fine(blobs):
    blobs.put("k/1", b"1")
    blobs.put("k/2", b"2")
    blobs.delete("k/1")
    blobs.delete("k/1")
    with pytest.raises(KeyError):
        blobs.get("k/1")
    assert blobs.get("k/2") == b"2"


def test_a_reader_never_sees_half_of_one(blobs):
    """A writer replaces a blob again and again; whoever reads gets one version, whole."""
    versions = [bytes([letter]) * 300_000 for letter in b"abc"]
    blobs.put("k", versions[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for data in versions:
                blobs.put("k", data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [blobs.get("k") for _ in range(200)]
    finally:
        stop.set()
        writer.join()
    assert all(data in versions for data in seen)


def test_nothing_but_the_blob_is_left_in_the_folder(tmp_path):
    blobs = BlobStore(LocalStore(prefix=tmp_path, mkdir=True))
    for number in range(20):
        blobs.put(thumb_key("ab"), bytes([number]) * 1000)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab.webp"]


def test_a_home_without_an_address_keeps_them_in_its_folder(tmp_path):
    open_blobs(tmp_path / "home", None).put("k", b"1")
    assert (tmp_path / "home" / "blobs" / "k").read_bytes() == b"1"
    shared = tmp_path / "with spaces, ä"
    open_blobs(tmp_path / "home", shared.as_uri()).put("k", b"2")
    assert (shared / "k").read_bytes() == b"2"


@pytest.mark.parametrize(
    "url", ["file://relative/x", "file:", "s3://", "gs:///x", "az://container", "ftp://h/x"]
)
def test_an_address_that_cannot_be_used_is_named(url, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(BadInput) as raised:
        BlobStore.at_url(url)
    assert url in raised.value.message
    assert "CLAIR_BLOBS_URL" in raised.value.cure


@pytest.fixture
def bucket(monkeypatch):
    """An S3-compatible server with one bucket, and the usual variables that lead to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    urlopen(Request(f"http://{host}:{port}/blobs", method="PUT"), timeout=30).close()
    yield "s3://blobs/clairvision"
    server.stop()


def test_a_bucket_is_a_place_like_any_other(bucket):
    blobs = BlobStore.at_url(bucket)
    blobs.put(thumb_key("ab12"), b"x" * 70_000)
    assert blobs.get(thumb_key("ab12")) == b"x" * 70_000
    with pytest.raises(KeyError):
        blobs.get(thumb_key("zz"))
    blobs.delete(thumb_key("ab12"))
    blobs.delete(thumb_key("ab12"))
    with pytest.raises(KeyError):
        blobs.get(thumb_key("ab12"))


def test_a_bucket_that_is_not_there_is_a_service_down_with_its_cure(bucket):
    absent = BlobStore.at_url("s3://absent/x")
    with pytest.raises(ServiceDown) as raised:
        absent.put("k", b"1")
    assert "CLAIR_BLOBS_URL" in raised.value.cure


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("a file system can only be mounted by root, outside a plain container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_so_keeps_no_half_and_recovers(small_disk):
    blobs = BlobStore.in_folder(small_disk / "blobs")
    blobs.put("kept", b"k" * 1000)
    with pytest.raises(DiskFull) as raised:
        blobs.put("thumb/ab/ab.webp", b"x" * 4_000_000)
    assert raised.value.cure
    with pytest.raises(KeyError):
        blobs.get("thumb/ab/ab.webp")
    assert blobs.get("kept") == b"k" * 1000
    blobs.put("thumb/ab/ab.webp", b"x" * 300_000)
    assert blobs.get("thumb/ab/ab.webp") == b"x" * 300_000
