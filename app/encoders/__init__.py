"""Pixels and text become vectors. Start at `registry`; nothing heavy is imported before a factory runs."""
