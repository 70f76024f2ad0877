"""Numbers in a query, bounded before anything is asked of the database."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request

from app.web.errors import InvalidField, Malformed


def whole(request: Request, name: str, default: int = 0) -> int:
    """A whole number of the query, 0 to 2⁶³−1. Raises Malformed."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise Malformed(f"The {name} is a whole number.")
    return int(given)


def form_number(form: Mapping[str, str], name: str, what: str) -> int | None:
    """A whole number of a form, None where the field is empty or missing. Raises Malformed."""
    given = form.get(name, "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Malformed(f"The {what} is a whole number.")
    return int(given) if given else None


def limit_of(request: Request, *, default: int, most: int) -> int:
    """How many are asked for, 1 to `most`. Raises Malformed, InvalidField."""
    limit = whole(request, "limit", default)
    if not 1 <= limit <= most:
        raise InvalidField("limit", f"The limit is 1 to {most}.")
    return limit
