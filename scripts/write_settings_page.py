"""Writes docs/settings.md from the settings themselves."""

from __future__ import annotations

from pathlib import Path

from app.settings import as_markdown

HEAD = """# Settings

All settings are environment variables. A wrong value stops the start and names what is allowed;
`clairvision doctor` reports misspelt ones. Options of the command line win over them.

"""


def main() -> None:
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    page.write_text(HEAD + as_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
