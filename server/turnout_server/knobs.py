"""Kinds of settings: how each is read from text, and the limit that errors and documents state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        parse: turns text into the value; its ValueError says what is wrong with the text.
        limit: what values may be, for people.
        none_word: the word that stands for None, where None is a value.
    """

    parse: Callable[[str], Any]
    limit: str
    none_word: str | None = None

    def show(self, value: object) -> str:
        """The value as an operator writes it."""
        if value is None:
            return self.none_word or ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)


@dataclass(frozen=True)
class Meaning:
    """What a knob takes and does.

    Attributes:
        kind: how the value is read, and its limit.
        unit: of the value, as people write it; a dash where it has none.
        description: what it does.
    """

    kind: Kind
    unit: str
    description: str


@dataclass(frozen=True)
class Knob:
    """One thing that an operator can set.

    Attributes:
        name: the field of `Settings`.
        default: the value where nothing sets it.
        meaning: what it takes and does.
    """

    name: str
    default: object
    meaning: Meaning

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"TURNOUT_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The command line's option."""
        return f"--{self.name.replace('_', '-')}"


def whole(least: int, most: int) -> Kind:
    """Whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{_shorten(text)} is not a whole number") from None
        return _within(value, text, least, most)

    return Kind(parse, f"{least:,} to {most:,}")


def number(least: float, most: float) -> Kind:
    """Numbers from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{_shorten(text)} is not a number")
        return _within(value, text, least, most)

    return Kind(parse, f"{least:,} to {most:,}")


def switch() -> Kind:
    """Either true or false."""

    def parse(text: str) -> bool:
        lower = text.lower()
        if lower in ("true", "yes", "on", "1"):
            return True
        if lower in ("false", "no", "off", "0"):
            return False
        raise ValueError(f"{_shorten(text)} is not true or false")

    return Kind(parse, "true or false")


def choice(names: type[StrEnum]) -> Kind:
    """A member of an enumeration, by its value."""
    listed = ", ".join(names)

    def parse(text: str) -> StrEnum:
        try:
            return names(text.lower())
        except ValueError:
            raise ValueError(f"{_shorten(text)} is not one of {listed}") from None

    return Kind(parse, f"one of {listed}")


def text(what: str) -> Kind:
    """Any text but none."""

    def parse(value: str) -> str:
        if not value:
            raise ValueError("the text is empty")
        return value

    return Kind(parse, what)


def path(what: str) -> Kind:
    """A file or folder; that it exists is checked by whoever opens it."""

    def parse(value: str) -> Path:
        if not value or "\0" in value:
            raise ValueError(f"{_shorten(value)} is not a path")
        return Path(value)

    return Kind(parse, what)


def store_place() -> Kind:
    """Where outcomes are stored: a word, a file, or a PostgreSQL address without a password."""

    def parse(value: str) -> str:
        if "://" not in value:
            path("a file").parse(value)
            return value
        try:
            parts = urlsplit(value)
            usable = parts.scheme.partition("+")[0] == "postgresql" and len(parts.path) > 1
        except ValueError:
            usable = False
        # No message shows the value: an address can hold a password.
        if not usable:
            raise ValueError("not an address of the form postgresql://[user@]host[:port]/database")
        if parts.password is not None or "password" in parts.query:
            raise ValueError("the address holds a password; use PGPASSFILE, or PGPASSWORD in the environment")
        return value

    return Kind(parse, "auto, off, a file, or postgresql://[user@]host[:port]/database")


def shared_server() -> Kind:
    """Where machines exchange what they spend: a Valkey or Redis address without a password."""

    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        # No message shows the value: an address can hold a password.
        if not usable:
            raise ValueError("not an address of the form redis://[user@]host[:port][/database]")
        if parts.password is not None or "password" in parts.query:
            raise ValueError("the address holds a password; use VALKEYCLI_AUTH or REDISCLI_AUTH")
        return value

    return Kind(parse, "redis://[user@]host[:port][/database], or rediss:// with TLS")


def optional(kind: Kind, none_word: str) -> Kind:
    """The kind, or a word that stands for None."""

    def parse(value: str) -> Any:
        return None if value.lower() == none_word else kind.parse(value)

    return Kind(parse, f"{kind.limit}, or {none_word}", none_word)


def _within(value: T, text: str, least: float, most: float) -> T:
    if value < least:
        raise ValueError(f"{_shorten(text)} is less than {least:,}")
    if value > most:
        raise ValueError(f"{_shorten(text)} is greater than {most:,}")
    return value


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
