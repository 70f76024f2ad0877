"""Which downloaded weights a profile needs, and whether they are here."""

from __future__ import annotations

from app.encoders import weights
from app.settings import Settings


def needed_weights(settings: Settings) -> list[str]:
    """Models whose weights this profile has to download."""
    return [settings.studio_model, weights.FACENET] if settings.profile == "studio" else []


def require_weights(settings: Settings) -> None:
    """Raises ModelUnavailable, with the ways out, where weights are missing or broken."""
    for name in needed_weights(settings):
        weights.require(name, settings.home / "models")
