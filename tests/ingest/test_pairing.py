"""Which files are one photo: by name and folder, whatever else is in between."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.photos import Locator
from app.ingest.pairing import LOOK_AHEAD, Pairing


def paired(*uris: str) -> list[tuple[str, ...]]:
    pairing, found = Pairing(), []
    for uri in uris:
        found += pairing.add(Locator(uri, uri))
    found += pairing.rest()
    return [tuple(entry.uri for entry in each.entries) for each in found]


def test_raw_heic_and_jpeg_of_one_name_are_one_photo_with_the_jpeg_first():
    assert paired("/a/1.CR2", "/a/1.JPG", "/a/2.heic", "/a/2.jpeg", "/a/3.nef", "/a/3.HEIF") == [
        ("/a/1.JPG", "/a/1.CR2"),
        ("/a/2.jpeg", "/a/2.heic"),
        ("/a/3.HEIF", "/a/3.nef"),
    ]


def test_files_that_are_no_partners_stay_alone():
    assert paired("/a/1.jpg", "/b/1.cr2", "/a/1.png", "/a/1.jpeg", "/a/10.cr2") == [
        ("/a/1.jpg",),
        ("/b/1.cr2",),
        ("/a/1.png",),
        ("/a/1.jpeg",),
        ("/a/10.cr2",),
    ]


def test_addresses_with_another_query_or_host_are_no_partners():
    assert len(paired("https://h/1.jpg?v=1", "https://h/1.dng?v=2", "https://i/1.dng?v=1")) == 3
    assert paired("https://h/x%201.jpg", "https://h/x 1.dng") == [
        ("https://h/x%201.jpg", "https://h/x 1.dng")
    ]


def test_a_partner_beyond_the_look_ahead_is_a_photo_of_its_own():
    between = [f"/a/z{n}.jpg" for n in range(LOOK_AHEAD + 1)]
    found = paired("/a/1.nef", *between, "/a/1.jpg")
    assert ("/a/1.nef",) in found
    assert ("/a/1.jpg",) in found


names = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 60),
        st.sampled_from(["jpg", "JPG", "nef", "heic", "png"]),
    ),
    unique=True,
)


@given(names)
def test_no_file_is_lost_or_doubled(files):
    uris = [f"/{folder}/{number}.{ending}" for folder, number, ending in files]
    found = paired(*uris)
    assert sorted(uri for each in found for uri in each) == sorted(uris)
