"""Text on its way into a message, which takes nothing but valid UTF-8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.errors import invalid_field


def clean_text(text: str) -> str:
    """The text with each lone surrogate as the engine reads it in process: three times U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text


def require_text(value: object, path: str) -> str:
    """The value, cleaned.

    Raises:
        TypeError: it is no str; `path` names it.
    """
    if not isinstance(value, str):
        raise TypeError(f"{path}: a str is needed, not {type(value).__name__}")
    return clean_text(value)


def read_text(source: Mapping[str, Any], key: str, path: str) -> str:
    """The text under a key, cleaned; absent and None read as empty.

    Raises:
        InvalidRequestError: the value is no str; the field is `<path>.<key>`.
    """
    value = source.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid_field(f"{path}.{key}", type(value).__name__, "str")
    return clean_text(value)


def read_mapping(source: object, path: str) -> Mapping[str, Any]:
    """The value itself, once it is known to be a mapping; None reads as an empty one.

    Raises:
        InvalidRequestError: it is none; the field is `path`.
    """
    if source is None:
        return {}
    if not isinstance(source, Mapping):
        raise invalid_field(path, type(source).__name__, "a mapping")
    return source
