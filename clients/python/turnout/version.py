"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _read_version() -> str:
    try:
        return version("turnout")
    except PackageNotFoundError:
        # Imported from a source tree that was not installed.
        return "0.0.0"


__version__: str = _read_version()
