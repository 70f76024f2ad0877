"""Cursors: where a page of a list ended, as text that a client hands back."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from app.core.errors import BadInput


def write_cursor(*values: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_cursor(cursor: str, longest: int) -> tuple[Any, Any]:
    """The two values of a cursor, of whatever types a client made them. Raises BadInput, also for
    more than `longest` characters."""
    if len(cursor) > longest:
        raise damaged_cursor()
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        first, second = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise damaged_cursor() from error
    return first, second


def damaged_cursor() -> BadInput:
    return BadInput("This cursor is damaged.", cure="Start again without a cursor.")
