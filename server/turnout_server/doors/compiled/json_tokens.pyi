from collections.abc import Iterator

def tokens(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Texts and marks: the first byte, where it stands, and the end; a text that is cut has the end 0, and is the last."""

def spans_of(body: bytes, key: str) -> list[tuple[int, int]]:
    """Where the texts stand, quotes and all, that the document's own `key` names, from which byte to before which.

    Args:
        body: a JSON object, or the beginning of one.
        key: of the object itself; equal keys of inner objects do not count.
    """
