"""Credentials and options of sources on the command line. A credential's value is never an argument:
those are seen by every process of the machine and stay in the shell's history."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from app.core.errors import BadInput
from app.settings import credential_variable, given_credential


def asked_credentials(names: Sequence[str]) -> dict[str, str]:
    """The value of each, from its environment variable or asked for without echo. Raises BadInput."""
    return {name: _asked(name) for name in _names(names)}


def _names(names: Sequence[str]) -> list[str]:
    for name in names:
        if "=" in name:
            raise BadInput(
                "A credential's value is not given on the command line.",
                cure=f"Give only its name; the value is asked for, or read from {_VARIABLE}.",
            )
        if not name.isascii() or not name.isidentifier():
            raise BadInput("That is no name of a credential.", cure="For example: password.")
    return list(dict.fromkeys(names))


_VARIABLE = credential_variable("NAME")


def _asked(name: str) -> str:
    value = given_credential(name)
    if value is None:
        if not sys.stdin.isatty():
            raise BadInput(
                f"The credential {name} can't be asked for: this is no terminal.",
                cure=f"Set {credential_variable(name)}.",
            )
        value = str(typer.prompt(name, hide_input=True, err=True))
    if not value.strip():
        raise BadInput(f"The credential {name} is empty.")
    return value


def parsed_options(pairs: Sequence[str]) -> dict[str, str] | None:
    """`NAME=VALUE` each; None where there are none. Raises BadInput."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"“{name}” is no option.", cure="Write --option NAME=VALUE.")
        found[name.strip()] = value
    return found or None
