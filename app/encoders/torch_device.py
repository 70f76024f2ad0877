"""Which device torch runs on."""

from __future__ import annotations

from app.core.errors import ModelUnavailable


def chosen(device: str) -> str:
    """`cuda` or `cpu`; `auto` takes CUDA where there is one. Raises ModelUnavailable."""
    if device == "cpu":
        return device
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ModelUnavailable(
            "No CUDA device can be used on this machine.",
            cure="Install a driver that this torch supports, or choose the device cpu.",
        )
    return "cpu"
