"""Keys of provider accounts: from the environment or from files, never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

FILE_PREFIX = "file:"
MAX_KEY_BYTES = 16_384
# A file is looked at for changes no more often than this.
LOOK_EVERY_S = 1.0

# What a header's value may hold: anything else could end the header, or is a file of another kind.
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_Mark = tuple[int, int, int]


class CredentialError(ValueError):
    """A key cannot be read; the message names where it should be, never what is there."""


class Secret:
    """A key that shows itself only on demand."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class KeySource:
    """Where a key is: an environment variable's name, or `file:/<path>`, as the policy writes it.

    A file is read again when it changes, or when the provider rejects the key; so a mounted secret can be rotated
    under load. While a changed file cannot be read the last good key serves.
    """

    __slots__ = ("_clock", "_environment", "_key", "_looked_at", "_mark", "_path", "source")

    def __init__(
        self,
        source: str,
        clock: Callable[[], float],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.source = source
        self._path = Path(source.removeprefix(FILE_PREFIX)) if source.startswith(FILE_PREFIX) else None
        self._clock = clock
        self._environment = environment
        self._key: Secret | None = None
        self._mark: _Mark | None = None
        self._looked_at = 0.0

    def __repr__(self) -> str:
        return f"KeySource({self.source!r})"

    def key(self) -> Secret:
        """The key.

        Raises:
            CredentialError: there is none, or it is no key.
        """
        if self._key is None:
            return self._read()
        if self._path is not None and self._clock() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = self._clock()
            if _mark_of(self._path) != self._mark:
                self.reread()
        return self._key

    def reread(self) -> bool:
        """Reads the key again, after a provider rejected it; True if it is another one now."""
        before = self._key
        try:
            return self._read() != before
        except CredentialError:
            return False

    def _read(self) -> Secret:
        if self._path is None:
            text = self._environment.get(self.source)
            if not text:
                raise CredentialError(f"{self.source}: no such environment variable, or it is empty")
        else:
            text = self._read_file(self._path)
        text = text.strip()
        if not _KEY.fullmatch(text):
            raise CredentialError(f"{self.source}: not one line of printable ASCII characters")
        self._key = Secret(text)
        return self._key

    def _read_file(self, path: Path) -> str:
        self._looked_at = self._clock()
        # Before the file is read: a change while it is read is then seen at the next look.
        self._mark = _mark_of(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_KEY_BYTES + 1)
        except OSError as error:
            raise CredentialError(f"{self.source}: {error.strerror or 'cannot be read'}") from None
        if len(content) > MAX_KEY_BYTES:
            raise CredentialError(f"{self.source}: more than the limit of {MAX_KEY_BYTES} bytes")
        return content.decode("ascii", "replace")


def _mark_of(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
