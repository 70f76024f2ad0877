"""open_clip's models and checkpoints, read from its files without importing it.

Importing open_clip loads torch, which takes seconds and hundreds of megabytes; listing names and
knowing a vector's dimension needs neither, and the web process must not.
"""

from __future__ import annotations

import ast
import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.core.errors import ModelUnavailable, UnknownModel

DEFAULT = "ViT-L-14/datacomp_xl_s13b_b90k"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a checkpoint comes from: `hub` is "owner/repository" or "owner/repository/file"."""

    url: str = ""
    hub: str = ""
    quick_gelu: bool = False


def _folder() -> Path:
    spec = find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable(
            "The studio profile needs the package open_clip_torch.",
            cure="Install it, or use --profile pocket.",
        )
    return Path(spec.submodule_search_locations[0])


def _config(model: str) -> dict[str, Any]:
    path = _folder() / "model_configs" / f"{model}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@cache
def models() -> tuple[str, ...]:
    """Architectures that open_clip builds from its own files.

    Those whose tokenizer or text tower comes from the Hugging Face hub are left out: open_clip would
    fetch them at run time, behind the operator's back.
    """
    names = sorted(path.stem for path in (_folder() / "model_configs").glob("*.json"))
    remote = {"hf_tokenizer_name", "hf_model_name"}
    return tuple(name for name in names if not remote & _config(name)["text_cfg"].keys())


@cache
def dimension(model: str) -> int:
    """Length of a model's vectors. Raises UnknownModel."""
    if model not in models():
        raise UnknownModel(model, near(model, models()))
    return int(_config(model)["embed_dim"])


def _entries(node: ast.expr) -> list[tuple[str, ast.expr]]:
    """Name and value of each entry of a `dict(a=…)` or `{"a": …}` expression."""
    if isinstance(node, ast.Call):
        return [(word.arg, word.value) for word in node.keywords if word.arg]
    if isinstance(node, ast.Dict):
        return [
            (str(key.value), value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
    return []


@cache
def _table() -> dict[str, dict[str, Checkpoint]]:
    """open_clip.pretrained._PRETRAINED: model → tag → checkpoint."""
    source = (_folder() / "pretrained.py").read_text("utf-8")
    parts: dict[str, dict[str, Checkpoint]] = {}
    found: dict[str, dict[str, Checkpoint]] = {}
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        name, value = statement.targets[0].id, statement.value
        if name == "_PRETRAINED":
            for model, part in _entries(value):
                known = parts.get(part.id) if isinstance(part, ast.Name) else _checkpoints(part)
                found[model] = known or {}
        else:
            parts[name] = _checkpoints(value)
    for model, known in list(found.items()):
        quick = {tag: one for tag, one in known.items() if one.quick_gelu}
        if quick and not model.endswith("-quickgelu"):
            found[f"{model}-quickgelu"] = quick
    return found


def _checkpoints(node: ast.expr) -> dict[str, Checkpoint]:
    return {tag: _checkpoint(entry) for tag, entry in _entries(node)}


def _checkpoint(entry: ast.expr) -> Checkpoint:
    words = {
        name: value.value for name, value in _entries(entry) if isinstance(value, ast.Constant)
    }
    return Checkpoint(
        url=str(words.get("url", "")),
        hub=str(words.get("hf_hub", "")).strip("/"),
        quick_gelu=bool(words.get("quick_gelu", False)),
    )


def tags(model: str) -> tuple[str, ...]:
    """Checkpoints known for a model. Raises UnknownModel."""
    dimension(model)
    return tuple(_table().get(model, {}))


def checkpoint(model: str, tag: str) -> Checkpoint:
    """Raises UnknownModel for a pair that open_clip doesn't know, naming near ones."""
    dimension(model)
    known = _table().get(model, {})
    if tag not in known:
        raise UnknownModel(f"{model}/{tag}", [f"{model}/{one}" for one in near(tag, tuple(known))])
    return known[tag]


def near(name: str, known: tuple[str, ...]) -> list[str]:
    """The known names most like `name`, or the first few if none is."""
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), folded, n=6, cutoff=0.5)
    return [folded[one] for one in close] or list(known[:6])
