"""Names that rooms agree on for files on disk."""

HOME_MARK = ".clairvision-home"
"""Lies in every home folder; a folder that holds it is never read as a source of photos."""
