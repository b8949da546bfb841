"""What the commands share: how they end when something is wrong, and who runs them."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import NoReturn

import typer

FAILED = 1
MISUSED = 2


def fail(lines: Sequence[str], code: int = FAILED) -> NoReturn:
    """Says what is wrong, a line each, and ends the process."""
    for line in lines:
        typer.echo(f"turnout: {line}", err=True)
    raise typer.Exit(code)


def user_name() -> str:
    """Who runs the command; the number of the user where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        import os

        return str(os.getuid())
