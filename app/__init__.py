"""ClairVision: a self-hosted, searchable visual database for event photography."""

__version__ = "0.1.0"
