"""IIIF Presentation API 2 and 3: a manifest or collection → its pictures and what lies below.

Pure. Whatever is not as the specifications say is left out; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.sources.captions import words
from app.sources.iiif_image import Service, service_of

MOST_CANVASES = 50_000
_LANGUAGES = ("none", "@none", "en")
_NOT_PICTURES = frozenset(("video", "sound", "text", "dataset", "model", "textualbody"))

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture on a canvas: the address of its file as stated, and its image service if any.

    `width` and `height` of the full picture in pixels, None where nothing tells them.
    """

    address: str
    service: Service | None
    title: str | None
    width: int | None
    height: int | None


def is_collection(found: Json) -> bool:
    return _type(found) == "collection"


def is_manifest(found: Json) -> bool:
    return _type(found) == "manifest"


def is_image_information(found: Json) -> bool:
    """Whether it is an info.json: one picture."""
    return "iiif.io/api/image" in str(found.get("protocol", "")) or _type(found) in (
        "imageservice2", "imageservice3", "image",
    )  # fmt: skip


def parts_of(collection: Json) -> Iterator[tuple[str, Json]]:
    """(address, what is embedded) of a collection's manifests and collections, in its order; the
    pages of a collection that is cut into such too."""
    for name in ("items", "members", "collections", "manifests"):
        for each in _objects(collection.get(name)):
            if _type(each) in ("manifest", "collection", "") and _id(each):
                yield _id(each), each
    for name in ("first", "next"):
        page = collection.get(name)
        address = page if isinstance(page, str) else _id(page) if isinstance(page, dict) else ""
        if address:
            yield address, {}


def pictures_of(manifest: Json) -> Iterator[Painted]:
    """What is painted on the canvases, in their order."""
    canvases = _canvases(manifest)
    name = _label(manifest.get("label"))
    for canvas in canvases[:MOST_CANVASES]:
        label = _label(canvas.get("label")) or (name if len(canvases) == 1 else None)
        for resource in _resources(canvas):
            painted = _painted(resource, canvas, label)
            if painted is not None:
                yield painted


def _canvases(manifest: Json) -> list[Json]:
    """Version 3 has them as items; version 2 in the first sequence, others being reorderings."""
    found = [each for each in _objects(manifest.get("items")) if _type(each) in ("canvas", "")]
    if found:
        return found
    for sequence in _objects(manifest.get("sequences")):
        canvases = _objects(sequence.get("canvases"))
        if canvases:
            return canvases
    return []


def _resources(canvas: Json) -> Iterator[Json]:
    for page in _objects(canvas.get("items")):
        for annotation in _objects(page.get("items")):
            if "painting" in str(annotation.get("motivation", "painting")):
                yield from _chosen(annotation.get("body"))
    for annotation in _objects(canvas.get("images")):
        yield from _chosen(annotation.get("resource"))


def _chosen(body: object, depth: int = 0) -> Iterator[Json]:
    """The resource itself: the first of a choice, what a selector chooses from."""
    if depth > 4:
        return
    if isinstance(body, list):
        for each in body:
            yield from _chosen(each, depth + 1)
    elif isinstance(body, dict):
        kind = _type(body)
        if kind == "choice":
            options = body.get("default") or body.get("items") or body.get("item")
            first = options[0] if isinstance(options, list) and options else options
            yield from _chosen(first, depth + 1)
        elif kind == "specificresource":
            yield from _chosen(body.get("source") or body.get("full"), depth + 1)
        else:
            yield body


def _painted(resource: Json, canvas: Json, label: str | None) -> Painted | None:
    media = str(resource.get("format", ""))
    if _type(resource) in _NOT_PICTURES or (media and not media.startswith("image/")):
        return None
    address = _id(resource)
    # The file may be a smaller rendition, whose pixels are then stated.
    whole = re.search(r"/full/(?!full/|max/)[^/]+/[^/]+/[^/]+$", address) is None
    service = _service(resource, resource if whole else {})
    if service is None and not address:
        return None
    for stated in (service, resource if whole else None, canvas):
        width, height = _pixels(stated, "width"), _pixels(stated, "height")
        if width and height:
            break
    return Painted(address, service, label, width, height)


def _service(resource: Json, whole: Json) -> Service | None:
    """`whole` is what the manifest itself says of the full picture."""
    own = {name: whole.get(name) for name in ("width", "height")}
    for each in _objects(resource.get("service")):
        base = _id(each).rstrip("/")
        version = _version(each)
        if base and version:
            return service_of(base, version, {**own, **each})
    return None


def _version(service: Json) -> int | None:
    """Of the Image API; None for a service of another kind."""
    kind = _type(service)
    if kind.startswith("imageservice") and kind[-1:] in ("1", "2", "3"):
        return int(kind[-1])
    told = (
        f"{service.get('@context', '')} {service.get('profile', '')} {service.get('protocol', '')}"
    )
    found = re.search(r"/api/image/([1-3])", told)
    if found:
        return int(found[1])
    if "library.stanford.edu/iiif/image-api" in told:
        return 1
    return 2 if "iiif.io/api/image" in told else None


def _label(value: object) -> str | None:
    """One text of a label in many languages: without one, in English, else the first."""
    if isinstance(value, dict) and "@value" not in value:
        texts = next((value[each] for each in _LANGUAGES if value.get(each)), None)
        value = texts or next(iter(value.values()), None)
    if isinstance(value, list):
        tagged = [each for each in value if isinstance(each, dict)]
        english = [each for each in tagged if str(each.get("@language", "en")).startswith("en")]
        value = next((each for each in (*english, *value) if isinstance(each, str | dict)), None)
    if isinstance(value, dict):
        value = value.get("@value")
    return words(value) if isinstance(value, str) else None


def _objects(value: object) -> list[Json]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]


def _id(value: Json) -> str:
    found = value.get("id") or value.get("@id")
    return found.strip() if isinstance(found, str) else ""


def _type(value: Json) -> str:
    """Without prefix, lower case: “sc:Manifest” is a “manifest”."""
    found = value.get("type") or value.get("@type")
    if isinstance(found, list):
        found = next((each for each in found if isinstance(each, str)), None)
    return re.split(r"[:#/]", found)[-1].lower() if isinstance(found, str) else ""


def _pixels(stated: Service | Json | None, name: str) -> int | None:
    value = getattr(stated, name) if isinstance(stated, Service) else (stated or {}).get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000_000:
        return value
    return None
