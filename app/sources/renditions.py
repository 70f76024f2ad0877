"""The sizes in which a page offers one picture: which is the largest, and what identifies it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from urllib.parse import unquote, urlsplit

from app.sources.suffixes import PHOTO_SUFFIXES

MOST_CANDIDATES = 100
"""Entries of one srcset that are looked at; real ones have up to a dozen."""


class Rank(IntEnum):
    """How large a rendition is by the place where it stands; widths decide within a rank."""

    SHOWN = 1  # what stands there before any script has run
    LAZY = 2  # what a script puts in its place
    SIZED = 3  # one of several sizes
    LARGE = 4
    ORIGINAL = 5  # what a click opens


class Found(IntEnum):
    """Where a page names a picture."""

    SHOWN = 1  # an image in the page
    STATED = 2  # JSON-LD or microdata
    LINKED = 3  # a link to the image's file


@dataclass(frozen=True, slots=True)
class Rendition:
    """`url` is canonical; `width` in pixels as the page states it, 0 where it doesn't."""

    url: str
    rank: Rank
    width: int = 0


@dataclass(slots=True)
class Picture:
    """One picture of a page. `link` is the page that a click on it opens."""

    found: Found
    renditions: list[Rendition] = field(default_factory=list)
    title: str | None = None
    link: str | None = None
    taken_at: datetime | None = None
    photographer: str | None = None

    @property
    def best(self) -> Rendition:
        return max(self.renditions, key=lambda each: (each.rank, each.width))


# Attributes that carry a picture's address, without "data-" and punctuation. Of the lazy loaders
# and lightboxes in wide use: Jetpack, WooCommerce, lazysizes, lozad, WP Rocket, Flickity, Splide,
# PhotoSwipe, lightGallery, Fancybox, Magnific Popup, Squarespace, elevateZoom.
_ORIGINALS = frozenset(
    ("full", "fullsrc", "fullurl", "fullsize", "fullsizeurl", "fullimage", "fullscreen", "fullres",
     "srcfull", "imagefull", "origfile", "originalsrc", "originalurl", "originalimage", "hires",
     "hiressrc", "highres", "highressrc", "zoom", "zoomsrc", "zoomimage", "zoomurl", "magnifysrc",
     "pswpsrc", "mfpsrc", "rawsrc", "downloadurl", "downloadsrc")
)  # fmt: skip
_LARGE = frozenset(
    ("large", "largefile", "largeimage", "largesrc", "largeurl", "srclarge", "big", "bigsrc",
     "xlarge", "maxsrc", "retina", "src2x")
)  # fmt: skip
_LAZY = frozenset(
    ("src", "lazy", "lazysrc", "lazyload", "original", "actualsrc", "echo", "img", "imgsrc", "image",
     "imagesrc", "imageurl", "defersrc", "llsrc", "flickitylazyload", "splidelazy", "bg",
     "background", "backgroundimage")
)  # fmt: skip
_LAZY_SETS = frozenset(
    ("srcset", "lazysrcset", "originalset", "flickitylazyloadsrcset", "splidelazysrcset",
     "pswpsrcset", "imagesrcset", "llsrcset")
)  # fmt: skip


def attribute_rank(name: str) -> Rank | None:
    """What an attribute's name promises: an address of this rank, or none at all."""
    if not name.startswith("data-"):
        return None
    plain = re.sub(r"[^a-z0-9]", "", name[5:])
    for names, rank in ((_ORIGINALS, Rank.ORIGINAL), (_LARGE, Rank.LARGE), (_LAZY, Rank.LAZY)):
        if plain in names:
            return rank
    return None


def is_srcset(name: str) -> bool:
    return name in ("srcset", "imagesrcset") or (
        name.startswith("data-") and re.sub(r"[^a-z0-9]", "", name[5:]) in _LAZY_SETS
    )


def candidates(srcset: str) -> Iterator[tuple[str, int, float]]:
    """(address, width or 0, density or 0) of each entry of a srcset, as the HTML standard parses
    it: an address may hold commas, but not end with one."""
    position = 0
    for _ in range(MOST_CANDIDATES):
        while position < len(srcset) and (srcset[position].isspace() or srcset[position] == ","):
            position += 1
        end = position
        while end < len(srcset) and not srcset[end].isspace():
            end += 1
        if end == position:
            return
        address, descriptor, position = srcset[position:end], "", end
        if address.endswith(","):
            address = address.rstrip(",")
        else:
            comma = srcset.find(",", end)
            position = len(srcset) if comma < 0 else comma
            descriptor = srcset[end:position].strip()
        found = re.fullmatch(r"(\d{1,6})w(?:\s+\d{1,6}h)?|(\d{1,3}(?:\.\d{1,4})?)x", descriptor)
        width, density = (found[1], found[2]) if found else (None, None)
        yield address, int(width or 0), float(density or 0)


_BACKDROP = frozenset(("spacer", "blank", "placeholder", "transparent", "spinner", "loader"))
_FURNITURE = frozenset(
    ("icon", "icons", "favicon", "logo", "logos", "sprite", "sprites", "avatar", "avatars",
     "gravatar", "emoji", "emojis", "smiley", "smilies")
)  # fmt: skip
SMALLEST_PHOTO = 100
"""Pixels on the long side; what a page declares to be smaller is an icon, not a photo."""
SMALLEST_THUMBNAIL = 50
LARGE_ENOUGH = 600
"""A picture declared to be as wide is no icon, whatever it is called."""


def is_furniture(url: str, classes: str, long_side: int, *, linked: bool) -> bool:
    """Whether an image is part of the page's dress: icon, logo, sprite, avatar, tracking pixel.

    `long_side` as declared, 0 if unknown; `linked`: a click on it opens a page of its own.
    """
    if 0 < long_side < (SMALLEST_THUMBNAIL if linked else SMALLEST_PHOTO):
        return True
    path = url.partition("?")[0].lower()
    if os.path.splitext(path)[1] in (".svg", ".ico", ".cur"):
        return True
    if long_side >= LARGE_ENOUGH:
        return False
    *folders, name = path.split("/")[3:] or [""]
    words = set(re.split(r"[^a-z]+", unquote(name)))
    if words & _BACKDROP or words & _FURNITURE or _FURNITURE.intersection(folders):
        return True
    return bool(_FURNITURE.intersection(re.split(r"[^a-z]+", classes.lower())))


def has_photo_suffix(url: str) -> bool:
    path = url.partition("#")[0].partition("?")[0]
    return os.path.splitext(unquote(path))[1].lower() in PHOTO_SUFFIXES


def is_photo_file(url: str) -> bool:
    """Whether a link leads to an image file. A wiki's page about a file ends like the file."""
    path = urlsplit(url).path
    return has_photo_suffix(url) and not ("/wiki/" in path and ":" in path.rpartition("/")[2])


# How one file's sizes are told apart in its address: "-1024x683" and "-scaled" (WordPress), "@2x".
_SIZE_IN_NAME = re.compile(r"(?:-\d{2,5}x\d{2,5}|-scaled|@[23]x)(?=\.[a-z]{3,4}$)", re.I)
_SIZE_PARAMETERS = frozenset(
    ("w", "h", "width", "height", "resize", "fit", "crop", "dpr", "q", "quality", "fm", "format",
     "auto", "ssl", "strip", "sharp", "max-w", "max-h", "maxwidth", "maxheight", "rect", "zoom")
)  # fmt: skip


def stem(url: str) -> str:
    """What the sizes of one picture have in common; of two pictures, it differs."""
    path, _, query = url.partition("?")
    kept = [
        pair
        for pair in query.split("&")
        if pair and pair.partition("=")[0].lower() not in _SIZE_PARAMETERS
    ]
    return "?".join([_SIZE_IN_NAME.sub("", path), *(["&".join(kept)] if kept else [])])


def stated_width(url: str) -> int:
    """The width in pixels that an address tells (photo-1024x683.jpg, ?w=800); 0 if none."""
    path, _, query = url.partition("?")
    named = re.search(r"-(\d{2,5})x\d{2,5}(?=\.[A-Za-z]{3,4}$)", path)
    if named:
        return int(named[1])
    asked = re.search(r"(?:^|&)(?:w|width)=(\d{2,5})(?=&|$)", query)
    return int(asked[1]) if asked else 0


_SIZE_WORDS = frozenset(
    ("thumb", "thumbnail", "thumbs", "tn", "small", "medium", "large", "xlarge", "orig", "original",
     "full", "fullsize", "scaled", "preview", "web", "hd", "max", "min", "th", "ti", "sm", "md", "lg",
     "xl", "xxl", "x2", "x3", "x4", "x5")
)  # fmt: skip
_SIZE_LETTERS = frozenset("smlodbkhzncqt")


def bare_name(url: str) -> str:
    """A file's name without suffix and size words, to find a picture again on another page; that
    of its folder where nothing is left (77/large.jpg)."""
    path, _, name = unquote(url.partition("?")[0]).lower().rpartition("/")
    name = re.sub(r"(?:-\d{2,5}x\d{2,5}|^\d{2,5}px-)", "", os.path.splitext(name)[0])
    words = [word for word in re.split(r"[-_. ]+", name) if word]
    if len(words) > 1 and words[-1] in _SIZE_LETTERS:
        words.pop()
    while words and words[-1] in _SIZE_WORDS:
        words.pop()
    while words and words[0] in _SIZE_WORDS:
        words.pop(0)
    return "-".join(words) or path.rpartition("/")[2] + "/"


def merged(pictures: list[Picture]) -> list[Picture]:
    """Each picture once, with all its renditions, where it stands first.

    Two are one where their largest renditions are sizes of one file, or where structured data
    names what the page shows as a size of its own picture.
    """
    stated = {
        rendition.url: stem(picture.best.url)
        for picture in pictures
        if picture.found is Found.STATED
        for rendition in picture.renditions
    }
    kept: dict[str, Picture] = {}
    for picture in pictures:
        known = (stated.get(rendition.url) for rendition in picture.renditions)
        name = next((each for each in known if each is not None), stem(picture.best.url))
        first = kept.setdefault(name, picture)
        if first is not picture:
            _join(first, picture)
    return list(kept.values())


def _join(first: Picture, other: Picture) -> None:
    first.renditions.extend(other.renditions)
    first.found = max(first.found, other.found)
    first.title = first.title or other.title
    first.link = first.link or other.link
    first.taken_at = first.taken_at or other.taken_at
    first.photographer = first.photographer or other.photographer


def without_doubles(pictures: list[Picture]) -> list[Picture]:
    """Leaves out what the page shows where structured data states the same photos larger.

    Nothing ties the two together then but their number: four of five shown ones at least.
    """
    stated = [each for each in pictures if each.found is Found.STATED]
    shown = [each for each in pictures if each.found is Found.SHOWN]
    joined = any(len(each.renditions) > 1 and each.found is Found.STATED for each in pictures)
    if len(stated) < 2 or joined or len(stated) * 5 < len(shown) * 4:
        return pictures
    return [each for each in pictures if each.found is not Found.SHOWN]


# A signature in an address, by one parameter or a pair of them, and what comes and goes with it.
_SIGNATURES: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(marks.split()), re.compile(parameters))
    for marks, parameters in (
        ("x-amz-signature", r"x-amz-.*"),
        ("x-goog-signature", r"x-goog-.*"),
        ("signature expires", r"signature|expires|awsaccesskeyid|googleaccessid|key-pair-id"),
        ("signature key-pair-id", r"signature|expires|policy|key-pair-id"),
        ("sig se", r"s[vsrtpei]|sig|spr|sip|sdd|sk[a-z]{1,4}"),
        ("hdnts", r"hdnts"), ("hdnea", r"hdnea"), ("hdntl", r"hdntl"), ("__token__", r"__token__"),
        ("oh oe", r"oh|oe|_nc_.*|ccb|efg"),
    )
)  # fmt: skip
_EXPIRY = frozenset(("expires", "expiry", "exp", "expire", "e", "validuntil", "x-expires"))
_SIGNED_BY = frozenset(("token", "signature", "sig", "hash", "hmac", "md5", "st", "s", "sign",
                        "x-signature", "verify"))  # fmt: skip
_BUSTERS = frozenset(("_", "cb", "cachebuster", "nocache", "ts", "timestamp", "t", "v", "ver",
                      "version"))  # fmt: skip
_TRACKING = re.compile(r"utm_.*|fbclid|gclid")


def stable_key(url: str) -> tuple[str, bool]:
    """(the address without what changes from visit to visit, whether a signature was among it).

    Only what is surely volatile goes: signatures that expire, counters against caches on a
    photo's file, tracking. All else may say which photo it is.
    """
    path, mark, query = url.partition("?")
    if not mark:
        return url, False
    pairs = [(pair.partition("=")[0].lower(), pair) for pair in query.split("&")]
    names = {name for name, _ in pairs}
    patterns = [pattern for marks, pattern in _SIGNATURES if marks <= names]
    signed = bool(patterns)
    drop = {name for name in names for pattern in patterns if pattern.fullmatch(name)}
    ends = {name for name, pair in pairs if name in _EXPIRY and re.search(r"=\d{10,13}$", pair)}
    if ends and names & _SIGNED_BY:
        signed = True
        drop |= ends | (names & _SIGNED_BY)
    if has_photo_suffix(url):
        drop |= {name for name, pair in pairs if name in _BUSTERS and re.search(r"=[\d.]+$", pair)}
    kept = [pair for name, pair in pairs if name not in drop and not _TRACKING.fullmatch(name)]
    return "?".join([path, *(["&".join(kept)] if kept else [])]), signed
