"""The resolved policy document: a policy file with every default filled in, as JSON."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

DEFAULT_POLICY = Path(__file__).parent / "policies" / "default.json"


class PolicyDocumentError(ValueError):
    """The file cannot be read as a resolved policy document."""


def load_policy(path: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Reads a resolved policy document.

    Args:
        path: a file that `turnout print-config --resolved` wrote; None means the one that ships with the package.
            The YAML that people write is validated and resolved by the server package, which the core does not need.

    Raises:
        PolicyDocumentError: the file is missing, no JSON, or no resolved document.
    """
    file = DEFAULT_POLICY if path is None else Path(path)
    if file.suffix in (".yaml", ".yml"):
        raise PolicyDocumentError(
            f"{file}: the engine reads resolved JSON; `turnout print-config --resolved --policy {file}` makes it"
        )
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise PolicyDocumentError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise PolicyDocumentError(f"{file}: no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != 1:
        raise PolicyDocumentError(f"{file}: no resolved policy document of version 1")
    return document
