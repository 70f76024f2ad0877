"""Vite's manifest: from an entry point to its hashed files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.core.errors import HomeUnusable
from app.web.contexts import Assets

ENTRIES = ("base", "duplicates", "gallery", "photo", "scenes", "space")
_IMMUTABLE = "public, max-age=31536000, immutable"


class Bundle:
    """Read once, at start. Raises HomeUnusable where the frontend was not built."""

    def __init__(self, static: Path) -> None:
        manifest = static / "dist" / ".vite" / "manifest.json"
        try:
            chunks: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
            self._entries = {name: _entry(chunks, name) for name in ENTRIES}
        except (OSError, ValueError, KeyError) as error:
            raise HomeUnusable(
                "The pages' scripts and styles are not built.", cure="Run `make setup`."
            ) from error

    def of(self, entry: str) -> Assets:
        """Files of one of ENTRIES."""
        return self._entries[entry]


def _entry(chunks: dict[str, Any], name: str) -> Assets:
    """The base entry's files come first, then those of the page itself; each once."""
    scripts: list[str] = []
    styles: list[str] = []
    for key in dict.fromkeys(("src/pages/base.ts", f"src/pages/{name}.ts")):
        scripts.append(f"/static/dist/{chunks[key]['file']}")
        styles += [f"/static/dist/{style}" for style in _styles(chunks, key, set())]
    return Assets(list(dict.fromkeys(scripts)), list(dict.fromkeys(styles)))


def _styles(chunks: dict[str, Any], key: str, seen: set[str]) -> list[str]:
    """Styles of a chunk after those of the chunks that it imports: the cascade's order."""
    if key in seen:
        return []
    seen.add(key)
    chunk = chunks[key]
    inherited = [s for each in chunk.get("imports", ()) for s in _styles(chunks, each, seen)]
    return inherited + list(chunk.get("css", ()))


def favicon(_: Request) -> Response:
    """GET /favicon.ico: browsers ask for it where no page names another."""
    return RedirectResponse("/static/icon.svg", 308)


class Static(StaticFiles):
    """Hashed files may be kept for ever, the others are asked for again."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        scope: Scope = args[2] if len(args) > 2 else kwargs["scope"]
        hashed = scope["path"].startswith("/static/dist/assets/")
        response.headers["Cache-Control"] = _IMMUTABLE if hashed else "no-cache"
        return response

    def lookup_path(self, path: str) -> tuple[str, Any]:
        """Nothing that starts with a dot: the manifest is ours, not the public's."""
        if any(part.startswith(".") for part in Path(path).parts):
            return "", None
        return super().lookup_path(path)
