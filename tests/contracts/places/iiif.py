"""IIIF manifests of both versions, and a collection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place
from tests.contracts.places.local import tagged
from tests.origin import Answer, Origin

JSON = {"Content-Type": "application/ld+json"}


def manifest_3(base: str, services: Iterable[str], name: str = "manifest") -> dict[str, Any]:
    """Shaped as the cookbook's recipe 0005."""
    return {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": f"{base}/{name}.json",
        "type": "Manifest",
        "label": {"en": ["Wedding"]},
        "items": [
            {
                "id": f"{base}/canvas/{number}",
                "type": "Canvas",
                "label": {"none": [f"Photo {number}"]},
                "width": 8,
                "height": 6,
                "items": [
                    {
                        "id": f"{base}/page/{number}",
                        "type": "AnnotationPage",
                        "items": [
                            {
                                "id": f"{base}/annotation/{number}",
                                "type": "Annotation",
                                "motivation": "painting",
                                "body": {
                                    "id": f"{service}/full/max/0/default.jpg",
                                    "type": "Image",
                                    "format": "image/jpeg",
                                    "width": 8,
                                    "height": 6,
                                    "service": [
                                        {"id": service, "type": "ImageService3",
                                         "profile": "level1"}
                                    ],
                                },
                                "target": f"{base}/canvas/{number}",
                            }
                        ],
                    }
                ],
            }
            for number, service in enumerate(services)
        ],
    }  # fmt: skip


def manifest_2(base: str, files: Iterable[str]) -> dict[str, Any]:
    """Shaped as the cookbook's recipe 0057, without image services."""
    canvases = [
        {
            "@id": f"{base}/canvas/{number}",
            "@type": "sc:Canvas",
            "label": f"Photo {number}",
            "width": 8,
            "height": 6,
            "images": [
                {
                    "@type": "oa:Annotation",
                    "motivation": "sc:painting",
                    "resource": {"@id": file, "@type": "dctypes:Image", "format": "image/jpeg",
                                 "width": 8, "height": 6},
                    "on": f"{base}/canvas/{number}",
                }
            ],
        }
        for number, file in enumerate(files)
    ]  # fmt: skip
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": f"{base}/manifest.json",
        "@type": "sc:Manifest",
        "label": "Wedding",
        "sequences": [{"@type": "sc:Sequence", "canvases": canvases}],
    }


def answer(document: object) -> Answer:
    return Answer(json.dumps(document).encode(), headers=JSON)


def place(origin: Origin, path: str, photo: str) -> Place:
    """`photo` is the pattern of a photo's path, with {} for its name."""
    for name, data in PHOTOS.items():
        origin.answers[photo.format(name)] = tagged(data, '"1"')
    return Place(
        SourceSpec("iiif", origin.url(path)),
        gone=lambda name: origin.answers.__setitem__(photo.format(name), Answer(status=404)),
        change=lambda name, data: origin.answers.__setitem__(
            photo.format(name), tagged(data, '"2"')
        ),
        nowhere=SourceSpec("iiif", origin.url("/iiif/missing/manifest.json")),
    )


def version_3(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(Origin())
    services = [origin.url(f"/iiif/{name}") for name in PHOTOS]
    origin.answers["/manifest.json"] = answer(manifest_3(origin.url(""), services))
    return place(origin, "/manifest.json", "/iiif/{}/full/max/0/default.jpg")


def version_2(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(Origin())
    files = [origin.url(f"/files/{name}") for name in PHOTOS]
    origin.answers["/iiif/wedding/manifest"] = answer(manifest_2(origin.url("/w"), files))
    return place(origin, "/iiif/wedding/manifest", "/files/{}")


def collection(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(Origin())
    services = [origin.url(f"/iiif/{name}") for name in PHOTOS]
    parts = {"first": services[:2], "second": services[2:]}
    for name, part in parts.items():
        origin.answers[f"/{name}.json"] = answer(manifest_3(origin.url(""), part, name))
    origin.answers["/iiif/collection.json"] = answer(
        {
            "@context": "http://iiif.io/api/presentation/3/context.json",
            "id": origin.url("/iiif/collection.json"),
            "type": "Collection",
            "label": {"en": ["Weddings"]},
            "items": [
                {"id": origin.url(f"/{name}.json"), "type": "Manifest", "label": {"en": [name]}}
                for name in parts
            ],
        }
    )
    return place(origin, "/iiif/collection.json", "/iiif/{}/full/max/0/default.jpg")


PLACES = {"IIIF 3": version_3, "IIIF 2": version_2, "IIIF collection": collection}
