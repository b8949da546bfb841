"""The distribution's version."""

from __future__ import annotations


def package_version() -> str:
    """As the installed distribution says; "0+source" where the code runs from a source tree."""
    # Imported here: it costs as much as the rest of the command line.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("turnout")
    except PackageNotFoundError:
        return "0+source"
